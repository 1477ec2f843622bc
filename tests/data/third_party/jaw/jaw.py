"""A method that uses what docs/plugins.md offers to one with a network: options, origin, caveats, weights, workload."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import SAMPLES_PER_FRAME, Clip, Frames, Method, WeightsUsed
from syncdiff_bench.errors import ClipError
from syncdiff_bench.estimates.machine import seconds_of
from syncdiff_bench.estimates.workload import Workload
from syncdiff_bench.origins import Origin, foreign


@dataclass(frozen=True)
class JawOptions:
    """drop: pixels that the chin falls at the loudest sound. batch: clips at once. checkpoint: a file of bytes."""

    drop: int = 8
    batch: int = 2
    checkpoint: Path | None = None


class Jaw(Method):
    name = "jaw"
    title = "Jaw"
    trained_against = frozenset({"lse"})
    incidental = frozenset({"checkpoint", "batch"})
    Options = JawOptions
    options: JawOptions

    @property
    def batch_size(self) -> int:
        return self.options.batch

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        for clip in clips:
            if not len(clip.audio):
                yield clip.id, ClipError("no-audio", f"{clip.id}: has no sound; jaw needs speech")
                continue
            frames = np.repeat(clip.frames[:1], len(clip.frames), axis=0)
            for t, (x1, y1, x2, y2) in enumerate(clip.face_boxes.boxes):
                sound = clip.audio[SAMPLES_PER_FRAME * t : SAMPLES_PER_FRAME * (t + 1)].astype(float)
                loudness = min(1.0, float(np.abs(sound).mean()) / 3000) if len(sound) else 0.0
                chin, drop = (y1 + 3 * y2) // 4, min(round(self.options.drop * loudness), (y2 - y1) // 8)
                frames[t, chin + drop : y2, x1:x2] = frames[t, chin : y2 - drop, x1:x2].copy()
            yield clip.id, frames
            progress(len(frames))

    def general_caveats(self) -> tuple[Caveat, ...]:
        return foreign(Origin("lrs2"), self.runtime.dataset, "jaw runs a model")

    def caveats(self, clip_id: str) -> tuple[Caveat, ...]:
        return (Caveat("jaw-moved", "the chin was moved, not drawn"),)

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        import hashlib

        path = self.options.checkpoint
        return () if path is None else (WeightsUsed(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), path),)

    def workload(self, frames: Sequence[int]) -> Workload:
        seconds = sum(frames) * seconds_of(lambda: np.zeros((160, 160, 3), np.uint8).sum(), self.runtime.device)
        return Workload(
            flops=sum(frames) * 160 * 160, seconds=seconds, constant_bytes=1 << 20, clip_bytes=1 << 20, batch=2
        )
