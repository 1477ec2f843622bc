"""What training and sampling ask of a GPU, counted on a device that computes shapes alone (`fake_device`).

No device mismatch, how many kernels, and where the CPU waits. Float32: bfloat16 brings casts of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
import torch
from fake_device import computer
from tiny_networks import SYNCDIFF as TINY
from torch import Tensor, nn

from syncdiff_bench.training.loop import _accelerator, _drawn_ahead, _Training
from syncdiff_bench.training.task import TrainingSettings
from syncdiff_methods.syncdiff.config import SyncDiffConfig
from syncdiff_methods.syncdiff.training import SyncDiffTask, SyncDiffTrainingOptions, TrainedSyncDiff

PAPER = SyncDiffConfig()
SIZES = [pytest.param(TINY, id="tiny"), pytest.param(PAPER, id="paper", marks=pytest.mark.slow)]

# --------------------------------------------------------------------------------------------- training


class BuiltOnDevice(SyncDiffTask):
    """SyncDiff's task, on batches of the right shapes."""

    def build(self) -> nn.Module:
        with torch.device(self.device):
            return TrainedSyncDiff(self.options)

    def batch(self, seed: int, step: int, rank: int, size: int) -> Mapping[str, Tensor]:
        return self.probe_batch(size)


@dataclass(frozen=True)
class Step:
    """What the second step asked for; the first one makes the optimizer's moments too."""

    launches: int
    waits: list[str]
    copies: list[str]
    blocking: list[str]
    inputs: int
    trained: int
    updated: int


@pytest.fixture(scope="module", params=SIZES)
def step(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Step]:
    """Of the loop that `train` runs, batches of 8."""
    from accelerate import PartialState

    settings, out = TrainingSettings(steps=3, batch_size=8, learning_rate=1e-4), tmp_path_factory.mktemp("out")
    options = SyncDiffTrainingOptions(model=request.param)
    with computer() as (device, counted), pytest.MonkeyPatch.context() as patch:
        task = BuiltOnDevice(options, data=None, device=str(device))  # type: ignore[arg-type]
        accelerator = _accelerator(task, settings, out, cpu=True)
        patch.setitem(PartialState._shared_state, "device", device)
        accelerator.state.device, accelerator.device_placement = device, False  # it is there already
        training = _Training(accelerator, task, settings, out)
        batches = _drawn_ahead(task, settings, accelerator, 0)
        training._step(0, batches)
        counted.clear()
        training._step(1, batches)
        yield Step(
            counted.launches.total(),
            counted.waits,
            counted.copies,
            counted.blocking,
            len(task.batch(0, 0, 0, 1)),
            len(training.trained),
            len(training.optimizer.state),
        )


def test_every_trained_tensor_gets_a_gradient(step: Step) -> None:
    """AdamW keeps moments of what it has seen a gradient of."""
    assert step.updated == step.trained > 100


def test_a_training_step_waits_once(step: Step) -> None:
    """For its losses and the norm of its gradient, before the weights change."""
    assert step.waits == ["_to_copy"]


def test_batches_are_copied_while_the_step_goes_on(step: Step) -> None:
    assert step.copies == ["_to_copy"] * step.inputs
    assert step.blocking == []


def test_a_training_step_is_few_kernels(step: Step, request: pytest.FixtureRequest) -> None:
    """5,100 at the paper's size before the average, the clipping and AdamW were made in one go for all tensors."""
    print("LAUNCHES", step.launches, step.trained)
    assert step.trained < step.launches < (3400 if "paper" in request.node.name else 1100)
