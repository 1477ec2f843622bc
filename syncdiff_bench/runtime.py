"""What the harness lends a plugin, and what the plugin says of its work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from syncdiff_bench.weights.store import WeightsStore


@dataclass(frozen=True)
class Runtime:
    """What the harness lends a plugin: a torch device string, the weights store and, to a method, the run directory.

    folder: where a method may leave files of its own (logs) while it generates; None outside a run.
    dataset: name of the data that the plugin is going to see; "" where it is not known.
    """

    device: str = "cpu"
    weights: WeightsStore | None = None
    folder: Path | None = None
    dataset: str = ""


MEMORY_SHARE = 0.9  # of the memory that is there


@dataclass(frozen=True)
class Workload:
    """What work costs one process.

    flops: 2 per multiply-add.
    seconds: on a free machine (`estimates.machine.seconds_of`); None where this machine could not try.
    constant_bytes: weights, and whatever does not grow with the batch.
    clip_bytes: for every further clip at once.
    batch: clips at once.
    """

    flops: int
    seconds: float | None
    constant_bytes: int
    clip_bytes: int
    batch: int

    @property
    def bytes(self) -> int:
        return self.constant_bytes + self.batch * self.clip_bytes

    def fitting_batch(self, available: int) -> int:
        """The most clips at once that should fit, 0 where none does."""
        return max(0, int(MEMORY_SHARE * available - self.constant_bytes) // max(1, self.clip_bytes))
