"""Sampling: the loop over the frames of many clips in lock-step.

The frames of a clip are sequential (frame t needs the generated frame t - 1), so a batch is frame t of N clips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from syncdiff_methods.syncdiff.config import ConditionConfig, SyncDiffConfig
from syncdiff_methods.syncdiff.denoiser import Denoiser
from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_methods.syncdiff.one_token import one_token_attention
from syncdiff_methods.syncdiff.samplers import FrameNoise, build_sampler, denoise

# Blanked frames of a clip that the autoencoder encodes at once.
ENCODED_TOGETHER = 16


@dataclass(frozen=True, eq=False)
class ClipConditions:
    """What is known of a clip before its first frame is generated. h = w = latent size.

    masked: (T, 3, h, w) latents of the blanked frames; identity: (3, h, w) latent of the given first frame;
    tokens: (T, dim) audio condition; first_image: (3, S, S) in [-1, 1]. All float32.
    """

    clip_id: str
    masked: Tensor
    identity: Tensor
    tokens: Tensor
    first_image: Tensor

    def __len__(self) -> int:
        return len(self.masked)


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
    of frames finished since its last call. Raises UsageError for steps that the sampler cannot do.
    """
    config: SyncDiffConfig = model.config
    scheduler = build_sampler(config.diffusion)
    # The last `previous_frames` latents of each clip, nearest first; before frame 0 the given first frame stands in.
    history = [[clip.identity] * config.condition.previous_frames for clip in clips]

    with one_token_attention(model.denoiser.unet) as attention_outputs:
        for t in range(max(len(clip) for clip in clips)):
            alive = [i for i, clip in enumerate(clips) if t < len(clip)]
            if t == 0 and config.first_frame == "copy":
                images = torch.stack([clips[i].first_image for i in alive])
                latents = torch.stack([clips[i].identity for i in alive])
            else:
                visual, tokens = _conditions(model, clips, alive, history, t)
                frame_of_noise = 0 if config.noise == "shared" else t
                latents = denoise(
                    _predictor(model.denoiser, visual, attention_outputs(tokens)),
                    scheduler,
                    [FrameNoise(seed, clips[i].clip_id, frame_of_noise) for i in alive],
                    clips[0].identity.shape,
                    steps=config.diffusion.steps,
                    eta=config.diffusion.eta,
                    device=visual.device,
                )
                images = model.autoencoder.decode(latents).clamp(-1, 1)
            for row, i in enumerate(alive):
                on_frame(i, t, images[row])
            going_on = [row for row, i in enumerate(alive) if t + 1 < len(clips[i])]
            if going_on and reads_generated(config):
                feedback = (
                    model.autoencoder.encode(images[going_on]) if config.feedback == "pixel" else latents[going_on]
                )
                for latent, row in zip(feedback, going_on, strict=True):
                    history[alive[row]] = [latent, *history[alive[row]][:-1]]
            progress(len(alive))


def reads_generated(config: SyncDiffConfig) -> bool:
    """Whether any condition of a frame is a generated frame; where none is, nothing needs encoding again."""
    condition = config.condition
    previous = condition.previous != "none" and condition.previous_at_test == "generated"
    return previous or (condition.identity and condition.identity_at_test == "previous")


def _predictor(denoiser: Denoiser, visual: Tensor, context: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The UNet of one frame, in the number format of its weights; latents stay in float32."""
    dtype = denoiser.unet.dtype
    visual = visual.to(dtype)
    return lambda noisy, timestep: denoiser(noisy.to(dtype), timestep, visual, context).float()


def _conditions(
    model: SyncDiffModel,
    clips: Sequence[ClipConditions],
    alive: Sequence[int],
    history: Sequence[Sequence[Tensor]],
    t: int,
) -> tuple[Tensor, Tensor]:
    """Frame t of the living clips: (B, channels - 3, h, w) visual condition, (B, dim) tokens as the UNet counts."""
    config = model.config.condition
    masked = torch.stack([clips[i].masked[t] for i in alive])
    tokens = torch.stack([clips[i].tokens[t] for i in alive])
    nearest = torch.stack([history[i][0] for i in alive])
    given = torch.stack([clips[i].identity for i in alive])
    identity = nearest if config.identity_at_test == "previous" else given
    previous = _previous_frames(config, [history[i] for i in alive], given)
    return model.denoiser.visual_condition(masked, identity, previous), tokens.to(model.denoiser.unet.dtype)


def _previous_frames(condition: ConditionConfig, history: Sequence[Sequence[Tensor]], given: Tensor) -> list[Tensor]:
    """NP latents (B, 3, h, w), nearest first; none for the RND variants."""
    if condition.previous == "none":
        return []
    if condition.previous_at_test == "given":
        return [given] * condition.previous_frames
    return [torch.stack([latents[k] for latents in history]) for k in range(condition.previous_frames)]
