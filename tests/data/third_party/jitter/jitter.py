from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from syncdiff_bench.contracts import Column, Metric, Pair
from syncdiff_bench.errors import ClipError


@dataclass(frozen=True)
class JitterStats:
    """Sums and counts, never a mean: shards add up, and intervals are resampled from these."""

    total: float
    values: int


class Jitter(Metric[JitterStats]):
    """Mean absolute error of the changes from frame to frame, in grey levels."""

    name = "jitter"
    columns = (Column("jitter", "Jitter", "down", unit="grey levels"),)
    needs = frozenset({"reference"})  # of "reference", "audio", "transcript"; without them the column reads n/a
    symmetric = True
    Stats = JitterStats

    @property
    def protocol(self) -> str:
        return "full"  # which number exactly: another number, another name

    def measure(self, pair: Pair) -> JitterStats:
        generated, reference = pair.generated.frames, pair.truth.frames  # (T, H, W, 3) uint8 RGB, 25 fps
        if generated.shape != reference.shape:
            raise ClipError("shape", f"{pair.generated.id}: {generated.shape} against {reference.shape}")
        moved, should = (np.diff(frames.astype(np.int16), axis=0) for frames in (generated, reference))
        return JitterStats(total=float(np.abs(moved - should).sum()), values=moved.size)

    def aggregate(self, stats: Sequence[JitterStats]) -> Mapping[str, float | None]:
        values = sum(one.values for one in stats)
        return {"jitter": sum(one.total for one in stats) / values if values else None}
