"""Sampling: DDIM over the latent of one frame, and the loop over frames, for many clips in lock-step.

The frames of a clip are sequential (frame t needs the generated frame t - 1), so a batch is frame t of N clips. Noise
belongs to (seed, clip, frame): a clip's result does not depend on its batch mates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from syncdiff_bench.errors import UsageError
from syncdiff_methods.syncdiff.config import ConditionConfig, DiffusionConfig, SyncDiffConfig
from syncdiff_methods.syncdiff.model import SyncDiffModel

if TYPE_CHECKING:
    from diffusers import DDIMScheduler


def build_scheduler(config: DiffusionConfig) -> DDIMScheduler:
    """DDIM with CompVis' schedule and end points (methods.md B.5, B.6)."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        config.train_steps,
        beta_start=config.beta_start,
        beta_end=config.beta_end,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type=config.prediction,
    )


def check_steps(steps: int, train_steps: int = 1000) -> None:
    """Raise UsageError unless `steps` divides the training steps: other counts silently start too low."""
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


@dataclass(frozen=True, eq=False)
class ClipConditions:
    """What is known of a clip before its first frame is generated. h = w = latent size.

    masked: (T, 3, h, w) latents of the blanked frames; identity: (3, h, w) latent of the given first frame;
    tokens: (T, dim) audio condition; first_image: (3, S, S) in [-1, 1].
    """

    clip_id: str
    masked: Tensor
    identity: Tensor
    tokens: Tensor
    first_image: Tensor

    def __len__(self) -> int:
        return len(self.masked)


def ddim(
    predict: Callable[[Tensor, Tensor], Tensor],
    scheduler: DDIMScheduler,
    noise: Sequence[FrameNoise],
    shape: Sequence[int],
    *,
    steps: int,
    eta: float,
    device: torch.device,
) -> Tensor:
    """Denoise one latent per noise source: (B, 3, h, w), B = len(noise).

    predict(noisy (B, 3, h, w), timestep ()) -> (B, 3, h, w), of the kind that `scheduler` was built for.

    Source: Song et al., "Denoising diffusion implicit models", 2021; end points as CompVis' sampler.
    """
    scheduler.set_timesteps(steps, device=device)
    latents = torch.stack([source.draw(shape) for source in noise]).to(device)
    for timestep in scheduler.timesteps:
        prediction = predict(latents, timestep)
        fresh = torch.stack([source.draw(shape) for source in noise]).to(device) if eta > 0 else None
        latents = scheduler.step(prediction, timestep, latents, eta=eta, variance_noise=fresh).prev_sample
    return latents


@torch.inference_mode()
def generate_in_lock_step(
    model: SyncDiffModel,
    clips: Sequence[ClipConditions],
    *,
    seed: int,
    on_frame: Callable[[int, int, Tensor], None],
    progress: Callable[[int], None] = lambda _frames: None,
) -> None:
    """Generate all frames of all clips; clips may differ in length.

    on_frame(index of the clip, t, image (3, S, S) in [-1, 1]) receives every finished frame. progress gets the number
    of frames finished since its last call.
    """
    config: SyncDiffConfig = model.config
    device = clips[0].masked.device
    scheduler = build_scheduler(config.diffusion)
    check_steps(config.diffusion.steps, config.diffusion.train_steps)
    # The last `previous_frames` latents of each clip, nearest first; before frame 0 the given first frame stands in.
    history = [[clip.identity] * config.condition.previous_frames for clip in clips]

    for t in range(max(len(clip) for clip in clips)):
        alive = [i for i, clip in enumerate(clips) if t < len(clip)]
        if t == 0 and config.first_frame == "copy":
            images = torch.stack([clips[i].first_image for i in alive])
            latents = torch.stack([clips[i].identity for i in alive])
        else:
            latents = _sample_frame(model, scheduler, clips, alive, history, t, seed, device)
            images = model.autoencoder.decode(latents).clamp(-1, 1)
        feedback = model.autoencoder.encode(images) if config.feedback == "pixel" else latents
        for row, i in enumerate(alive):
            history[i] = [feedback[row], *history[i][:-1]]
            on_frame(i, t, images[row])
        progress(len(alive))


def _previous_frames(condition: ConditionConfig, history: Sequence[Sequence[Tensor]], given: Tensor) -> list[Tensor]:
    """NP latents (B, 3, h, w), nearest first; none for the RND variants."""
    if condition.previous == "none":
        return []
    if condition.previous_at_test == "given":
        return [given] * condition.previous_frames
    return [torch.stack([latents[k] for latents in history]) for k in range(condition.previous_frames)]


def _sample_frame(
    model: SyncDiffModel,
    scheduler: DDIMScheduler,
    clips: Sequence[ClipConditions],
    alive: Sequence[int],
    history: Sequence[Sequence[Tensor]],
    t: int,
    seed: int,
    device: torch.device,
) -> Tensor:
    config = model.config
    masked = torch.stack([clips[i].masked[t] for i in alive])
    tokens = torch.stack([clips[i].tokens[t] for i in alive])
    nearest = torch.stack([history[i][0] for i in alive])
    given = torch.stack([clips[i].identity for i in alive])
    identity = nearest if config.condition.identity_at_test == "previous" else given
    previous = _previous_frames(config.condition, [history[i] for i in alive], given)
    visual = model.denoiser.visual_condition(masked, identity, previous)
    frame_of_noise = 0 if config.noise == "shared" else t
    return ddim(
        lambda noisy, timestep: model.denoiser(noisy, timestep, visual, tokens),
        scheduler,
        [FrameNoise(seed, clips[i].clip_id, frame_of_noise) for i in alive],
        masked.shape[1:],
        steps=config.diffusion.steps,
        eta=config.diffusion.eta,
        device=device,
    )
