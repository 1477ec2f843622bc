"""What trainings on the latents of a frozen autoencoder share: SyncDiff's and DiffTalk's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from syncdiff_bench.errors import UsageError
from syncdiff_bench.training.task import TrainingData, TrainingTask
from syncdiff_methods.syncdiff.model import load_autoencoder, read_autoencoder

if TYPE_CHECKING:
    from syncdiff_bench.training.cache import TensorCache
    from syncdiff_methods.syncdiff.autoencoder import Autoencoder


class LatentTask(TrainingTask):
    """Its options have `autoencoder`, a folder or a shipped name, and `model`, whose `autoencoder` that one replaces.

    Raises UsageError where the autoencoder was trained on frames of another size.
    """

    def __init__(self, options: Any, data: TrainingData, device: str = "cpu") -> None:
        super().__init__(options, data, device)
        try:
            config, frame_size = read_autoencoder(options.autoencoder)
        except UsageError:
            return  # `prepare` says that it is missing
        if frame_size != options.model.frame_size:
            raise UsageError(
                f"{options.autoencoder}: trained on {frame_size} px frames, but options.model.frame_size is"
                f" {options.model.frame_size}; make them equal"
            )
        self.options = replace(options, model=replace(options.model, autoencoder=config))

    @abstractmethod
    def read_clips(self, split: str) -> list[Any]:
        """The clips of a split from their caches, which are filled first. Raises UsageError where there are none."""

    @abstractmethod
    def caches_of(self, split: str) -> Sequence[TensorCache]:
        """What is computed once per clip of a split."""

    def prepare(self) -> None:
        self.clips = self.read_clips(self.data.split)
        self.held_out = self.read_clips(self.data.validation_split)

    def caches(self) -> Sequence[TensorCache]:
        splits = dict.fromkeys((self.data.split, self.data.validation_split))
        return [cache for split in splits for cache in self.caches_of(split)]

    @cached_property
    def autoencoder(self) -> Autoencoder:
        """Frozen, on the CPU. Raises UsageError or WeightsError where there is none."""
        return load_autoencoder(self.options.autoencoder)[0].requires_grad_(False)
