"""A training whose answer is known: a line through noiseless points, in this process or in several under torchrun."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from syncdiff_bench.contracts import Clip, Dataset, Finding
from syncdiff_bench.errors import BenchError, ClipError
from syncdiff_bench.training.loop import train
from syncdiff_bench.training.task import TrainingData, TrainingSettings, TrainingTask


class Points(Dataset):
    """Stands behind examples that are drawn without any clip."""

    name = "points"
    drawn_faces = True
    embedded = True

    def splits(self) -> tuple[str, ...]:
        return ("train", "val")

    def clip_ids(self, split: str) -> tuple[str, ...]:
        return ()

    def clip(self, clip_id: str) -> Clip:
        raise ClipError("missing", clip_id)

    def fingerprint(self, split: str) -> str:
        return hashlib.sha256(split.encode()).hexdigest()

    def verify(self, split: str) -> Iterator[Finding]:
        return iter(())


DATA = TrainingData(Points(), "train", "val", Path("cache"))
TRUTH = torch.tensor([2.0, -1.0, 0.5])
SETTINGS = TrainingSettings(
    steps=120, batch_size=8, learning_rate=0.1, schedule="cosine", ema_decay=0.9, gradient_clip=10.0,
    weight_decay=0.0, log_every=10, validate_every=40, checkpoint_every=20,
)  # fmt: skip


class Line(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.dropout(x) @ self.weight - y).square().mean()}


@dataclass(frozen=True)
class LineOptions:
    """stop_at: step that is interrupted. nan_at: step whose examples are broken. dropout: of the inputs.

    ends: how process 1 ends at step 5, "raise" or "kill".
    """

    stop_at: int = -1
    nan_at: int = -1
    dropout: float = 0.0
    ends: str = ""


class LineTask(TrainingTask):
    """Find TRUTH."""

    Options = LineOptions
    options: LineOptions
    incidental = frozenset(("stop_at", "nan_at", "ends"))

    def prepare(self) -> None:
        return None

    def build(self) -> nn.Module:
        return Line(self.options.dropout)

    def batch(self, seed: int, step: int, part: int, size: int) -> Mapping[str, Tensor]:
        if step == self.options.stop_at:
            raise KeyboardInterrupt
        if self.options.ends and step == 5 and os.environ.get("RANK") == "1":
            if self.options.ends == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("the disk with\nthe clips is gone")
        x = torch.from_numpy(np.random.default_rng([seed, step, part]).standard_normal((size, 3), dtype=np.float32))
        return {"x": x, "y": x @ TRUTH * (float("nan") if step == self.options.nan_at else 1.0)}

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        return {"distance": float((model.weight - TRUTH).norm())}

    def export(self, model: nn.Module, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weight.json").write_text(json.dumps(model.weight.tolist()))


def run(out: Path, settings: TrainingSettings = SETTINGS, **options: Any) -> list[float]:
    """Train in this process; the exported weight."""
    return weight_of(train(LineTask(LineOptions(**options), DATA), settings, out, cpu=True))


def weight_of(model: Path) -> list[float]:
    values: list[float] = json.loads((model / "weight.json").read_text())
    return values


def launched(
    processes: int, out: Path, settings: TrainingSettings = SETTINGS, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Train in several processes."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    given = json.dumps({"out": str(out), "settings": asdict(settings), "options": options})
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*torchrun, __file__, given], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def main(given: str) -> None:
    """What each process of `launched` does."""
    known = json.loads(given)
    settings = TrainingSettings(**{**known["settings"], "trackers": ()})
    try:
        run(Path(known["out"]), settings, **known["options"])
    except BenchError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1])
