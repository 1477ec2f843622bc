"""What training and sampling ask of a GPU, counted on a device that computes shapes alone (`fake_device`).

No device mismatch, how many kernels, and where the CPU waits. Float32: bfloat16 brings casts of its own. Run by
test_fake_device.py in a process of its own: autograd knows no device that comes after its first backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
import torch
from fake_device import computer
from tiny_networks import SYNCDIFF as TINY
from torch import Tensor, nn

from syncdiff_bench.progress import Progress
from syncdiff_bench.training.loop import _accelerator, _drawn_ahead, _Training
from syncdiff_bench.training.task import TrainingSettings
from syncdiff_methods.difftalk.model import DiffTalkConfig, DiffTalkModel
from syncdiff_methods.difftalk.sampling import DiffTalkConditions
from syncdiff_methods.difftalk.sampling import sample_clips as difftalk_clips
from syncdiff_methods.syncdiff.beyond.distillation import DistillationOptions, DistillationTask, DistilledSyncDiff
from syncdiff_methods.syncdiff.beyond.scheduled import ScheduledSampling
from syncdiff_methods.syncdiff.config import ConditionConfig, DiffusionConfig, SyncDiffConfig
from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_methods.syncdiff.sampling import ClipConditions, sample_clips
from syncdiff_methods.syncdiff.training import SyncDiffTask, SyncDiffTrainingOptions, TrainedSyncDiff

PAPER = SyncDiffConfig()
SIZES = {"tiny": TINY, "paper": PAPER}
TOLD = ConditionConfig(previous_level=True)
TEMPORAL = ConditionConfig(previous="tokens", previous_frames=10)
WAYS_TO_TRAIN: dict[str, Callable[[SyncDiffConfig], SyncDiffTrainingOptions]] = {
    "syncdiff": SyncDiffTrainingOptions,
    "scheduled": lambda model: SyncDiffTrainingOptions(model, scheduled=ScheduledSampling(0.5)),
    "noise-level": lambda model: SyncDiffTrainingOptions(replace(model, condition=TOLD), previous_noise=0.3),
    "temporal": lambda model: SyncDiffTrainingOptions(replace(model, condition=TEMPORAL)),
    "few-step": DistillationOptions,
    "sync-loss": lambda model: SyncDiffTrainingOptions(model, sync_weight=0.1, sync_crop=model.latent_size * 5 // 8),
}
TRAININGS = [
    pytest.param((size, way), id=f"{size}, {way}", marks=[pytest.mark.slow] if size == "paper" else [])
    for size in SIZES
    for way in WAYS_TO_TRAIN
]

# --------------------------------------------------------------------------------------------- training


class BuiltOnDevice(SyncDiffTask):
    """SyncDiff's task, on batches of the right shapes."""

    def build(self) -> nn.Module:
        with torch.device(self.device):
            return TrainedSyncDiff(self.options)

    def batch(self, seed: int, step: int, rank: int, size: int) -> Mapping[str, Tensor]:
        return self.probe_batch(size)


class DistilledOnDevice(BuiltOnDevice):
    """The distillation's, without the folder of a teacher."""

    between = DistillationTask.between

    def build(self) -> nn.Module:
        with torch.device(self.device):
            return DistilledSyncDiff(self.options)


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


@pytest.fixture(scope="module", params=TRAININGS)
def step(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Step]:
    """Of the loop that `train` runs, batches of 8."""
    from accelerate import PartialState

    settings, out = TrainingSettings(steps=3, batch_size=8, learning_rate=1e-4), tmp_path_factory.mktemp("out")
    size, way = request.param
    options = WAYS_TO_TRAIN[way](SIZES[size])
    with computer() as (device, counted), pytest.MonkeyPatch.context() as patch:
        kind = DistilledOnDevice if way == "few-step" else BuiltOnDevice
        task = kind(options, data=None, device=str(device))  # type: ignore[arg-type]
        accelerator = _accelerator(task, settings, out, cpu=True)
        patch.setitem(PartialState._shared_state, "device", device)
        accelerator.state.device, accelerator.device_placement = device, False  # it is there already
        training = _Training(accelerator, task, settings, out, Progress())
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
    most = 3400 if "paper" in request.node.name else 1100
    more = {
        "scheduled": most * 2 // 5,  # a forward pass
        "noise-level": 60,  # an embedding
        "temporal": 300,  # queries, keys
        "few-step": most,  # two forward passes, the target's average
        # a forward and backward pass, and those of decoder and expert: 2,777 kernels in all, 7,492 at the paper's size
        "sync-loss": most * 5 // 4 + 500,
    }
    most += next((launches for way, launches in more.items() if way in request.node.name), 0)
    assert step.trained < step.launches < most


# --------------------------------------------------------------------------------------------- sampling


@dataclass(frozen=True)
class Sampled:
    """What two frames of two clips, the second clip shorter, asked for."""

    launches: int
    waits: list[str]
    copies: list[str]
    blocking: list[str]


def syncdiff(config: SyncDiffConfig, lengths: tuple[int, ...] = (2, 1)) -> Sampled:
    side, size, dim = config.latent_size, config.frame_size, config.audio.dim
    with computer() as (device, counted):
        with device:
            model = SyncDiffModel(config).eval()
            clips = [
                ClipConditions(
                    str(n), torch.randn(n, 3, side, side), torch.randn(3, side, side), torch.randn(n, dim),
                    torch.randn(3, size, size), torch.ones(n, side, side),
                )
                for n in lengths
            ]  # fmt: skip
        counted.clear()
        sample_clips(model, clips, seed=0, on_frame=lambda *_: None)
        return Sampled(counted.launches.total(), counted.waits, counted.copies, counted.blocking)


def difftalk(diffusion: DiffusionConfig, *, blends: bool) -> Sampled:
    config = DiffTalkConfig(
        frame_size=32, audio_dim=8, landmark_dim=8, autoencoder=TINY.autoencoder, unet=TINY.unet, diffusion=diffusion
    )
    with computer() as (device, counted):
        with device:
            model = DiffTalkModel(config).eval()
            clips = [
                DiffTalkConditions(
                    str(n), torch.randn(n, 3, 8, 8), torch.randn(n, 3, 8, 8) if blends else None,
                    torch.ones(n, 1, 8, 8), torch.randn(3, 8, 8), torch.randn(n, 16),
                )
                for n in (2, 1)
            ]  # fmt: skip
        counted.clear()
        difftalk_clips(
            model, clips, seed=0, reference="previous", on_frame=lambda *_: None, progress=lambda _frames: None
        )
        return Sampled(counted.launches.total(), counted.waits, counted.copies, counted.blocking)


WAYS: dict[str, Callable[[int], Sampled]] = {
    "ddim": lambda steps: syncdiff(replace(TINY, diffusion=DiffusionConfig(steps=steps))),
    "ddim, noisy": lambda steps: syncdiff(replace(TINY, diffusion=DiffusionConfig(steps=steps, eta=1.0))),
    "dpmsolver++": lambda steps: syncdiff(replace(TINY, diffusion=DiffusionConfig(sampler="dpmsolver++", steps=steps))),
    "told a level": lambda steps: syncdiff(replace(TINY, condition=TOLD, diffusion=DiffusionConfig(steps=steps))),
    "consistency": lambda steps: syncdiff(replace(TINY, diffusion=DiffusionConfig(sampler="consistency", steps=steps))),
    "latent feedback": lambda steps: syncdiff(replace(TINY, feedback="latent", diffusion=DiffusionConfig(steps=steps))),
    "temporal": lambda steps: syncdiff(replace(TINY, condition=TEMPORAL, diffusion=DiffusionConfig(steps=steps))),
    "difftalk": lambda steps: difftalk(DiffusionConfig(steps=steps), blends=False),
    "difftalk, blended": lambda steps: difftalk(DiffusionConfig(steps=steps), blends=True),
    "difftalk, blended, noisy": lambda steps: difftalk(DiffusionConfig(steps=steps, eta=1.0), blends=True),
}


QUICK = ("ddim, noisy", "told a level", "temporal", "dpmsolver++", "consistency", "difftalk, blended, noisy")


@pytest.mark.parametrize("way", [way if way in QUICK else pytest.param(way, marks=pytest.mark.slow) for way in WAYS])
def test_sampling_never_waits_and_steps_copy_nothing(way: str) -> None:
    """The CPU runs ahead through all steps of all frames; noise and timesteps go over once per frame."""
    few, more = WAYS[way](2), WAYS[way](4)
    assert few.waits == more.waits == []
    assert few.blocking == more.blocking == []
    assert few.copies == more.copies
    assert len(few.copies) == 2 * 2 + 1  # noise and timesteps of two frames, who goes on
    assert more.launches > few.launches


def test_unipc_copies_at_every_step() -> None:
    """diffusers brings its coefficients to the device one by one; DPM-Solver++, as good, does not."""
    two, four = (syncdiff(replace(TINY, diffusion=DiffusionConfig(sampler="unipc", steps=n)), (1,)) for n in (2, 4))
    assert two.waits == four.waits == []
    assert len(four.blocking) > len(two.blocking) > 0


@pytest.mark.slow
def test_a_sampling_step_at_the_papers_size() -> None:
    """Attention, which is one kernel on a GPU, is five here."""
    two, four = (syncdiff(replace(PAPER, diffusion=DiffusionConfig(steps=steps)), (1,)) for steps in (2, 4))
    assert four.waits == four.blocking == []
    assert 500 < (four.launches - two.launches) / 2 < 1200
