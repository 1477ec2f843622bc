"""Estimates against closed forms."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from syncdiff_bench.contracts import Clip, Media
from syncdiff_bench.errors import ClipError, WeightsError
from syncdiff_bench.estimates.counting import saved_bytes_of
from syncdiff_bench.estimates.training import fitting_batch, forecast, probe_seconds, split_size, step_cost
from syncdiff_bench.training.cache import TensorCache
from syncdiff_bench.training.task import TrainingData, TrainingSettings, TrainingTask

INSIDE, OUTSIDE = 1000, 500
SETTINGS = TrainingSettings(steps=100, batch_size=12, micro_batch=6, learning_rate=0.1)


class Two(nn.Module):
    """A frozen linear layer and a trained one."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(INSIDE, INSIDE, bias=False).requires_grad_(False)
        self.trained = nn.Linear(INSIDE, OUTSIDE, bias=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": self.trained(self.frozen(x)).sum()}


class Clips:
    """Ten clips of 50 frames; one of them cannot be read."""

    name = "made-up"

    def clip_ids(self, _split: str) -> tuple[str, ...]:
        return tuple(str(i) for i in range(10))

    def clip(self, clip_id: str) -> Clip:
        if clip_id == "3":
            raise ClipError("missing", "3: no such file")
        return Clip(clip_id, "made-up", preloaded=Media(np.zeros((50, 2, 2, 3), np.uint8), np.zeros(0, np.int16)))


@dataclass(frozen=True)
class Options:
    probed: bool = True
    cached: str = ""


class TwoTask(TrainingTask):
    Options = Options

    def prepare(self) -> None:
        raise AssertionError("an estimate prepares nothing")

    def build(self) -> nn.Module:
        return Two()

    def batch(self, seed: int, step: int, part: int, size: int) -> Mapping[str, Tensor]:
        raise AssertionError("an estimate reads no data")

    def probe_batch(self, size: int) -> Mapping[str, Tensor] | None:
        return {"x": torch.ones(size, INSIDE)} if self.options.probed else None

    def caches(self) -> Any:
        if not self.options.cached:
            return ()
        folder = Path(self.options.cached)
        return [TensorCache(folder, "numbers", "train", {}, self.data.dataset.clip_ids("train"), lambda _: {}, 20_000)]

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        return {}

    def export(self, model: nn.Module, folder: Path) -> None: ...


def task_of(**options: Any) -> TwoTask:
    data = TrainingData(Clips(), "train", "val", Path("cache"))  # type: ignore[arg-type]
    return TwoTask(Options(**options), data)


def test_a_step_that_reads_a_value_is_run_for_real() -> None:
    class Choosy(Two):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            assert x.flatten().tolist() == [0.0] * x.numel()
            return super().forward(x)

    task, same = task_of(), task_of()
    task.build = Choosy  # type: ignore[method-assign]
    assert step_cost(task, SETTINGS) == step_cost(same, SETTINGS)


def test_saved_bytes_are_inputs_that_the_backward_pass_needs() -> None:
    """x of the linear layer, once although two operations keep it; the weight is no activation."""
    layer = nn.Linear(100, 100, bias=False)
    x = torch.ones(4, 100)
    assert saved_bytes_of(lambda: layer(x).sum() + layer(x).sum(), layer) == 4 * 100 * 4


def test_a_step_is_counted() -> None:
    cost = step_cost(task_of(), SETTINGS)
    assert cost is not None
    assert (cost.trained, cost.frozen) == (INSIDE * OUTSIDE, INSIDE * INSIDE)
    forward = 2 * (INSIDE * INSIDE + INSIDE * OUTSIDE)
    backward = 2 * INSIDE * OUTSIDE  # of the weight; the frozen layer needs none
    assert cost.flops == 2 * 6 * (forward + backward)
    # weight, gradient, two moments and EMA of what is trained, the weight of what is not
    assert cost.state_bytes == 4 * (5 * cost.trained + cost.frozen)
    assert cost.example_bytes == 4 * INSIDE
    assert cost.bytes == cost.state_bytes + 6 * 4 * INSIDE


class Beside(Two):
    """Three examples' worth of work that a micro-batch has whatever its size."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": super().forward(x)["loss"] + super().forward(torch.ones(3, INSIDE))["loss"]}


def test_work_of_a_micro_batch_is_counted_once_for_each() -> None:
    task = task_of()
    task.build = Beside  # type: ignore[method-assign]
    cost, plain = step_cost(task, SETTINGS), step_cost(task_of(), SETTINGS)
    assert cost is not None and plain is not None
    assert cost.flops == plain.flops * (12 + 2 * 3) / 12
    assert (cost.example_bytes, cost.constant_bytes) == (plain.example_bytes, 3 * plain.example_bytes)


@pytest.mark.parametrize(("room", "fits"), [(0, 0), (3, 3), (3.9, 3)])
def test_the_batch_that_fits(monkeypatch: pytest.MonkeyPatch, room: float, fits: int) -> None:
    cost = step_cost(task_of(), SETTINGS)
    assert cost is not None
    free = (cost.state_bytes + room * cost.example_bytes) / 0.9 + 1
    monkeypatch.setattr("syncdiff_bench.estimates.training.available_bytes", lambda _device: free)
    assert fitting_batch(task_of(), SETTINGS, "cpu") == fits


def test_nothing_is_known_without_a_batch() -> None:
    task = task_of(probed=False)
    assert step_cost(task, SETTINGS) is None
    assert fitting_batch(task, SETTINGS, "cpu") is None
    assert probe_seconds(task, SETTINGS, "cpu") is None
    assert dict(forecast(task, SETTINGS, device="cpu", processes=1))["model"].startswith("not estimated")


@pytest.mark.parametrize(("cold", "beside", "probed"), [(0.0, 0.0, 4), (6.0, 0.0, 4), (0.0, 0.4, 2)])
def test_probe_scales_to_the_step(cold: float, beside: float, probed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which an example takes 0.5 s, and a micro-batch `beside` on top: not all 6 are probed, a step is twice
    6. Warming up is free.
    """
    clock, started = [0.0], []

    def seconds_of(call: Callable[[], Any], _device: str) -> float:
        began = clock[0]
        call()
        return clock[0] - began

    monkeypatch.setattr("syncdiff_bench.estimates.training.seconds_of", seconds_of)

    class Slow(Two):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            clock[0] += 0.5 * len(x) + beside + (0.0 if started else cold)
            started.append(len(x))
            return super().forward(x)

    task = task_of()
    task.build = Slow  # type: ignore[method-assign]
    assert probe_seconds(task, SETTINGS, "cpu") == pytest.approx(2 * (6 * 0.5 + beside))
    assert started == [1, 1, probed]


def test_a_step_that_waits_is_not_a_slow_step() -> None:
    class Waiting(Two):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            time.sleep(0.5)  # as on a machine that does something else
            return super().forward(x)

    task = task_of()
    task.build = Waiting  # type: ignore[method-assign]
    seconds = probe_seconds(task, SETTINGS, "cpu")
    assert seconds is not None and seconds < 0.5


def test_split_size_comes_from_headers() -> None:
    size = split_size(Clips(), "train")  # type: ignore[arg-type]
    assert (size.clips, size.frames, size.probed) == (10, 500, 9)
    assert size.hours == pytest.approx(20 / 3600)


def test_the_forecast_says_it_all_and_writes_nothing(tmp_path: Path) -> None:
    task = task_of(cached=str(tmp_path / "cache"))
    lines = dict(forecast(task, SETTINGS, device="cpu", processes=2))
    assert lines["data"] == "made-up train: 10 clips, about 500 frames (0.01 h; headers of 9 clips)"
    assert lines["steps"] == "100 of 12 examples (2 micro-batches of 6, over 2 processes), 1200 in all"
    assert "1.800 GB per hour of video, about 0.010 GB here; 1 of 1 shards to make" in lines["cache"]
    assert lines["model"] == "0.50 M parameters trained, 1.00 M frozen"
    assert lines["FLOPs"] == "4.8e-05 T per step, 4.8e-06 P in all"
    assert lines["memory"].startswith("about 0.01 GB (")
    assert "s per step on cpu" in lines["time"] and "by processor time, on a free machine" in lines["time"]
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_fit_is_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncdiff_bench.estimates.training.available_bytes", lambda _device: 1000)
    monkeypatch.setattr("syncdiff_bench.estimates.training.probe_seconds", lambda *_: pytest.fail("probed"))
    lines = dict(forecast(task_of(), SETTINGS, device="cpu", processes=1))
    assert lines["time"] == "not measured: not even one example fits"


def test_weights_that_are_not_here_leave_the_time_unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> float:
        raise WeightsError("weights NAME missing; syncdiff-bench weights fetch NAME")

    monkeypatch.setattr("syncdiff_bench.estimates.training.probe_seconds", missing)
    lines = dict(forecast(task_of(), SETTINGS, device="cpu", processes=1))
    assert lines["time"] == "not measured: weights NAME missing; syncdiff-bench weights fetch NAME"
    assert lines["FLOPs"]
