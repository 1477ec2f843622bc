"""What a trainable thing has to say; registered under the entry-point group `syncdiff_bench.trainers`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from syncdiff_bench.contracts import Dataset
    from syncdiff_bench.training.cache import TensorCache


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
    saving a sampler, and lets ranks draw without talking to each other. `batch` is called from a second thread, one
    batch ahead of the step that is running.

    unused_parameters: True where a step may leave some trained parameters without a gradient.
    """

    Options: ClassVar[type[Any]]
    unused_parameters: ClassVar[bool] = False

    def __init__(self, options: Any, data: TrainingData, device: str = "cpu") -> None:
        self.options = options
        self.data = data
        self.device = device

    @abstractmethod
    def prepare(self) -> None:
        """Read the data, filling its caches; called once, before `build`."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The trained module, freshly initialised; its `forward(**batch)` returns scalar losses, one named "loss"."""

    @abstractmethod
    def batch(self, seed: int, step: int, rank: int, size: int) -> Mapping[str, Tensor]:
        """`size` training examples as CPU tensors."""

    @abstractmethod
    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """Figures on the validation split; `model` carries the EMA weights, is in eval mode, under no_grad."""

    @abstractmethod
    def export(self, model: nn.Module, folder: Path) -> None:
        """Write what a method or metric loads; `model` carries the EMA weights."""

    # What follows has a default that fits a task without the thing.

    def between(self, model: nn.Module, step: int) -> None:  # noqa: B027
        """A hook called before step `step` (an autoencoder fills its codebook once its latents have settled)."""

    def averaged(self, model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters that have an EMA, with their names in `model`: all that are trained."""
        return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)

    def describe(self, seed: int, step: int, rank: int, size: int) -> Sequence[str]:
        """The examples of a batch in words ("clip 00001 frame 7"), for the message about a batch that broke."""
        return ()

    def samples(self, model: nn.Module) -> NDArray[Any] | None:
        """A picture of what the model generates, (H, W, 3) uint8 RGB; `model` as in `validation`."""
        return None

    def caches(self) -> Sequence[TensorCache]:
        """What `prepare` computes once per clip; `syncdiff-bench data prepare latents` fills these and nothing else."""
        return ()

    def probe_batch(self, size: int) -> Mapping[str, Tensor] | None:
        """A batch of the right shapes and any content, without reading data; None where that is not possible.

        Called before `prepare`, as `build` then is: an estimate starts nothing.
        """
        return None
