"""One draw of the chance behind a number: a training and a sampling of it.

FOLDER/seed-S/                 runs of a method that has one model, or none
FOLDER/training-K/seed-S/      runs of a method that was trained several times
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, order=True)
class Draw:
    """One run of several that differ in their seeds alone.

    training: seed of the training (`training.seed` of its config); None where the trainings were not varied.
    seed: of the sampling noise.

    Draws of one method are ordered by training, then by seed; None does not compare with a number.
    """

    training: int | None
    seed: int

    @property
    def folder(self) -> PurePosixPath:
        """Where its run is, below the folder of all: "training-1/seed-0", or "seed-0"."""
        seed = PurePosixPath(f"seed-{self.seed}")
        return seed if self.training is None else f"training-{self.training}" / seed

    @classmethod
    def of(cls, folder: Path) -> Draw | None:
        """What the name of a run's folder, and of the one that it is in, says; None where that is no seed."""
        seed = re.fullmatch(r"seed-(\d+)", folder.name)
        training = re.fullmatch(r"training-(\d+)", folder.parent.name)
        return None if seed is None else cls(None if training is None else int(training[1]), int(seed[1]))

    def __str__(self) -> str:
        """For people and in clip names: "training 1 seed 0", or "seed 0"."""
        return self.folder.as_posix().replace("-", " ").replace("/", " ")
