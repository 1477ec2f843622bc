"""DiffTalk's sampling: DDIM that keeps what is known of the frame (docs/spec/difftalk.md#inference)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import DDIMScheduler


class NoiseSource(Protocol):
    """Standard normal noise of one frame, drawn in the order in which it is needed."""

    def draw(self, shape: Sequence[int]) -> Tensor: ...


def blended_ddim(
    predict: Callable[[Tensor, Tensor], Tensor],
    scheduler: DDIMScheduler,
    noise: Sequence[NoiseSource],
    known: Tensor,
    keep: Tensor,
    *,
    steps: int,
    eta: float = 0.0,
) -> Tensor:
    """Denoise the part of each latent that is not kept: (B, 3, h, w), B = len(noise).

    predict(noisy (B, 3, h, w), timestep ()) -> (B, 3, h, w) noise. known: (B, 3, h, w) clean latents; keep:
    (B, 1, h, w) in 0..1, 1 where they are kept. Before every prediction the kept part is `known`, noised afresh to
    that timestep; the result of the last step is not blended again. Latents near the border of `keep` carry what the
    encoder saw across it (docs/spec/difftalk.md#traps).
    """
    scheduler.set_timesteps(steps, device=known.device)
    shape = known.shape[1:]
    latents = _draw(noise, shape, known)
    for timestep in scheduler.timesteps:
        noised = scheduler.add_noise(known, _draw(noise, shape, known), timestep[None])
        latents = noised * keep + (1 - keep) * latents
        prediction = predict(latents, timestep)
        fresh = _draw(noise, shape, known) if eta > 0 else None
        latents = scheduler.step(prediction, timestep, latents, eta=eta, variance_noise=fresh).prev_sample
    return latents


def _draw(noise: Sequence[NoiseSource], shape: Sequence[int], like: Tensor) -> Tensor:
    return torch.stack([source.draw(shape) for source in noise]).to(like.device)
