"""Training on examples drawn from clips that are read once: what the trainings of this package share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from syncdiff_bench.training.task import TrainingTask

if TYPE_CHECKING:
    from torch import Tensor

    from syncdiff_bench.training.cache import TensorCache


class ClipTask(TrainingTask):
    """A step draws its examples at random from `clips`, validation from `held_out`."""

    clips: Sequence[Any]
    held_out: Sequence[Any]

    @abstractmethod
    def read_clips(self, split: str) -> Sequence[Any]:
        """The clips of a split, once its caches are complete. Raises UsageError where there are none."""

    @abstractmethod
    def draw(
        self, clips: Sequence[Any], rng: np.random.Generator, size: int
    ) -> tuple[Iterable[str], dict[str, Tensor]]:
        """`size` examples: their words, made when they are read, and their tensors."""

    def caches_of(self, split: str) -> Sequence[TensorCache]:
        """What is computed once per clip of a split."""
        return ()

    def prepare(self) -> None:
        for cache in self.caches():
            cache.complete()
        self.clips, self.held_out = map(self.read_clips, (self.data.split, self.data.validation_split))

    def caches(self) -> Sequence[TensorCache]:
        splits = dict.fromkeys((self.data.split, self.data.validation_split))
        return [cache for split in splits for cache in self.known_caches(split)]

    def known_caches(self, split: str) -> Sequence[TensorCache]:
        """`caches_of`, asked once: facts of a large split take minutes to find."""
        known: dict[str, Sequence[TensorCache]] = vars(self).setdefault("_known_caches", {})
        if split not in known:
            known[split] = self.caches_of(split)
        return known[split]

    def batch(self, seed: int, step: int, part: int, size: int) -> Mapping[str, Tensor]:
        return self.draw(self.clips, np.random.default_rng([seed, step, part]), size)[1]

    def describe(self, seed: int, step: int, part: int, size: int) -> Sequence[str]:
        return list(self.draw(self.clips, np.random.default_rng([seed, step, part]), size)[0])


def stacked(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Examples as one batch."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
