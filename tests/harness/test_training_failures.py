"""How a training ends that cannot go on: one line with the batch and the mend, the last good checkpoint kept."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from straight_line import DATA
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from syncdiff_bench.errors import BenchError, Stopped
from syncdiff_bench.estimates.training import fitting_batch
from syncdiff_bench.training.failures import ending_plainly
from syncdiff_bench.training.loop import train
from syncdiff_bench.training.processes import LostError, Processes
from syncdiff_bench.training.task import TrainingSettings, TrainingTask

SETTINGS = TrainingSettings(
    steps=20, batch_size=8, learning_rate=0.1, ema_decay=0.0, log_every=5, validate_every=20, checkpoint_every=4
)


class Square(nn.Module):
    """A loss that grows with the square of one weight; raises what `trouble` raises for its input."""

    def __init__(self, trouble: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.trouble = trouble

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.trouble(x)
        return {"loss": (x * self.weight).square().mean()}


@dataclass(frozen=True)
class Options:
    nan_at: tuple[int, int] | None = None
    terminated_at: int = -1
    probed: bool = False
    trouble: Callable[[Tensor], None] = lambda _x: None


class SquareTask(TrainingTask):
    Options = Options
    incidental = frozenset(("nan_at", "terminated_at", "probed", "trouble"))

    def prepare(self) -> None:
        return None

    def build(self) -> nn.Module:
        return Square(self.options.trouble)

    def batch(self, seed: int, step: int, part: int, size: int) -> Mapping[str, Tensor]:
        if step == self.options.terminated_at:
            os.kill(os.getpid(), signal.SIGTERM)
        nan = (step, part) == self.options.nan_at
        return {"x": torch.full((size,), float("nan") if nan else 1.0)}

    def describe(self, seed: int, step: int, part: int, size: int) -> Sequence[str]:
        return [f"clip {step}-{part}-{i} frame 3" for i in range(size)]

    def probe_batch(self, size: int) -> Mapping[str, Tensor] | None:
        return {"x": torch.ones(size)} if self.options.probed else None

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        return {}

    def export(self, model: nn.Module, folder: Path) -> None:
        folder.mkdir(parents=True)


def run(out: Path, settings: TrainingSettings = SETTINGS, **options: Any) -> None:
    train(SquareTask(Options(**options), DATA), settings, out, cpu=True, fitting_batch=fitting_batch)


def kept(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "checkpoints").iterdir())


def test_nan_names_the_batch_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        run(tmp_path, replace(SETTINGS, micro_batch=4), nan_at=(10, 1))
    message = str(caught.value)
    assert message.startswith(
        "not a number at step 10: loss nan in micro-batch 1 of process 0 (clip 10-1-0 frame 3, clip 10-1-1 frame 3,"
    )
    assert "step-00000008; lower training.learning_rate" in message
    assert "\n" not in message
    assert kept(tmp_path) == ["step-00000004", "step-00000008"]


def test_nan_before_the_first_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="there is no checkpoint yet"):
        run(tmp_path, nan_at=(0, 0))


class Root(Square):
    """Finite at weight 1, with an infinite slope."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": ((self.weight - 1).abs() * x.mean()).sqrt().sum()}


def test_an_infinite_gradient_of_a_finite_loss_stops_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SquareTask, "build", lambda _self: Root(lambda _x: None))
    with pytest.raises(BenchError, match=r"step 0: the losses are finite, the gradient is (nan|inf)"):
        run(tmp_path)


def no_room_for(more_than: int, error: Callable[[str], Exception]) -> Callable[[Tensor], None]:
    def trouble(x: Tensor) -> None:
        if len(x) > more_than and not isinstance(x, FakeTensor):
            raise error("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 7 bytes")

    return trouble


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_out_of_memory_suggests_half(tmp_path: Path, error: Any) -> None:
    """Where nothing better is known; a step keeps its examples."""
    with pytest.raises(BenchError) as caught:
        run(tmp_path, replace(SETTINGS, batch_size=16, micro_batch=8), trouble=no_room_for(4, error))
    assert str(caught.value).startswith(
        "out of memory on cpu with training.micro_batch=8; try --set training.micro_batch=4 (a step stays 16 examples)"
    )


def test_out_of_memory_suggests_the_batch_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State: 4 numbers of 4 bytes for the one weight (no EMA). An example keeps its x and its product."""
    monkeypatch.setattr("syncdiff_bench.estimates.training.available_bytes", lambda _device: 16 / 0.9 + 3.5 * 8 / 0.9)
    with pytest.raises(BenchError, match=r"try --set training.micro_batch=3 \(a step stays 9 examples\)"):
        run(tmp_path, replace(SETTINGS, batch_size=9), probed=True, trouble=no_room_for(4, torch.OutOfMemoryError))
    monkeypatch.setattr("syncdiff_bench.estimates.training.available_bytes", lambda _device: 10)
    with pytest.raises(BenchError, match="one example does not fit"):
        run(tmp_path, probed=True, trouble=no_room_for(4, torch.OutOfMemoryError))


def test_another_runtime_error_is_not_touched(tmp_path: Path) -> None:
    def trouble(_x: Tensor) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        run(tmp_path, trouble=trouble)


def test_sigterm_is_one_line_and_the_handler_goes(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match=r"stopped by SIGTERM.*step-0000000\d; run the same command again to resume"):
        run(tmp_path, terminated_at=10)
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_does_not_silence_a_process_that_says_which_other_one_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun sends it within a tenth of a second of the loss; the test's own handling comes back at its end."""
    before = signal.getsignal(signal.SIGTERM)

    def lost(self: Processes, patience: float = 5.0) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return "process 1 is gone"

    monkeypatch.setattr(Processes, "lost", lost)
    two: Any = SimpleNamespace(process_index=0, num_processes=2, device="cpu")
    task = SquareTask(Options(), DATA)
    try:
        with (
            pytest.raises(LostError, match=r"^process 0: process 1 is gone; there is no checkpoint yet; run the same"),
            ending_plainly(two, task, SETTINGS, tmp_path, None),
        ):
            raise torch.distributed.DistError("Connection closed by peer")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
