"""What a training does for a GPU: what of it can be seen without one, and that a CPU's bytes do not change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.plugins import load_dataset
from syncdiff_bench.training.device import adamw, arranged, float32_products, pinned, sent
from syncdiff_bench.training.ema import EMA
from syncdiff_bench.training.loop import train
from syncdiff_bench.training.task import TrainingData, TrainingSettings, TrainingTask

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SETTINGS = TrainingSettings(steps=6, batch_size=4, learning_rate=0.01, ema_decay=0.5)


# ------------------------------------------------------------------------------------------ the average


def walked(*, foreach: bool) -> tuple[list[list[Tensor]], dict[str, Tensor]]:
    """Values of two parameters at ten updates, and their averages behind the last."""
    torch.manual_seed(0)
    parameters = {"a": nn.Parameter(torch.randn(7, 5)), "b": nn.Parameter(torch.randn(3))}
    ema = EMA(parameters.items(), 0.7)
    ema._average.foreach = foreach
    path = [[p.detach().clone() for p in parameters.values()]]
    for _ in range(10):
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.add_(torch.randn_like(parameter))
        ema.step()
        path.append([p.detach().clone() for p in parameters.values()])
    return path, ema.tensors()


def decay(updates: int) -> float:
    """CompVis' warm-up behind so many updates."""
    return 0.0 if updates == 0 else min(0.7, (1 + updates) / (10 + updates))


def test_on_a_cpu_the_average_is_the_same_bytes() -> None:
    """Difference, product, difference: three roundings, one tensor after the other."""
    path, averages = walked(foreach=False)
    for i, average in enumerate(averages.values()):
        expected = path[0][i].clone()
        for n, values in enumerate(path[1:]):
            expected -= (1 - decay(n)) * (expected - values[i])
        assert torch.equal(average, expected)


def test_the_average_of_a_gpu_is_the_same_within_rounding() -> None:
    path, averages = walked(foreach=True)
    for i, average in enumerate(averages.values()):
        expected = path[0][i].double()
        for n, values in enumerate(path[1:]):
            expected = decay(n) * expected + (1 - decay(n)) * values[i].double()
        torch.testing.assert_close(average.double(), expected, atol=1e-6, rtol=0)


def test_an_average_is_made_in_one_go_where_the_parameters_are_on_no_cpu() -> None:
    for device, foreach in (("cpu", False), ("meta", True)):
        assert EMA([("a", nn.Parameter(torch.zeros(2, device=device)))], 0.9)._average.foreach is foreach


# ------------------------------------------------------------------------------ optimizer, layout, numbers


def test_adamw_is_fused_on_everything_but_a_cpu() -> None:
    weight = nn.Parameter(torch.zeros(2))
    assert adamw([weight], SETTINGS, CPU).param_groups[0]["fused"] is None
    group = adamw([weight], SETTINGS, GPU).param_groups[0]
    assert (group["fused"], group["lr"], group["weight_decay"]) == (True, 0.01, 0.01)


def test_two_dimensional_convolutions_lie_channels_last_on_a_gpu() -> None:
    def built() -> nn.ModuleList:
        torch.manual_seed(0)
        return nn.ModuleList([nn.Conv2d(4, 6, 3), nn.Conv3d(4, 6, 3), nn.Conv1d(4, 6, 3), nn.Linear(4, 6)])

    plain, flat = built(), arranged(built(), SETTINGS, GPU)
    last = torch.channels_last
    assert [m.weight.is_contiguous() for m in flat] == [False, True, True, True]
    assert flat[0].weight.is_contiguous(memory_format=last)
    for a, b in zip(plain.parameters(), flat.parameters(), strict=True):
        assert torch.equal(a, b)
    for settings, device in ((SETTINGS, CPU), (replace(SETTINGS, channels_last=False), GPU)):
        assert arranged(built(), settings, device)[0].weight.is_contiguous()


@pytest.mark.parametrize("tf32", [True, False])
def test_tf32_is_a_matter_of_the_block(tf32: bool) -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with pytest.raises(ZeroDivisionError), float32_products(GPU, tf32=tf32):
        assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")
        assert torch.backends.cudnn.allow_tf32 is tf32
        raise ZeroDivisionError
    with float32_products(CPU, tf32=not tf32):
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_batches_are_pinned_for_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, asked = {"x": torch.ones(2)}, []
    assert pinned(batch, CPU) is batch
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: asked.append(tensor) or tensor)
    assert pinned(batch, GPU) == batch
    assert [tensor is batch["x"] for tensor in asked] == [True]
    assert sent(batch, CPU)["x"] is batch["x"]


# ------------------------------------------------------------------------------------------- compilation


@dataclass(frozen=True)
class NoOptions:
    pass


class Curve(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1))

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.layers(x).squeeze(1) - y).square().mean()}


class CurveTask(TrainingTask):
    Options = NoOptions

    def prepare(self) -> None:
        return None

    def build(self) -> nn.Module:
        return Curve()

    def batch(self, seed: int, step: int, rank: int, size: int) -> Mapping[str, Tensor]:
        x = torch.from_numpy(np.random.default_rng([seed, step, rank]).standard_normal((size, 3), dtype=np.float32))
        return {"x": x, "y": x.prod(dim=1)}

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        return {}

    def export(self, model: nn.Module, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "names.json").write_text(json.dumps({name: t.tolist() for name, t in model.state_dict().items()}))


def trained(out: Path, settings: TrainingSettings) -> dict[str, list[float]]:
    task = CurveTask(NoOptions(), TrainingData(load_dataset("pocket"), "test", "test", Path("cache")))
    values: dict[str, list[float]] = json.loads((train(task, settings, out, cpu=True) / "names.json").read_text())
    return values


def test_compiling_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(UsageError, match=r"training.compile = true needs a C\+\+ compiler"):
        trained(tmp_path, replace(SETTINGS, compile=True))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler")
@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
def test_a_compiled_training_is_the_plain_one(tmp_path: Path, mixed_precision: str) -> None:
    """Its parameters under their own names; goes on from a checkpoint that was written without compiling."""
    settings = replace(SETTINGS, mixed_precision=mixed_precision)
    plain = trained(tmp_path / "plain", settings)
    trained(tmp_path / "compiled", replace(settings, steps=3))
    torch._dynamo.utils.counters.clear()
    compiled = trained(tmp_path / "compiled", replace(settings, compile=True))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert compiled.keys() == plain.keys()
    for name, values in plain.items():
        np.testing.assert_allclose(compiled[name], values, atol=1e-5 if mixed_precision == "no" else 1e-2)
