"""`gt`: the reference itself, the bound that no method can pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from syncdiff_bench.contracts import Clip, Frames, Method


class GroundTruth(Method):
    """Yields the frames of each clip as they are: (T, H, W, 3) uint8 RGB."""

    name = "gt"
    title = "Ground truth"
    topline = True

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames]]:
        del seed
        for clip in clips:
            progress(len(clip.frames))
            yield clip.id, clip.frames
