"""Consistency models (Song et al. 2023; for latents Luo et al. 2023, "Latent Consistency Models", LCM).

A consistency function takes any point of a trajectory of the probability-flow equation to its end:

    f(z, t) = c_skip(t) z + c_out(t) x0(z, t),   c_skip(0) = 1, c_out(0) = 0

x0 is what the network's answer means, whichever kind it is, so that a trained denoiser is the start of one. diffusers'
LCMScheduler gives the timesteps, both factors (sigma_data 0.5, timesteps times 10) and the noise schedule. Its `step`
computes the same f but is not used: it knows one timestep for all of a batch, where a training has one per example, and
draws its noise itself, which would not belong to (seed, clip, frame).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from syncdiff_bench.errors import UsageError
from syncdiff_methods.syncdiff.config import DiffusionConfig, Sampler

if TYPE_CHECKING:
    from diffusers import LCMScheduler

SKIP = 20  # timesteps of one step of the solver: a student learns at 19, 39, ..., 999
MOST_STEPS = 8
MAKE = "syncdiff-bench train syncdiff-distillation/paper-few-step --set options.teacher"


def consistency_scheduler(config: DiffusionConfig) -> LCMScheduler:
    """The schedule of `config` with LCM's timesteps: from the last one in even steps over those of the training."""
    from diffusers import LCMScheduler

    return LCMScheduler(
        config.train_steps,
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        beta_schedule="scaled_linear",
        prediction_type=config.prediction,
        original_inference_steps=config.train_steps // SKIP,
        set_alpha_to_one=False,
    )


def clean_estimate(kind: str, prediction: Tensor, noisy: Tensor, kept: Tensor) -> Tensor:
    """x0 (B, 3, h, w) of a prediction of some kind.

    kept: alpha-bar, of the shape () or (B, 1, 1, 1).
    """
    if kind == "epsilon":
        return (noisy - (1 - kept).sqrt() * prediction) / kept.sqrt()
    if kind == "v_prediction":
        return kept.sqrt() * noisy - (1 - kept).sqrt() * prediction
    return prediction


def consistent(scheduler: LCMScheduler, prediction: Tensor, noisy: Tensor, timestep: Tensor, kept: Tensor) -> Tensor:
    """f of noisy latents (B, 3, h, w) for which a network said `prediction`.

    timestep: long, () or (B, 1, 1, 1); kept: alpha-bar there, of the same shape.
    """
    c_skip, c_out = scheduler.get_scalings_for_boundary_condition_discrete(timestep)
    return c_skip * noisy + c_out * clean_estimate(scheduler.config.prediction_type, prediction, noisy, kept)  # type: ignore[no-any-return]


def ddim_step(kind: str, prediction: Tensor, noisy: Tensor, kept: Tensor, kept_next: Tensor) -> Tensor:
    """One step of DDIM with eta 0 (Song et al. 2021, Eq. 12) between two noise levels; shapes as `clean_estimate`."""
    clean = clean_estimate(kind, prediction, noisy, kept)
    noise = (noisy - kept.sqrt() * clean) / (1 - kept).sqrt()
    return kept_next.sqrt() * clean + (1 - kept_next).sqrt() * noise


def multistep(
    predict: Callable[[Tensor, Tensor], Tensor],
    scheduler: LCMScheduler,
    noises: Sequence[Tensor],
    timesteps: Tensor,
) -> Tensor:
    """Multistep consistency sampling (Song et al. 2023, Algorithm 1): f, noised to the next timestep, f again, ...

    noises: one (B, 3, h, w) per step, the first to begin with.
    timesteps: those of the scheduler, one per step, on the device of `noises`.
    """
    latents = noises[0]
    for i, (timestep, on_device) in enumerate(zip(scheduler.timesteps, timesteps, strict=True)):
        kept = scheduler.alphas_cumprod[timestep]  # on the CPU, as in `sampling.denoise`
        if i > 0:
            latents = kept.sqrt() * latents + (1 - kept).sqrt() * noises[i]
        latents = consistent(scheduler, predict(latents, on_device), latents, timestep, kept)
    return latents


def check_consistency(config: DiffusionConfig) -> None:
    """Raise UsageError for steps or an eta that consistency sampling cannot do."""
    if not 1 <= config.steps <= MOST_STEPS:
        raise UsageError(
            f"steps={config.steps} is not possible with sampler=consistency; give 1 to {MOST_STEPS} (1, 2 and 4 are its"
            " purpose)"
        )
    if config.eta != 0:
        raise UsageError(f"eta={config.eta} is for sampler=ddim; leave it out with sampler=consistency")


def check_distilled(model: str, own: Sampler, asked: Sampler | None) -> None:
    """Raise UsageError where one of a model's own sampler and the one that is asked for is `consistency`, one not.

    A distilled network answers with the end of the trajectory; what a solver of the equation needs of it, the direction
    at one point, it no longer tells.
    """
    if asked in (None, own):
        return
    if asked == "consistency":
        raise UsageError(
            f"sampler=consistency is for a distilled model, and {model} is none; distil it (`{MAKE}={model}`), or leave"
            " sampler out"
        )
    if own == "consistency":
        raise UsageError(
            f"{model} is distilled, no sampler={asked} can use it; leave sampler out, or run the model that it was"
            " made of"
        )
