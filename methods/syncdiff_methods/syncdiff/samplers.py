"""From noise to the latent of one frame: DDIM as CompVis samples, and two fast solvers of the same equation.

All three start from the same noise and end at the same noise level, so that with enough steps they agree. Noise
belongs to (seed, clip, frame): a clip's result does not depend on its batch mates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from syncdiff_bench.errors import UsageError
from syncdiff_methods.syncdiff.config import DiffusionConfig

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

    Scheduler: TypeAlias = DDIMScheduler | DPMSolverMultistepScheduler | UniPCMultistepScheduler

FAST_STEPS = 20  # of DPM-Solver++ and UniPC where no number is given
# Beyond, neighbouring steps of the fast solvers fall on the same training timestep.
MOST_FAST_STEPS = 100


def build_scheduler(config: DiffusionConfig) -> DDIMScheduler:
    """DDIM with CompVis' schedule and end points (docs/spec/ldm.md#ddim)."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        config.train_steps,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
        **_schedule(config),
    )


def build_sampler(config: DiffusionConfig) -> Scheduler:
    """The scheduler that `config.sampler` names, for `denoise`. Raises UsageError as `check_sampler`.

    DPM-Solver++ (Lu et al. 2022) and UniPC (Zhao et al. 2023), second order, in steps that are even in log-SNR; evenly
    spaced timesteps would spend them where the noise is high and end several times further from the limit.
    """
    check_sampler(config)
    if config.sampler == "ddim":
        return build_scheduler(config)
    import diffusers

    kinds = {"dpmsolver++": diffusers.DPMSolverMultistepScheduler, "unipc": diffusers.UniPCMultistepScheduler}
    return kinds[config.sampler](
        config.train_steps, use_exponential_sigmas=True, final_sigmas_type="sigma_min", **_schedule(config)
    )


def _schedule(config: DiffusionConfig) -> dict[str, Any]:
    return {
        "beta_start": config.beta_start,
        "beta_end": config.beta_end,
        "beta_schedule": "scaled_linear",
        "prediction_type": config.prediction,
    }


def check_sampler(config: DiffusionConfig) -> None:
    """Raise UsageError for steps or an eta that the sampler cannot do."""
    if config.sampler == "ddim":
        check_steps(config.steps, config.train_steps)
        return
    if not 2 <= config.steps <= MOST_FAST_STEPS:
        raise UsageError(
            f"steps={config.steps} is not possible with sampler={config.sampler}; give 2 to {MOST_FAST_STEPS}"
            f" (10 to 25 are its purpose), or sampler=ddim"
        )
    if config.eta != 0:
        raise UsageError(f"eta={config.eta} is for sampler=ddim; sampler={config.sampler} adds no noise, leave eta out")


def check_steps(steps: int, train_steps: int = 1000) -> None:
    """Raise UsageError unless `steps` divides the training steps: with other counts DDIM silently starts too low."""
    allowed = [n for n in range(1, train_steps // 2 + 1) if train_steps % n == 0]
    if steps not in allowed:
        near = sorted(allowed, key=lambda n: abs(n - steps))[:2]
        raise UsageError(
            f"steps={steps} does not divide {train_steps}, so DDIM would start too low; use {near[0]} or {near[1]}"
        )


class FrameNoise:
    """Standard normal noise of one frame of one clip, the same on every device and in every batch."""

    def __init__(self, seed: int, clip_id: str, frame: int) -> None:
        digest = hashlib.sha256(f"{seed}/{clip_id}/{frame}".encode()).digest()
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)

    def draw(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), generator=self._generator)


def denoise(
    predict: Callable[[Tensor, Tensor], Tensor],
    scheduler: Scheduler,
    noise: Sequence[FrameNoise],
    shape: Sequence[int],
    *,
    steps: int,
    eta: float = 0.0,
    device: torch.device,
) -> Tensor:
    """Denoise one latent per noise source with `steps` calls of `predict`: (B, 3, h, w), B = len(noise).

    predict(noisy (B, 3, h, w), timestep ()) -> (B, 3, h, w) float32, of the kind that `scheduler` was built for.
    eta: DDIM's; 1 is as random as DDPM (Song et al., "Denoising diffusion implicit models", 2021).
    """
    is_ddim = type(scheduler).__name__ == "DDIMScheduler"
    # The last interval of the fast solvers' grid is empty: it begins and ends at the smallest noise of the schedule.
    scheduler.set_timesteps(steps if is_ddim else steps + 1)
    if not is_ddim:
        scheduler.set_begin_index(0)
    # Schedulers look their tables up on the CPU: a timestep on the GPU would make every step wait for it.
    timesteps = scheduler.timesteps[:steps]
    latents = _drawn(noise, shape).to(device)
    for timestep, on_device in zip(timesteps, timesteps.to(device), strict=True):
        prediction = predict(latents, on_device)
        random = {"eta": eta, "variance_noise": _drawn(noise, shape).to(device)} if eta > 0 else {}
        latents = scheduler.step(prediction, timestep, latents, **random).prev_sample
    return latents


def _drawn(noise: Sequence[FrameNoise], shape: Sequence[int]) -> Tensor:
    return torch.stack([source.draw(shape) for source in noise])
