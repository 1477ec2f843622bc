"""`reproduce --train` on several GPUs: how many processes, and what they leave behind; here they share a CPU."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from syncdiff_bench.errors import BenchError
from syncdiff_bench.estimates.times import Times
from syncdiff_bench.reproduction import make, planning
from syncdiff_bench.reproduction.launching import processes_for
from syncdiff_bench.reproduction.leases import Leases
from syncdiff_bench.reproduction.models import Model, Request
from syncdiff_bench.reproduction.recipe import recipe_of
from syncdiff_bench.training.task import TrainingSettings


@pytest.mark.parametrize(
    ("device", "gpus", "micro_batch", "processes"),
    [
        ("cuda", 8, 8, 6),
        ("cuda", 4, 8, 3),
        ("cuda", 8, 6, 8),
        ("cuda", 8, 0, 1),
        ("cuda", 1, 8, 1),
        ("cuda:3", 8, 8, 1),
        ("cpu", 8, 8, 1),
    ],
)
def test_as_many_processes_as_can_share_a_step(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, micro_batch: int, processes: int
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    settings = TrainingSettings(10, 48, 1e-3, micro_batch=micro_batch)
    assert processes_for(settings, device) == processes


@pytest.mark.slow
def test_a_model_is_trained_by_two_processes(monkeypatch: pytest.MonkeyPatch, toy_boards: Path) -> None:
    for config in (toy_boards / "toy_boards" / "configs").iterdir():
        config.write_text(config.read_text().replace("batch_size = 1", "batch_size = 2\nmicro_batch = 1"))
    for module in (make, planning):
        monkeypatch.setattr(module, "processes_for", lambda _settings, _device: 2)
    request, times, leases = (
        Request(recipe_of("toy"), device="cpu"),
        Times(Path("times"), "cpu"),
        Leases(Path("leases")),
    )
    base = Model(request, request.recipe.models["base"])
    with leases.taken("train-base") as lease:
        assert lease is not None
        make.train_model(base, leases, times, lease)
    known = json.loads(Path("training/base/model/trained.json").read_text())["training"]
    assert known == {"steps": 2, "examples": 4, "batch_size": 2, "micro_batch": 1, "processes": 2}
    assert json.loads(next(Path("times").glob("*.json")).read_text())["family"] == "toy-shift/base over 2 processes"

    lost = replace(Model(request, request.recipe.models["small"]), variant="lost")
    with leases.taken("train-small-lost") as lease, pytest.raises(BenchError) as caught:
        assert lease is not None
        make.train_model(lost, leases, times, lease)
    assert str(caught.value) == "training/small-lost: this training was told to fail; tell it otherwise"
