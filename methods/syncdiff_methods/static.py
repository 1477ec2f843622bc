"""`static`: the first frame repeated, the floor that every method must beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from syncdiff_bench.contracts import Clip, Frames, Method


class Static(Method):
    """Yields the first frame of each clip T times: (T, H, W, 3) uint8 RGB."""

    name = "static"
    title = "First frame repeated"

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames]]:
        del seed
        for clip in clips:
            progress(len(clip.frames))
            yield clip.id, np.repeat(clip.frames[:1], len(clip.frames), axis=0)
