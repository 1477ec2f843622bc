"""The loop over frames: frame t of N clips together, as in SyncDiff, with DiffTalk's reference and blending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from syncdiff_methods.difftalk.model import DiffTalkModel
from syncdiff_methods.difftalk.sampling import blended_ddim
from syncdiff_methods.syncdiff.one_token import one_token_attention
from syncdiff_methods.syncdiff.samplers import FrameNoise, build_scheduler, denoise

Reference = Literal["previous", "first", "same"]


@dataclass(frozen=True, eq=False)
class ClipInputs:
    """What is known of a clip before its first frame is generated. h = w = latent size.

    masked: (T, 3, h, w) latents of the blanked frames; known: (T, 3, h, w) latents that blending keeps, None without
    blending; keep: (T, 1, h, w) in 0..1; reference: (3, h, w) latent of the first frame, or (T, 3, h, w) of all;
    tokens: (T, 128).
    """

    clip_id: str
    masked: Tensor
    known: Tensor | None
    keep: Tensor
    reference: Tensor
    tokens: Tensor

    def __len__(self) -> int:
        return len(self.masked)


@torch.inference_mode()
def generate_frames(
    model: DiffTalkModel,
    clips: Sequence[ClipInputs],
    *,
    seed: int,
    reference: Reference,
    on_frame: Callable[[int, int, Tensor], None],
    progress: Callable[[int], None],
) -> None:
    """Generate all frames of all clips; clips may differ in length.

    reference: the previous generated frame (the first given one at t = 0), the first given frame, or the frame itself.
    on_frame(index of the clip, t, image (3, S, S) in [-1, 1]) receives every finished frame.
    """
    previous = [clip.reference for clip in clips]
    with one_token_attention(model.denoiser) as attention_outputs:
        for t in range(max(len(clip) for clip in clips)):
            alive = [i for i, clip in enumerate(clips) if t < len(clip)]
            frames = [clips[i].reference[t] if reference == "same" else previous[i] for i in alive]
            latents = _sample(model, [clips[i] for i in alive], t, torch.stack(frames), seed, attention_outputs)
            images = model.autoencoder.decode(latents).clamp(-1, 1)
            encoded = model.autoencoder.encode(images) if reference == "previous" else None
            for row, i in enumerate(alive):
                on_frame(i, t, images[row])
                if encoded is not None:
                    previous[i] = encoded[row]
            progress(len(alive))


def _sample(
    model: DiffTalkModel,
    clips: Sequence[ClipInputs],
    t: int,
    reference: Tensor,
    seed: int,
    attention_outputs: Callable[[Tensor], Tensor],
) -> Tensor:
    diffusion = model.config.diffusion
    scheduler = build_scheduler(diffusion)
    masked = torch.stack([clip.masked[t] for clip in clips])
    context = attention_outputs(torch.stack([clip.tokens[t] for clip in clips]))
    noise = [FrameNoise(seed, clip.clip_id, t) for clip in clips]

    def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
        return model.predict(noisy, timestep, masked, reference, context)

    if clips[0].known is None:
        shape, device = masked.shape[1:], masked.device
        return denoise(predict, scheduler, noise, shape, steps=diffusion.steps, eta=diffusion.eta, device=device)
    known = torch.stack([clip.known[t] for clip in clips if clip.known is not None])
    keep = torch.stack([clip.keep[t] for clip in clips])
    return blended_ddim(predict, scheduler, noise, known, keep, steps=diffusion.steps, eta=diffusion.eta)
