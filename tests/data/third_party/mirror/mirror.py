from syncdiff_bench.contracts import Method


class Mirror(Method):
    """The speaker, mirrored."""

    name = "mirror"

    def generate(self, clips, *, seed, progress=None):
        for clip in clips:
            yield clip.id, clip.frames[:, :, ::-1]  # (T, H, W, 3) uint8 RGB, as many frames as the clip has
