"""Consistency sampling: the boundary, diffusers' two schedulers, and Gaussian data, whose trajectories are known."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler
from tiny_networks import SYNCDIFF as TINY
from torch import Tensor

from syncdiff_bench.errors import UsageError
from syncdiff_methods.syncdiff.acceleration import Acceleration, part_flops, workload
from syncdiff_methods.syncdiff.beyond.consistency import clean_estimate, consistency_scheduler, consistent, ddim_step
from syncdiff_methods.syncdiff.config import DiffusionConfig, Prediction, SyncDiffConfig
from syncdiff_methods.syncdiff.method import SyncDiff, SyncDiffOptions
from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_methods.syncdiff.sampling import ClipConditions, FrameNoise, build_sampler, denoise, sample_clips
from syncdiff_methods.syncdiff.training import SyncDiffTrainingOptions

CPU = torch.device("cpu")
CUMULATIVE = np.cumprod(1 - np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2)
KINDS: tuple[Prediction, ...] = ("epsilon", "sample", "v_prediction")
FEW = DiffusionConfig(sampler="consistency", steps=1)


def pair(count: int = 2) -> tuple[Tensor, Tensor]:
    """A noisy latent and what a network might say of it."""
    rng = torch.Generator().manual_seed(count)
    noisy, prediction = torch.randn(2, count, 3, 4, 4, generator=rng)
    return noisy, prediction


@pytest.mark.parametrize("kind", KINDS)
def test_at_timestep_0_the_function_is_the_identity(kind: Prediction) -> None:
    """c_skip(0) = 1 and c_out(0) = 0, to the bit; at 19 the network has all but taken over."""
    scheduler = consistency_scheduler(replace(FEW, prediction=kind))
    noisy, prediction = pair()
    zero = torch.zeros(2, 1, 1, 1, dtype=torch.long)
    kept = scheduler.alphas_cumprod[zero]
    assert torch.equal(consistent(scheduler, prediction, noisy, zero, kept), noisy)
    c_skip, c_out = scheduler.get_scalings_for_boundary_condition_discrete(19)
    assert (c_skip, c_out) == pytest.approx((0.25 / (190**2 + 0.25), 190 / (190**2 + 0.25) ** 0.5))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_diffusers_calls_denoised(kind: Prediction) -> None:
    """For one timestep at a time, as diffusers has it; ours takes one for each example."""
    scheduler = consistency_scheduler(replace(FEW, prediction=kind))
    noisy, prediction = pair(3)
    timesteps = torch.tensor([999, 259, 19])
    shaped = timesteps.reshape(-1, 1, 1, 1)
    ours = consistent(scheduler, prediction, noisy, shaped, scheduler.alphas_cumprod[shaped])
    for row, timestep in enumerate(timesteps):
        theirs = LCMScheduler.from_config(scheduler.config)
        theirs.set_timesteps(timesteps=[int(timestep)])
        expected = theirs.step(prediction[row], timestep, noisy[row]).denoised
        torch.testing.assert_close(ours[row], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("before", "after"), [(999, 979), (499, 479), (19, 0)])
def test_the_solver_is_diffusers_ddim_with_fifty_steps(kind: Prediction, before: int, after: int) -> None:
    """Which from timestep 19 goes to the least noise of the schedule, that of timestep 0."""
    ddim = DDIMScheduler(
        1000, 0.0015, 0.0195, "scaled_linear", clip_sample=False, set_alpha_to_one=False, prediction_type=kind
    )
    ddim.set_timesteps(50)
    noisy, prediction = pair()
    kept, kept_next = ddim.alphas_cumprod[before], ddim.alphas_cumprod[after]
    expected = ddim.step(prediction, before, noisy).prev_sample
    torch.testing.assert_close(ddim_step(kind, prediction, noisy, kept, kept_next), expected, atol=2e-5, rtol=1e-4)


# ---------------------------------------------------------------------------------------- Gaussian data

MEAN, SPREAD = 0.3, 0.5


def end_of(noisy: Tensor, timestep: int) -> Tensor:
    """Where the trajectory through a point ends, for data N(MEAN, SPREAD^2): each of its points keeps its quantile."""
    a, a0 = CUMULATIVE[timestep], CUMULATIVE[0]
    spread, spread0 = ((b * SPREAD**2 + 1 - b) ** 0.5 for b in (a, a0))
    return a0**0.5 * MEAN + spread0 / spread * (noisy - a**0.5 * MEAN)


def knowing(kind: Prediction) -> tuple[list[int], object]:
    """A student that has learnt everything, in the words of its kind; and the timesteps at which it was asked."""
    asked: list[int] = []

    def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
        t = int(timestep)
        asked.append(t)
        a = CUMULATIVE[t]
        skip, out = 0.25 / ((10 * t) ** 2 + 0.25), 10 * t / ((10 * t) ** 2 + 0.25) ** 0.5
        clean = (end_of(noisy.double(), t) - skip * noisy) / out
        noise = (noisy - a**0.5 * clean) / (1 - a) ** 0.5
        said = {"epsilon": noise, "sample": clean, "v_prediction": a**0.5 * noise - (1 - a) ** 0.5 * clean}
        return said[kind]

    return asked, predict


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("steps", "visited"), [(1, [999]), (2, [999, 499]), (4, [999, 759, 499, 259])])
def test_multistep_sampling_in_closed_form(kind: Prediction, steps: int, visited: list[int]) -> None:
    """Noise to an end, noised anew to the next timestep, to another end; one call and one drawing for each step."""
    source = FrameNoise(5, "clip", 1)
    expected = end_of(source.draw((3, 8, 8)).double(), visited[0])
    for timestep in visited[1:]:
        a = CUMULATIVE[timestep]
        expected = end_of(a**0.5 * expected + (1 - a) ** 0.5 * source.draw((3, 8, 8)), timestep)

    asked, predict = knowing(kind)
    config, drawings = replace(FEW, prediction=kind, steps=steps), FrameNoise(5, "clip", 1)
    made = denoise(predict, build_sampler(config), [drawings], (3, 8, 8), steps=steps, device=CPU)  # type: ignore[arg-type]
    assert asked == visited
    torch.testing.assert_close(made[0].float(), expected.float(), atol=2e-4, rtol=1e-4)
    assert torch.equal(drawings.draw((2,)), source.draw((2,)))  # as many numbers were drawn


def test_a_clean_estimate_of_each_kind() -> None:
    clean, noise = pair()
    kept = torch.tensor([0.9, 0.04]).reshape(2, 1, 1, 1)
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    said = {"epsilon": noise, "sample": clean, "v_prediction": kept.sqrt() * noise - (1 - kept).sqrt() * clean}
    for kind, prediction in said.items():
        torch.testing.assert_close(clean_estimate(kind, prediction, noisy, kept), clean, atol=1e-5, rtol=1e-5)


# ------------------------------------------------------------------------------------------ whole frames


def clips(lengths: tuple[int, ...]) -> list[ClipConditions]:
    rng = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(shape, generator=rng)  # noqa: E731
    return [
        ClipConditions(str(i), draw(n, 3, 8, 8), draw(3, 8, 8), draw(n, 16), draw(3, 32, 32), torch.ones(n, 8, 8))
        for i, n in enumerate(lengths)
    ]


def few_steps(steps: int, **changes: object) -> SyncDiffConfig:
    diffusion = replace(TINY.diffusion, sampler="consistency", steps=steps)
    return replace(TINY, diffusion=diffusion, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize(("feedback", "encodes"), [("pixel", 2), ("latent", 0)])
def test_a_frame_costs_its_steps_and_latents_are_fed_back_unencoded(steps: int, feedback: str, encodes: int) -> None:
    torch.manual_seed(0)
    model = SyncDiffModel(few_steps(steps, feedback=feedback)).eval()
    calls: dict[str, int] = {"unet": 0, "encoder": 0, "decoder": 0}
    for name, network in (("unet", model.denoiser.unet), ("encoder", model.autoencoder.vq.encoder),
                          ("decoder", model.autoencoder.vq.decoder)):  # fmt: skip
        network.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    sample_clips(model, clips((3,)), seed=0, on_frame=lambda *_: None)
    assert calls == {"unet": 3 * steps, "encoder": encodes, "decoder": 3}


def test_an_estimate_counts_steps_and_what_is_encoded() -> None:
    one = part_flops(TINY)

    def flops(config: SyncDiffConfig) -> int:
        return workload(config, [10, 30], 2, Acceleration(), "cpu").flops

    for steps in (1, 2, 4):
        shared = steps * one["step"] + one["decode"]
        assert flops(few_steps(steps)) == 40 * (shared + 2 * one["encode"])
        assert flops(few_steps(steps, feedback="latent")) == 40 * (shared + one["encode"])


def test_a_student_that_predicts_epsilon_runs_in_float32_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """At timestep 999 an error of epsilon is one 84 times as large of x0; v has no such division."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    gpu, epsilon = torch.device("cuda"), replace(FEW, prediction="epsilon")
    assert CUMULATIVE[999] ** -0.5 == pytest.approx(84, abs=0.5)
    assert Acceleration().resolved(gpu, epsilon).precision == "fp32"
    assert Acceleration(precision="bf16").resolved(gpu, epsilon).precision == "bf16"
    for other in (replace(FEW, prediction="v_prediction"), replace(epsilon, sampler="ddim")):
        assert Acceleration().resolved(gpu, other).precision == "bf16"


# ----------------------------------------------------------------------------------- what cannot be sampled


@pytest.mark.parametrize("steps", [0, 9, 200])
def test_steps_are_1_to_8(steps: int) -> None:
    with pytest.raises(UsageError, match=f"steps={steps} is not possible with sampler=consistency; give 1 to 8"):
        build_sampler(replace(FEW, steps=steps))
    with pytest.raises(UsageError, match=r"eta=1\.0 is for sampler=ddim"):
        build_sampler(replace(FEW, eta=1.0))


def test_a_model_is_sampled_as_it_was_made(tmp_path: object) -> None:
    SyncDiffModel(few_steps(4)).save_pretrained(tmp_path)  # type: ignore[arg-type]
    folder = str(tmp_path)
    assert SyncDiff(SyncDiffOptions(model=folder, steps=2)).config.diffusion.steps == 2
    for sampler in ("ddim", "dpmsolver++"):
        with pytest.raises(UsageError, match=re.escape(f"is distilled, no sampler={sampler} can use it")) as refusal:
            _ = SyncDiff(SyncDiffOptions(model=folder, sampler=sampler)).config  # type: ignore[arg-type]
        assert "\n" not in str(refusal.value)
    with pytest.raises(UsageError, match="sampler=consistency is for a distilled model, and pocket is none") as refusal:
        _ = SyncDiff(SyncDiffOptions(model="pocket", sampler="consistency")).config
    assert "\n" not in str(refusal.value)


def test_no_other_training_makes_a_model_that_says_so() -> None:
    with pytest.raises(ValueError, match="needs a distillation"):
        SyncDiffTrainingOptions(model=few_steps(4))
