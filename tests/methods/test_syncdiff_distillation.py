"""Consistency distillation: against the fixed point that Gaussian data have, and as a training at toy size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_networks import SYNCDIFF as TINY
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.estimates.training import step_cost
from syncdiff_bench.training.loader import load_task, read_plan
from syncdiff_bench.training.loop import train
from syncdiff_bench.training.task import TrainingSettings
from syncdiff_methods.syncdiff.beyond.distillation import DistillationOptions, DistillationTask, DistilledSyncDiff
from syncdiff_methods.syncdiff.config import DiffusionConfig
from syncdiff_methods.syncdiff.model import Denoiser, SyncDiffModel

pytestmark = pytest.mark.usefixtures("few_clips")
CUMULATIVE = np.cumprod(1 - np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2)
GRID = [0, *range(19, 1000, 20)]
MEAN, SPREAD = 0.3, 0.5
VELOCITY = DiffusionConfig(prediction="v_prediction")


# ------------------------------------------------------------------------------------ Gaussian data


class Line(nn.Module):
    """A denoiser that says scale[t] z + shift[t]."""

    def __init__(self, scale: np.ndarray, shift: np.ndarray) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.from_numpy(scale).float())
        self.shift = nn.Parameter(torch.from_numpy(shift).float())

    def visual_condition(self, *_: object) -> Tensor:
        return torch.zeros(())

    def context(self, *_: object) -> Tensor:
        return torch.zeros(())

    def forward(self, noisy: Tensor, timestep: Tensor, *_: object) -> Tensor:
        return self.scale[timestep].reshape(-1, 1, 1, 1) * noisy + self.shift[timestep].reshape(-1, 1, 1, 1)


class Silent(nn.Module):
    def tokens_at(self, audio: Tensor, *_: object) -> Tensor:
        return audio[:, 0]


def velocity_of(slope: np.ndarray, offset: np.ndarray) -> Line:
    """The denoiser whose x0 at timestep t is slope[t] z + offset[t]: v = (alpha z - x0) / sigma."""
    alpha, sigma = CUMULATIVE**0.5, (1 - CUMULATIVE) ** 0.5
    return Line((alpha - slope) / sigma, -offset / sigma)


def exact() -> tuple[np.ndarray, np.ndarray]:
    """x0 of the best denoiser for data N(MEAN, SPREAD^2): the mean of what may be behind z."""
    gain = CUMULATIVE**0.5 * SPREAD**2 / (CUMULATIVE * SPREAD**2 + 1 - CUMULATIVE)
    return gain, MEAN * (1 - gain * CUMULATIVE**0.5)


def distilled() -> tuple[np.ndarray, np.ndarray]:
    """x0 of a student without any loss: from every timestep the end of all DDIM steps that follow, as a line in z.

    What a step from a to b makes of z is sqrt(b) x0 + sqrt((1 - b) / (1 - a)) (z - sqrt(a) x0), with x0 a line itself.
    """
    gain, base = exact()
    slope, offset = gain.copy(), base.copy()
    end = (1.0, 0.0)
    for before, after in zip(GRID[1:], GRID[:-1], strict=True):
        a, b = CUMULATIVE[before], CUMULATIVE[after]
        kept = ((1 - b) / (1 - a)) ** 0.5
        share = b**0.5 - kept * a**0.5
        stretch, move = kept + share * gain[before], share * base[before]
        end = (end[0] * stretch, end[0] * move + end[1])
        skip, out = 0.25 / ((10 * before) ** 2 + 0.25), 10 * before / ((10 * before) ** 2 + 0.25) ** 0.5
        slope[before], offset[before] = (end[0] - skip) / out, end[1] / out
    return slope, offset


def gaussian(student: Line, decay: float = 0.95) -> DistilledSyncDiff:
    module = DistilledSyncDiff(DistillationOptions(model=replace(TINY, diffusion=VELOCITY), target_decay=decay))
    module.denoiser, module.audio = student, Silent()  # type: ignore[assignment]
    module.teacher = velocity_of(*exact()).requires_grad_(False)  # type: ignore[assignment]
    module.target = velocity_of(*exact()).requires_grad_(False)  # type: ignore[assignment]
    module.target.load_state_dict(student.state_dict())
    return module


def examples(seed: int, size: int = 100) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    latents = torch.randn(2, size, 3, 4, 4, generator=rng)
    unseen = torch.zeros(size, 1, 3, 4, 4)
    return {
        "clean": MEAN + SPREAD * latents[0],
        "masked": unseen[:, 0],
        "identity": unseen[:, 0],
        "previous": unseen,
        "mask": torch.ones(size, 4, 4),
        "audio": torch.zeros(size, 1, 1),
        "padding": torch.zeros(size, 1, dtype=torch.bool),
        "frame": torch.zeros(size, dtype=torch.long),
        "noise": latents[1],
        "timestep": torch.arange(size) * (1000 // size),
    }


def test_only_a_student_that_knows_the_end_of_every_trajectory_has_no_loss() -> None:
    slope, offset = distilled()
    spread = (CUMULATIVE[0] * SPREAD**2 + 1 - CUMULATIVE[0]) ** 0.5  # of the data at the least noise, as a whole
    assert slope[999] == pytest.approx(spread, rel=0.1)  # fifty steps of DDIM come near to it
    with torch.no_grad():
        assert float(gaussian(velocity_of(slope, offset))(**examples(0))["loss"]) < 1e-5
        others = [exact(), (slope * 1.02, offset), (slope, offset + 0.02), (np.roll(slope, 1), np.roll(offset, 1))]
        assert min(float(gaussian(velocity_of(*one))(**examples(0))["loss"]) for one in others) > 1e-4


def test_a_student_learns_the_end_of_the_trajectory() -> None:
    """It starts as its teacher, who from pure noise sees nothing but the mean."""
    module, (slope, offset) = gaussian(velocity_of(*exact()), decay=0.8), distilled()
    optimizer = torch.optim.Adam(module.denoiser.parameters(), lr=0.02)
    for step in range(2000):
        module.follow()
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 2000)
        optimizer.zero_grad()
        module(**examples(step))["loss"].backward()
        optimizer.step()
    alpha, sigma = CUMULATIVE[999] ** 0.5, (1 - CUMULATIVE[999]) ** 0.5
    scale, shift = (float(table[999]) for table in module.denoiser.state_dict().values())
    assert exact()[0][999] < 0.01
    assert alpha - sigma * scale == pytest.approx(slope[999], rel=0.05)
    assert -sigma * shift == pytest.approx(offset[999], abs=0.02)


# -------------------------------------------------------------------------------------- the three networks


def test_the_student_alone_gets_gradients_and_the_target_follows_it() -> None:
    torch.manual_seed(0)
    module = DistilledSyncDiff(DistillationOptions(model=TINY, target_decay=0.75))
    module.start(SyncDiffModel(TINY))
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(5, 3, 3, 8, 8, generator=rng)
    module.train()(
        clean=latents[0], masked=latents[1], identity=latents[2], previous=latents[3][:, None], noise=latents[4],
        mask=torch.ones(3, 8, 8), audio=torch.randn(3, 6, 104, generator=rng), frame=torch.tensor([0, 2, 5]),
        padding=torch.zeros(3, 6, dtype=torch.bool), timestep=torch.tensor([3, 500, 999]),
    )["loss"].backward()  # fmt: skip
    graded = {name.partition(".")[0] for name, parameter in module.named_parameters() if parameter.grad is not None}
    assert graded == {"denoiser"}
    assert {name.partition(".")[0] for name, p in module.named_parameters() if p.requires_grad} == {"denoiser"}
    assert all(parameter.grad is not None for parameter in module.denoiser.parameters())

    before = {name: parameter.clone() for name, parameter in module.target.named_parameters()}
    with torch.no_grad():
        for parameter in module.denoiser.parameters():
            parameter.add_(1)
    module.follow()
    for name, parameter in module.target.named_parameters():
        torch.testing.assert_close(parameter, before[name] + 0.25, atol=1e-6, rtol=0)


# ------------------------------------------------------------------------------------------- a training


@pytest.fixture(scope="module")
def teacher(few_clips: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of random weights, whose UNet says something (its last layer starts at zero in a training)."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("teacher")
    SyncDiffModel(replace(TINY, diffusion=replace(VELOCITY, steps=200))).save_pretrained(folder / "model")
    return folder / "model"


def task_of(teacher: Path, *overrides: str) -> tuple[DistillationTask, TrainingSettings]:
    small = ("data.split=test", "data.validation_split=test", "training.batch_size=2", "training.validate_every=100")
    own = (f"options.teacher={teacher}", "options.autoencoder=", "options.validation_batches=1")
    plan = read_plan("syncdiff-distillation/pocket-few-step", (*small, *own, *overrides))
    task = load_task(plan, None, teacher.parent / "cache", "cpu")
    assert isinstance(task, DistillationTask)
    return task, plan.settings


def test_a_resumed_training_ends_in_the_same_bytes(teacher: Path, tmp_path: Path) -> None:
    """Checkpoints hold student, target and teacher; the student's average is what is exported."""
    for out, parts in (("whole", (3,)), ("resumed", (2, 3))):
        for steps in parts:
            schedule = ("training.schedule=constant", f"training.steps={steps}", "training.learning_rate=0.01")
            task, settings = task_of(teacher, *schedule)
            train(task, settings, tmp_path / out, cpu=True)
    for name in ("config.json", "denoiser.safetensors", "audio.safetensors", "autoencoder.safetensors"):
        whole, resumed = ((tmp_path / out / "model" / name).read_bytes() for out in ("whole", "resumed"))
        assert whole == resumed, name
    before, after = SyncDiffModel.from_pretrained(teacher), SyncDiffModel.from_pretrained(tmp_path / "whole" / "model")
    config = replace(before.config, variant="few-step", diffusion=after.config.diffusion)
    assert after.config == config
    assert after.config.diffusion == replace(before.config.diffusion, sampler="consistency", steps=4)
    changed = [
        name.partition(".")[0]
        for (name, one), other in zip(after.state_dict().items(), before.state_dict().values(), strict=True)
        if not torch.equal(one, other.half().float())
    ]
    assert set(changed) == {"denoiser"}


def test_a_validation_asks_how_far_one_step_is_from_the_teacher(teacher: Path) -> None:
    """Nothing between a student and a teacher that both see the same picture in every noise."""
    task, _ = task_of(teacher)
    task.prepare()
    module = task.build().eval()
    with torch.no_grad():
        figures = task.validation(module)
        assert set(figures) == {"loss", "mouth", "loss_from_noise", "mouth_from_noise", "one_step"}
        assert figures["one_step"] > 0.01
        for network in (module.denoiser, module.teacher):
            # v = (alpha z - x0) / sigma with x0 = 0.2
            network.forward = lambda noisy, t, *_: (  # type: ignore[method-assign]
                (CUMULATIVE[int(t)] ** 0.5 * noisy - 0.2) / (1 - CUMULATIVE[int(t)]) ** 0.5
            )
        distance = task._distance(module)  # type: ignore[arg-type]
    assert distance == pytest.approx((1 - CUMULATIVE[0]) ** 0.5, rel=0.05)  # the least noise, which DDIM leaves


def test_without_a_teacher_the_command_that_makes_it_is_told(tmp_path: Path) -> None:
    overrides = [f"data.{name}='{value}'" for name, value in (("dataset", "pocket"), ("split", "test"))]
    plan = read_plan("syncdiff-distillation/paper-few-step", [*overrides, "data.validation_split='test'"])
    with pytest.raises(
        UsageError, match=r"no teacher 'training/paper/model'; train one .*train syncdiff/paper`"
    ) as one:
        train(load_task(plan, None, tmp_path, "cpu"), plan.settings, tmp_path / "out", cpu=True)
    assert "\n" not in str(one.value)
    with pytest.raises(UsageError, match=r"no teacher 'training/mine/model'"):
        load_task(replace(plan, options={"teacher": "training/mine/model"}), None, tmp_path, "cpu")


def test_what_a_distillation_costs_is_known_before_its_teacher_is_there() -> None:
    """As much as with a teacher of that size, that is: three networks of the one that the config trains."""
    plan = read_plan("syncdiff-distillation/pocket-few-step")
    task = load_task(plan, None, Path(), "cpu")
    config = read_plan("syncdiff/pocket-ablation").options["model"]
    assert task.options.model.diffusion.prediction == config["diffusion"]["prediction"] == "v_prediction"
    cost = step_cost(task, plan.settings)
    assert cost is not None
    one = sum(p.numel() for p in Denoiser(task.options.model).parameters())
    assert cost.trained == one and cost.frozen > 2 * one
    assert cost.flops > 0 and cost.example_bytes > 0


def test_a_student_is_as_its_teacher_is(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"options\.model: a student is as its teacher is"):
        task_of(teacher, "options.model.frame_size=48")
    with pytest.raises(UsageError, match="not the autoencoder of the teacher"):
        other = replace(TINY, autoencoder=replace(TINY.autoencoder, scaling_factor=2.0))
        SyncDiffModel(other).save_pretrained(tmp_path / "other")
        task_of(teacher, f"options.autoencoder={tmp_path / 'other'}")
    with pytest.raises(UsageError, match="is distilled already"):
        few = replace(TINY, diffusion=replace(TINY.diffusion, sampler="consistency"))
        SyncDiffModel(few).save_pretrained(tmp_path / "student")
        task_of(tmp_path / "student")
    with pytest.raises(UsageError, match="steps=9 is not possible"):
        task_of(teacher, "options.steps=9")
