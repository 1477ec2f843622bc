"""What a trainable thing has to say; registered under the entry-point group `syncdiff_bench.trainers`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor, nn

    from syncdiff_bench.contracts import Dataset


@dataclass(frozen=True)
class TrainingData:
    """The dataset of a training, its splits, and a folder for what a task caches of it."""

    dataset: Dataset
    split: str
    validation_split: str
    cache: Path


class TrainingTask(ABC):
    """Data, networks and loss of one training.

    A batch is a function of (seed, step, rank) alone: that is what lets a killed training resume bit for bit without
    saving a sampler, and lets ranks draw without talking to each other.
    """

    Options: ClassVar[type[Any]]

    def __init__(self, options: Any, data: TrainingData, device: str = "cpu") -> None:
        self.options = options
        self.data = data
        self.device = device

    @abstractmethod
    def prepare(self) -> None:
        """Read the data and cache what is constant over training; called once, before `build`."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The trained module, freshly initialised; its `forward(**batch)` returns scalar losses, one named "loss"."""

    @abstractmethod
    def batch(self, seed: int, step: int, rank: int, size: int) -> Mapping[str, Tensor]:
        """`size` training examples as CPU tensors."""

    @abstractmethod
    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """Figures on the validation split; `model` carries the EMA weights, is in eval mode, under no_grad."""

    def between(self, model: nn.Module, step: int) -> None:  # noqa: B027 - optional
        """A hook called before step `step` (an autoencoder fills its codebook once its latents have settled)."""

    @abstractmethod
    def export(self, model: nn.Module, folder: Path) -> None:
        """Write what a method or metric loads; `model` carries the EMA weights."""
