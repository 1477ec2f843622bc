"""What a trainable thing has to say, and the settings of its training.

A task is registered under the entry-point group `syncdiff_bench.trainers`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from syncdiff_bench.errors import UsageError
from syncdiff_bench.views import BOXES_FACT

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from syncdiff_bench.contracts import Dataset
    from syncdiff_bench.training.cache import TensorCache


Tracker = Literal["tensorboard", "wandb", "trackio"]
ExampleT = TypeVar("ExampleT")
VALIDATION_BATCH = 32  # held-out clips


@dataclass(frozen=True)
class TrainingSettings:
    """The `[training]` table of a training config.

    steps: updates of the weights.
    batch_size: examples of a step, however many processes share them.
    micro_batch: examples that go through the network at once. A step is batch_size / micro_batch such micro-batches,
        shared out over the processes; 0: one, the whole batch.
    learning_rate: after `warmup_steps` it stays, or decays to zero along a cosine where schedule is "cosine".
    gradient_clip: bound of the norm of a step's gradient.
    ema_decay: ceiling of (1 + n) / (10 + n), CompVis' warm-up (docs/spec/ldm.md#ema); 0 switches the EMA off.
    sample_every: interval of the sample images of tasks that have them (DiffTalk's); one more at the end; 0: never.
    compile: torch.compile of the trained module; costs minutes at the start, and one more compilation for each new
        length of clips until lengths may be any.
    channels_last, tf32: of a GPU, and no matter on a CPU: the layout of two-dimensional convolutions, and float32
        matrix products and convolutions with 10 bits of mantissa; see `device`.
    keep_last: checkpoints that stay.
    trackers: where the log goes besides log.jsonl.

    Raises ValueError for numbers that mean nothing.
    """

    steps: int
    batch_size: int
    learning_rate: float
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.01
    gradient_clip: float = 0.1
    micro_batch: int = 0
    ema_decay: float = 0.9999
    mixed_precision: Literal["no", "bf16"] = "no"
    compile: bool = False
    channels_last: bool = True
    tf32: bool = True
    seed: int = 0
    log_every: int = 50
    validate_every: int = 500
    sample_every: int = 5000
    checkpoint_every: int = 500
    keep_last: int = 2
    trackers: tuple[Tracker, ...] = ()

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "log_every", "validate_every", "checkpoint_every")
        for name in (*counts, "keep_last"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        for name in ("learning_rate", "gradient_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number above 0")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; give 0 (off) up to 0.9999")
        if self.micro_batch < 0 or self.batch_size % self.size_at_once:
            sizes = _either(_divisors(self.batch_size))
            raise ValueError(f"micro_batch is {self.micro_batch}, and batch_size {self.batch_size}; give {sizes}")

    @property
    def size_at_once(self) -> int:
        """Examples of a micro-batch."""
        return self.micro_batch or self.batch_size

    @property
    def parts(self) -> int:
        """Micro-batches of a step, over all processes."""
        return self.batch_size // self.size_at_once

    def share(self, processes: int) -> int:
        """Micro-batches of a step for each process. Raises UsageError where they cannot be shared out equally."""
        if self.parts % processes == 0:
            return self.parts // processes
        size = self.fitting(self.size_at_once, processes)
        mend = f"set training.micro_batch={size}, or " if size else ""
        raise UsageError(
            f"{processes} processes cannot share the {self.batch_size} examples of a step, {self._divided}, equally;"
            f" {mend}start {_either(_divisors(self.parts))}"
        )

    def division(self, processes: int) -> str:
        """How a step is shared out, in words. Raises UsageError as `share`."""
        self.share(processes)
        return f"{self._divided}, over {processes} process{'es' * (processes > 1)}"

    @property
    def _divided(self) -> str:
        return f"{self.parts} micro-batch{'es' * (self.parts > 1)} of {self.size_at_once}"

    def shared(self, processes: int) -> dict[str, int]:
        """What a record says of how the examples of a step were computed."""
        return {"batch_size": self.batch_size, "micro_batch": self.size_at_once, "processes": processes}

    def fitting(self, at_most: int, processes: int) -> int:
        """The largest micro-batch up to a size of which `processes` can share a step; 0 where there is none."""
        sizes = [size for size in _divisors(self.batch_size) if size <= at_most]
        return max((size for size in sizes if self.batch_size // size % processes == 0), default=0)

    def rate(self, step: int) -> float:
        """Learning rate of update `step`: linear warm-up, then constant or half a cosine down to zero."""
        if step < self.warmup_steps:
            return self.learning_rate * ((step + 1) / self.warmup_steps)
        if self.schedule == "constant":
            return self.learning_rate
        span = max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.5 * (1 + math.cos(math.pi * min(1.0, (step - self.warmup_steps) / span))))


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def _either(numbers: Sequence[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last}" if others else last


def validated(held_out: Sequence[ExampleT], batches: int, size: int = VALIDATION_BATCH) -> Sequence[ExampleT]:
    """The held-out examples that a validation of so many batches is of, from the first on; 0: all.

    >>> validated("abcdef", 2, size=2)
    'abcd'
    """
    return held_out[: batches * size or None]


@dataclass(frozen=True)
class TrainingData:
    """The dataset of a training, its splits, and a folder for what a task caches of it."""

    dataset: Dataset
    split: str
    validation_split: str
    cache: Path


class TrainingTask(ABC):
    """Data, networks and loss of one training.

    A micro-batch is a function of (seed, step, its number in the step) alone, whichever process computes it: that is
    what lets a killed training resume bit for bit without saving a sampler, and makes the training the same to float
    rounding on any number of processes (where no layer keeps statistics of the batch, as batch norm does). `batch` is
    called from a second thread, one micro-batch ahead.

    unused_parameters: True where a step may leave some trained parameters without a gradient.
    incidental: names of options that may change in the middle of a training, as they do not change what is learnt.
    """

    Options: ClassVar[type[Any]]
    unused_parameters: ClassVar[bool] = False
    incidental: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, options: Any, data: TrainingData, device: str = "cpu") -> None:
        self.options = options
        self.data = data
        self.device = device
        self.tell: Callable[[str], None] = lambda _text: None  # a line beside the progress bar: "validation 3/8"

    @abstractmethod
    def prepare(self) -> None:
        """Read the data, filling what is missing of its caches; called once, before `build`.

        Every process of a training calls it at the same time, once all of them together have filled `caches`.
        """

    @abstractmethod
    def build(self) -> nn.Module:
        """The trained module, freshly initialised; its `forward(**batch)` returns scalar losses, one named "loss"."""

    @abstractmethod
    def batch(self, seed: int, step: int, part: int, size: int) -> Mapping[str, Tensor]:
        """Micro-batch number `part` of a step: `size` training examples as CPU tensors."""

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

    def describe(self, seed: int, step: int, part: int, size: int) -> Sequence[str]:
        """The examples of a micro-batch in words ("clip 00001 frame 7"), for the message about a batch that broke."""
        return ()

    def samples(self, model: nn.Module) -> NDArray[Any] | None:
        """A picture of what the model generates, (H, W, 3) uint8 RGB; `model` as in `validation`."""
        return None

    def caches(self) -> Sequence[TensorCache]:
        """What `prepare` computes once per clip; `syncdiff-bench data prepare latents` fills these and nothing else."""
        return ()

    def boxes_behind(self) -> str:
        """Where the face boxes of its examples came from (`origins.Origin`), "" for a task that looks at none."""
        return next((cache.facts.get(BOXES_FACT, "") for cache in self.caches() if cache.boxed), "")

    def boxed_clips(self, part: int = 0, parts: int = 1) -> Mapping[str, Sequence[str]]:
        """The clips by split whose face boxes are needed to `prepare`: of `caches`, those that are not made yet.

        part: the share of them that `TensorCache.fill` makes. `views.require_boxes` refuses those without boxes.
        """
        needed: dict[str, list[str]] = {}
        for cache in self.caches():
            if cache.boxed and (missing := cache.missing_clips(part, parts)):
                needed.setdefault(cache.split, []).extend(missing)
        return needed

    def probe_batch(self, size: int) -> Mapping[str, Tensor] | None:
        """A batch of the right shapes and any content, without reading data; None where that is not possible.

        Called before `prepare`, as `build` then is: an estimate starts nothing.
        """
        return None
