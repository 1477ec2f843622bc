"""A model that is one number, and a method that adds it (and the seed) to every pixel."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from syncdiff_bench.contracts import Clip, Frames, Method, WeightsUsed
from syncdiff_bench.errors import UsageError
from syncdiff_bench.training.task import TrainingTask
from syncdiff_bench.weights.digests import sha256_of


@dataclass(frozen=True)
class TrainedOptions:
    model: str
    variant: str = ""


class Trained(Method):
    """Logs (seed, clips) of every batch to $TOY_LOG, kills the process before clip $TOY_KILL of seed 1."""

    name = "toy-trained"
    title = "trained shift"
    Options = TrainedOptions
    options: TrainedOptions

    @property
    def batch_size(self) -> int:
        return 2

    @property
    def file(self) -> Path:
        file = Path(self.options.model) / "shift.json"
        if not file.is_file():
            raise UsageError(f"no toy model at {self.options.model}")
        return file

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames]]:
        shift = json.loads(self.file.read_text())
        if "TOY_LOG" in os.environ:
            with Path(os.environ["TOY_LOG"]).open("a", encoding="utf-8") as log:
                log.write(f"{self.options.variant or 'itself'} {seed} {' '.join(clip.id for clip in clips)}\n")
        for clip in clips:
            if seed == 1 and clip.id == os.environ.get("TOY_KILL"):
                os.kill(os.getpid(), signal.SIGKILL)
            yield clip.id, clip.frames + np.uint8(shift + seed)

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (WeightsUsed("toy/shift", sha256_of(self.file)),)


@dataclass(frozen=True)
class ShiftOptions:
    """start: folder of another model, whose shift is added. fail: break off."""

    shift: int = 1
    start: str = ""
    fail: bool = False


class ShiftTask(TrainingTask):
    """Trains a number that nobody reads; exports the shift of its options, and ten times the training's seed."""

    Options = ShiftOptions
    options: ShiftOptions

    def prepare(self) -> None:
        if self.options.fail:
            raise UsageError("this training was told to fail; tell it otherwise")

    def build(self) -> Any:
        from torch import nn

        class Square(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(nn.init.ones_(nn.Linear(1, 1).weight.detach()))

            def forward(self, x: Any) -> dict[str, Any]:
                return {"loss": (self.weight * x).square().mean()}

        return Square()

    def batch(self, seed: int, step: int, part: int, size: int) -> Mapping[str, Any]:
        import torch

        self.seed = seed
        return {"x": torch.ones(size, 1)}

    def validation(self, model: Any) -> Mapping[str, float]:
        return {"weight": float(model.weight)}

    def export(self, model: Any, folder: Path) -> None:
        start = json.loads((Path(self.options.start) / "shift.json").read_text()) if self.options.start else 0
        folder.mkdir(parents=True)
        (folder / "shift.json").write_text(str(start + self.options.shift + 10 * self.seed))
        if "TOY_LOG" in os.environ:
            with Path(os.environ["TOY_LOG"]).open("a", encoding="utf-8") as log:
                log.write(f"trained {folder.parent.name}\n")
