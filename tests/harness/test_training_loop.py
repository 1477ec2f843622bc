"""The loop on a problem whose answer is known: resumes bit for bit, stops on NaN, leaves complete checkpoints only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from syncdiff_bench.errors import BenchError
from syncdiff_bench.training.loop import _rate, train
from syncdiff_bench.training.settings import TrainingSettings
from syncdiff_bench.training.task import TrainingTask

TRUTH = torch.tensor([2.0, -1.0, 0.5])


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"loss": (x @ self.weight - y).square().mean()}


@dataclass(frozen=True)
class LineOptions:
    stop_at: int = -1
    nan_at: int = -1


class LineTask(TrainingTask):
    """Find TRUTH from noiseless samples; can be killed or poisoned at a step."""

    Options = LineOptions

    def prepare(self) -> None:
        return None

    def build(self) -> nn.Module:
        return Line()

    def batch(self, seed: int, step: int, rank: int, size: int) -> Mapping[str, Tensor]:
        if step == self.options.stop_at:
            raise KeyboardInterrupt
        x = torch.from_numpy(np.random.default_rng([seed, step, rank]).standard_normal((size, 3), dtype=np.float32))
        return {"x": x, "y": x @ TRUTH * (float("nan") if step == self.options.nan_at else 1.0)}

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        return {"distance": float((model.weight - TRUTH).norm())}

    def export(self, model: nn.Module, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weight.json").write_text(json.dumps(model.weight.tolist()))


SETTINGS = TrainingSettings(
    steps=120, batch_size=8, learning_rate=0.1, schedule="cosine", ema_decay=0.9, gradient_clip=10.0,
    weight_decay=0.0, log_every=10, validate_every=40, checkpoint_every=20,
)  # fmt: skip


def run(out: Path, settings: TrainingSettings = SETTINGS, **options: Any) -> list[float]:
    task = LineTask(LineOptions(**options), data=None)  # type: ignore[arg-type]
    folder = train(task, settings, out, cpu=True)
    values: list[float] = json.loads((folder / "weight.json").read_text())
    return values


def test_it_learns(tmp_path: Path) -> None:
    assert np.allclose(run(tmp_path), TRUTH, atol=0.05)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    distances = [row["validation"]["distance"] for row in rows if "validation" in row]
    assert distances[0] > distances[-1]


def test_a_killed_training_resumes_bit_for_bit(tmp_path: Path) -> None:
    undisturbed = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", stop_at=70)
    assert (tmp_path / "b/checkpoints/step-00000060").is_dir()
    assert run(tmp_path / "b") == undisturbed


def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    run(tmp_path, replace(SETTINGS, keep_last=2))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000100", "step-00000120"]


def test_a_half_written_checkpoint_is_ignored(tmp_path: Path) -> None:
    undisturbed = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", stop_at=70)
    (tmp_path / "b/checkpoints/.step-00000080.part").mkdir()
    assert run(tmp_path / "b") == undisturbed


def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="step 50"):
        run(tmp_path, nan_at=50)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000020",
        "step-00000040",
    ]


def test_the_schedule_counts_optimizer_steps(tmp_path: Path) -> None:
    """Not micro-batches: with two of them per step the rate at the end is what the formula says."""
    run(tmp_path, replace(SETTINGS, gradient_accumulation=2))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    rates = {row["step"]: row["lr"] for row in rows if "lr" in row}
    assert rates[60] == pytest.approx(0.1 * 0.5)
    assert rates[30] == pytest.approx(0.1 * 0.5 * (1 + np.cos(np.pi / 4)))


def test_learning_rate_schedule() -> None:
    settings = replace(SETTINGS, steps=110, warmup_steps=10)
    assert _rate(0, settings) == pytest.approx(0.1)
    assert _rate(10, settings) == pytest.approx(1.0)
    assert _rate(60, settings) == pytest.approx(0.5)
    assert _rate(110, settings) == pytest.approx(0.0)
