"""Scheduled sampling: which previous frames are the model's own, what they are, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_networks import SYNCDIFF
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import options_from_values
from syncdiff_bench.training.loader import load_task, read_plan
from syncdiff_bench.training.loop import train
from syncdiff_bench.training.task import TrainingData
from syncdiff_methods.syncdiff.beyond.scheduled import ScheduledSampling
from syncdiff_methods.syncdiff.config import ConditionConfig, DiffusionConfig, Prediction
from syncdiff_methods.syncdiff.latents import ClipLatents, DiffusionLoss
from syncdiff_methods.syncdiff.training import SyncDiffTask, SyncDiffTrainingOptions, TrainedSyncDiff

PREDICTIONS: tuple[Prediction, ...] = ("epsilon", "sample", "v_prediction")
ALWAYS = ScheduledSampling(1.0, 1)


def options_of(
    sampling: ScheduledSampling = ALWAYS, prediction: Prediction = "v_prediction", **more: float
) -> SyncDiffTrainingOptions:
    model = replace(SYNCDIFF, diffusion=DiffusionConfig(prediction=prediction))
    return SyncDiffTrainingOptions(model=model, scheduled=sampling, **more)  # type: ignore[arg-type]


def clips_of(lengths: tuple[int, ...] = (2, 9, 12)) -> list[ClipLatents]:
    """Every latent cell of frame t of clip i is 0.01 (10 i + t), the masked one 1 more, but for a small spread."""
    rng = np.random.default_rng(0)

    def frames(i: int, length: int) -> Tensor:
        spread = torch.from_numpy(rng.standard_normal((length, 3, 8, 8), dtype=np.float32)) * 1e-3
        return 0.01 * (10 * i + torch.arange(length)).view(-1, 1, 1, 1) + spread

    made = []
    for i, length in enumerate(lengths):
        audio = torch.from_numpy(rng.standard_normal((length, 104), dtype=np.float32))
        area = torch.full((length, 8, 8), 128, dtype=torch.uint8)
        made.append(ClipLatents(str(i), clean := frames(i, length), clean + 1, area, audio))
    return made


def task_of(options: SyncDiffTrainingOptions) -> SyncDiffTask:
    task = SyncDiffTask(options, TrainingData(None, "", "", None), "cpu")  # type: ignore[arg-type]
    task.clips = clips_of()
    return task


def module_of(options: SyncDiffTrainingOptions) -> TrainedSyncDiff:
    """With output layers that are not zero, as after some training."""
    torch.manual_seed(0)
    module = TrainedSyncDiff(options)
    for layer in module.denoiser.unet.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.any():
            nn.init.normal_(layer.weight, std=0.05)
    return module


# ------------------------------------------------------------------------------------------- how often


def test_the_probability_rises_along_a_line_and_stays() -> None:
    rising = ScheduledSampling(0.5, 200)
    assert [rising.at(step) for step in (0, 50, 100, 200, 1000)] == [0, 0.125, 0.25, 0.5, 0.5]


def test_as_many_examples_are_chosen_as_the_probability_says() -> None:
    """At half the steps a quarter of them: 1,000 draws, four standard deviations."""
    task = task_of(options_of(ScheduledSampling(0.5, 200)))
    shares = {}
    for step in (0, 100, 200):
        batches = [task.batch(step, step, part, 50) for part in range(20)]
        shares[step] = sum(len(batch.get("before_rows", ())) for batch in batches) / 1000
    assert shares[0] == 0
    assert shares[100] == pytest.approx(0.25, abs=0.055)
    assert shares[200] == pytest.approx(0.5, abs=0.064)


def test_what_is_chosen_early_is_chosen_late() -> None:
    """The chance of an example belongs to the micro-batch, not to the probability."""
    early, late = (task_of(options_of(ScheduledSampling(p, 1))).batch(3, 7, 1, 40) for p in (0.2, 0.6))
    assert 0 < len(early["before_rows"]) < len(late["before_rows"])
    assert set(early["before_rows"].tolist()) < set(late["before_rows"].tolist())


# ------------------------------------------------------------------------------------------- of what


def test_an_estimate_takes_what_belongs_to_the_frame_before() -> None:
    """Frame t - 1, masked and not, and frame t - 2; before the first frame stands that frame itself."""
    batch = task_of(options_of()).batch(0, 1, 0, 60)
    assert batch["before_rows"].tolist() == list(range(60))

    def frame(name: str) -> Tensor:
        """100 times the mean of each example: 10 i + t."""
        return 100 * batch[name].mean(dim=(-3, -2, -1))

    clip = frame("clean") - batch["frame"]
    torch.testing.assert_close(frame("before_clean"), clip + batch["frame"] - 1, atol=0.05, rtol=0)
    torch.testing.assert_close(frame("before_masked") - 100, clip + batch["frame"] - 1, atol=0.05, rtol=0)
    torch.testing.assert_close(
        frame("before_previous")[:, 0], clip + (batch["frame"] - 2).clamp(min=0), atol=0.05, rtol=0
    )
    assert (batch["frame"] == 1).any()
    assert (batch["frame"] > 2).any()
    assert 300 < batch["before_timestep"].float().mean() < 700
    assert batch["before_timestep"].max() < 1000
    assert float(batch["before_noise"].std()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("timestep", [0, 500, 999])
def test_the_estimate_of_a_perfect_prediction_is_the_frame(prediction: Prediction, timestep: int) -> None:
    """x0 of epsilon, x0 and v = sqrt(a) epsilon - sqrt(1 - a) x0, a = the product of 1 - beta; all in float64."""
    root = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64)
    a = (1 - root.square()).cumprod(0)[timestep]
    clean, noise = torch.randn(2, 1, 3, 4, 4, dtype=torch.float64)
    perfect = {"epsilon": noise, "sample": clean, "v_prediction": a.sqrt() * noise - (1 - a).sqrt() * clean}
    noisy = a.sqrt() * clean + (1 - a).sqrt() * noise
    loss = DiffusionLoss(DiffusionConfig(prediction=prediction))
    estimate = loss.estimate(perfect[prediction], noisy, torch.tensor([timestep]))
    torch.testing.assert_close(estimate, clean, atol=2e-4, rtol=0)


def expected(module: TrainedSyncDiff, batch: Mapping[str, Tensor]) -> Tensor:
    """The previous frames of a batch, one example after the other and by other means."""
    previous = batch["previous"].clone()
    scheduler = module.diffusion_loss.scheduler
    for k, row in enumerate(batch["before_rows"].tolist()):
        at, clean = batch["before_timestep"][k], batch["before_clean"][k]
        noisy = scheduler.add_noise(clean[None], batch["before_noise"][k][None], at[None])
        length = int((~batch["padding"][row]).sum())
        token = module.audio.tokens(module.audio.encode(batch["audio"][row, :length][None]))[:, batch["frame"][row] - 1]
        squeezed = module.denoiser.bottleneck(batch["before_previous"][k])  # type: ignore[misc]
        stacked = torch.cat([noisy[0], batch["before_masked"][k], batch["identity"][row], squeezed[0]])[None]
        made = module.denoiser.unet(stacked, at, encoder_hidden_states=token[:, None]).sample
        scheduler.set_timesteps(1000)
        x0 = scheduler.step(made, at, noisy).pred_original_sample[0]
        previous[row, 0] += x0.clamp(clean.min(), clean.max()) - clean
    return previous.detach()


def seen_by(module: TrainedSyncDiff, batch: Mapping[str, Tensor]) -> Tensor:
    """The previous frames that the step itself is given, after all estimates."""
    seen, inner = list[Tensor](), module.predict

    def predict(*given: Tensor) -> Tensor:
        seen.append(given[4])
        return inner(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "predict", predict)
        module(**batch)
    return seen[-1]


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_the_loss_is_that_of_the_networks_own_previous_frames(prediction: Prediction, noise: float) -> None:
    options = options_of(ScheduledSampling(0.5, 1), prediction, previous_noise=noise)
    module, batch = module_of(options).train(), dict(task_of(options).batch(0, 1, 0, 8))
    assert 0 < len(batch["before_rows"]) < 8
    previous = expected(module.eval(), batch)
    assert not torch.allclose(previous, batch["previous"], atol=1e-4)
    torch.testing.assert_close(seen_by(module.train(), batch), previous, atol=1e-5, rtol=0)
    plain = {name: tensor for name, tensor in batch.items() if not name.startswith("before_")}
    losses = [module.train()(**batch), module(**{**plain, "previous": previous}), module(**plain)]
    ours, theirs, without = (float(one["loss"].detach()) for one in losses)
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert ours != pytest.approx(without, rel=1e-5)


@pytest.mark.parametrize("bf16", [False, True])
def test_no_gradient_goes_through_an_estimate(bf16: bool) -> None:
    """All trained tensors have the gradient that they have where the same frames are simply given."""
    options = options_of(ScheduledSampling(0.5, 1))
    module, batch = module_of(options), dict(task_of(options).batch(0, 1, 0, 8))
    plain = {name: tensor for name, tensor in batch.items() if not name.startswith("before_")}
    gradients = []
    for one in (batch, {**plain, "previous": expected(module, batch)}):
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = module(**one)["loss"]
        loss.backward()
        assert all(p.grad is not None for p in module.parameters() if p.requires_grad)
        gradients.append(torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]))
    difference = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    assert difference < (0.05 if bf16 else 1e-4)


def test_an_estimate_stays_within_the_range_of_its_frame() -> None:
    """Epsilon of almost pure noise is divided by 0.01: a network that is off by a little would be off by tens."""
    options = options_of(prediction="epsilon")
    module, batch = module_of(options), dict(task_of(options).batch(0, 1, 0, 6))
    batch["before_timestep"] = torch.full((6,), 999)
    previous = seen_by(module, batch)
    low, high = batch["before_clean"].amin((1, 2, 3)), batch["before_clean"].amax((1, 2, 3))
    assert (previous.amin((1, 2, 3, 4)) >= low - 1e-5).all()
    assert (previous.amax((1, 2, 3, 4)) <= high + 1e-5).all()


def test_a_previous_frame_that_is_left_out_is_not_estimated() -> None:
    task = task_of(options_of(previous_dropout=0.5))
    task.clips = clips_of((900,))  # hardly ever is the frame before the identity frame
    batch = task.batch(0, 1, 0, 40)
    left_out = (batch["previous"][:, 0] == batch["identity"]).all(dim=(1, 2, 3))
    assert 5 < left_out.sum() < 35
    assert set(batch["before_rows"].tolist()) == set(torch.nonzero(~left_out)[:, 0].tolist())


# ------------------------------------------------------------------------------------- and nothing else


def test_without_a_chosen_example_a_step_is_plain_syncdiff() -> None:
    plain = task_of(options_of(ScheduledSampling(), previous_noise=0.3)).batch(0, 0, 0, 8)
    ours = task_of(options_of(ScheduledSampling(0.5, 10), previous_noise=0.3)).batch(0, 0, 0, 8)
    assert list(ours) == list(plain)
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


def test_chosen_examples_are_otherwise_those_of_plain_syncdiff() -> None:
    plain = task_of(options_of(ScheduledSampling(), previous_noise=0.3)).batch(0, 5, 1, 8)
    ours = task_of(options_of(previous_noise=0.3)).batch(0, 5, 1, 8)
    assert len(ours["before_rows"]) == 8
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


def test_validation_estimates_nothing() -> None:
    """Its figures are comparable with those of plain SyncDiff."""
    tasks = [task_of(replace(options_of(sampling), validation_batches=1)) for sampling in (ALWAYS, ScheduledSampling())]
    module = module_of(options_of()).eval()
    for task in tasks:
        task.held_out = task.clips
    with torch.no_grad():
        assert tasks[0].validation(module) == tasks[1].validation(module)


def test_a_probe_estimates_the_mean_share() -> None:
    task = task_of(options_of(ScheduledSampling(0.5, 1000)))
    assert {size: len(task.probe_batch(size)["before_rows"]) for size in (1, 6, 16)} == {1: 1, 6: 2, 16: 4}
    assert "before_rows" not in task_of(options_of(ScheduledSampling())).probe_batch(4)


# --------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("condition", "frames"), [(ConditionConfig(previous_frames=5), 5), (ConditionConfig(previous="none"), 0)]
)
def test_a_model_without_one_previous_frame_is_refused(condition: ConditionConfig, frames: int) -> None:
    words = rf"scheduled.probability is 0.5, but the model has {frames} previous frames, and one is estimated; set"
    with pytest.raises(ValueError, match=words):
        SyncDiffTrainingOptions(replace(SYNCDIFF, condition=condition), scheduled=ScheduledSampling(0.5, 10))
    SyncDiffTrainingOptions(replace(SYNCDIFF, condition=condition))


def test_numbers_that_mean_nothing_are_refused_in_one_line() -> None:
    for given, words in (
        ({"probability": 1.5}, "scheduled.probability is 1.5; give 0"),
        ({"probability": 0.5, "steps": 0}, "scheduled.steps is 0; give the steps of the training"),
    ):
        with pytest.raises(UsageError, match=words):
            options_from_values(SyncDiffTrainingOptions, {"scheduled": given}, "trainer syncdiff")


# -------------------------------------------------------------------------------------------- training


TOY = (
    "data.split=test",
    "data.validation_split=test",
    "training.batch_size=4",
    "training.micro_batch=2",
    "training.schedule=constant",
    "training.checkpoint_every=2",
    "training.sample_every=0",
    "options.model.frame_size=32",
    "options.model.unet.channels=[32,32,32]",
    "options.half=false",
    "options.validation_batches=1",
    "options.scheduled.steps=3",
)


@pytest.mark.usefixtures("few_clips")
def test_a_training_that_resumes_ends_with_the_same_weights(home: Path, tmp_path: Path) -> None:
    """Two micro-batches a step; a quarter and more of the examples estimated. Both trainings save the same bytes."""

    def trained(out: str, steps: int) -> Path:
        more = (f"options.autoencoder={home / 'vq'}", f"training.steps={steps}")
        plan = read_plan("syncdiff/pocket", (*TOY, *more), variant="scheduled")
        return train(load_task(plan, None, home / "cache", "cpu"), plan.settings, tmp_path / out, cpu=True)

    once = trained("once", 4)
    trained("twice", 2)
    twice = trained("twice", 4)
    for part in ("denoiser", "audio"):
        one, other = (load_file(folder / f"{part}.safetensors") for folder in (once, twice))
        assert [name for name in one if not torch.equal(one[name], other[name])] == []
