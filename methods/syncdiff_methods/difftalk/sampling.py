"""What DiffTalk reads of a clip, and how it samples: its reference frame, and DDIM that keeps what is known.

Landmarks are (T, 68, 2) float32 x y in the usual order of 68 points (300-W), as `faces.landmarks` gives them
(docs/spec/difftalk.md#data, #inference).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncdiff_bench.arrays import writable
from syncdiff_bench.clips import Clip, landmarks_of
from syncdiff_methods.difftalk.model import DiffTalkModel
from syncdiff_methods.syncdiff.attention import one_token_attention
from syncdiff_methods.syncdiff.audio import around, clip_windows
from syncdiff_methods.syncdiff.masking import NOSE_BASE, apply_mask, below_nose, scaled
from syncdiff_methods.syncdiff.model import to_images
from syncdiff_methods.syncdiff.sampling import (
    FrameNoise,
    NoiseSource,
    Predict,
    build_scheduler,
    denoise,
    drawn,
    encode_chunks,
    frame_by_frame,
    sent,
)

if TYPE_CHECKING:
    from diffusers import DDIMScheduler

Landmarks: TypeAlias = NDArray[np.float32]
Reference = Literal["previous", "first", "same"]
Blend = Literal["truth", "masked", "off"]

KEPT = (*range(4), *range(13, 48))  # the 39 that the network sees: jaw ends, brows, nose, eyes
JAW = range(2, 15)


def kept_cells(landmarks: Landmarks, size: int, latent_size: int) -> NDArray[np.float32]:
    """0 in latent cells inside the polygon of jaw and nose base, 1 elsewhere (the cells that blending keeps).

    landmarks: (T, 68, 2) in pixels of the resized frame. Returns (T, latent_size, latent_size), resized bicubically
    from the full-size mask as 8-bit values, as the released script does.
    """
    from PIL import Image, ImageDraw

    masks = []
    for points in landmarks[:, [*JAW, NOSE_BASE]]:
        image = Image.new("L", (size, size), 1)
        ImageDraw.Draw(image).polygon([(float(x), float(y)) for x, y in points], fill=0)
        masks.append(np.asarray(image.resize((latent_size, latent_size), Image.Resampling.BICUBIC), np.float32))
    return np.stack(masks)


def nearby(windows: Tensor, count: int) -> Tensor:
    """(T, 16, 29) score windows -> (T, count, 16, 29), those of the frames around each."""
    return around(windows.flatten(1)[None], count)[0].reshape(len(windows), count, *windows.shape[1:])


@dataclass(frozen=True, eq=False)
class DiffTalkConditions:
    """What is known of a clip before its first frame is generated. h = w = latent size.

    masked: (T, 3, h, w) latents of the masked frames.
    known: (T, 3, h, w) latents that blending keeps, None without blending.
    keep: (T, 1, h, w) in 0..1.
    reference: (3, h, w) latent of the first frame, or (T, 3, h, w) of all.
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
def clip_conditions(
    model: DiffTalkModel, clip: Clip, landmarks: str, reference: Reference, blend: Blend
) -> DiffTalkConditions:
    """Of one clip, on the model's device. landmarks: their folder, "" for the dataset's own or detected ones.

    Raises ClipError where it has no audio, scores or landmarks.
    """
    config, device, autoencoder = model.config, model.denoiser.device, model.autoencoder
    n, height, width = clip.frames.shape[:3]
    points = scaled(landmarks_of(clip, landmarks), (height, width), config.frame_size)
    windows = nearby(torch.from_numpy(clip_windows(clip, n, config.logits)), config.window)
    tokens = model.conditions(windows.to(device), torch.from_numpy(points[:, KEPT]).to(device))
    images = to_images(torch.from_numpy(writable(clip.frames)).to(device), config.frame_size)
    mask = torch.from_numpy(below_nose(points, config.frame_size)).to(device)
    masked = encode_chunks(autoencoder, apply_mask(images, mask))
    clean = encode_chunks(autoencoder, images) if reference == "same" or blend == "truth" else None
    known = {"truth": clean, "masked": masked, "off": None}[blend]
    shown = clean if reference == "same" and clean is not None else autoencoder.encode(images[:1])[0]
    keep = torch.from_numpy(kept_cells(points, config.frame_size, config.latent_size)[:, None]).to(device)
    return DiffTalkConditions(clip.id, masked, known, keep, shown, tokens)


@torch.inference_mode()
def sample_clips(
    model: DiffTalkModel,
    clips: Sequence[DiffTalkConditions],
    *,
    seed: int,
    reference: Reference,
    on_frame: Callable[[int, int, Tensor], None],
    progress: Callable[[int], None],
) -> None:
    """Generate all frames of all clips, which may differ in length.

    reference: the previous generated frame (the first given one at t = 0), the first given frame, or the frame itself.
    on_frame, progress: as in `frame_by_frame`.
    """
    diffusion = model.config.diffusion
    scheduler = build_scheduler(diffusion)
    history = [[clip.reference] for clip in clips]

    def sample(t: int, alive: list[int]) -> tuple[Tensor, None]:
        chosen = [clips[i] for i in alive]
        shown = torch.stack([clips[i].reference[t] if reference == "same" else history[i][0] for i in alive])
        masked = torch.stack([clip.masked[t] for clip in chosen])
        context = attention_outputs(torch.stack([clip.tokens[t] for clip in chosen]))
        noise = [FrameNoise(seed, clip.clip_id, t) for clip in chosen]
        known = [clip.known[t] for clip in chosen if clip.known is not None]

        def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
            return model.predict(noisy, timestep, masked, shown, context)

        steps, eta = diffusion.steps, diffusion.eta
        if known:
            keep = torch.stack([clip.keep[t] for clip in chosen])
            return blended_ddim(predict, scheduler, noise, torch.stack(known), keep, steps=steps, eta=eta), None
        shape, device = masked.shape[1:], masked.device
        return denoise(predict, scheduler, noise, shape, steps=steps, eta=eta, device=device), None

    feedback: Literal["pixel"] | None = "pixel" if reference == "previous" else None
    lengths = [len(clip) for clip in clips]
    with one_token_attention(model.denoiser) as attention_outputs:
        frame_by_frame(
            model.autoencoder, lengths, history, sample, feedback=feedback, on_frame=on_frame, progress=progress
        )


def blended_ddim(
    predict: Predict,
    scheduler: DDIMScheduler,
    noise: Sequence[NoiseSource],
    known: Tensor,
    keep: Tensor,
    *,
    steps: int,
    eta: float = 0.0,
) -> Tensor:
    """Denoise the part of each latent that is not kept: (B, 3, h, w), B = len(noise).

    predict: (noisy (B, 3, h, w), timestep ()) -> (B, 3, h, w) noise.
    known: (B, 3, h, w) clean latents.
    keep: (B, 1, h, w) in 0..1, 1 where they are kept.

    Before every prediction the kept part is `known`, noised afresh to that timestep; the result of the last step is not
    blended again. Latents near the border of `keep` carry what the encoder saw across it
    (docs/spec/difftalk.md#traps).
    """
    scheduler.set_timesteps(steps)  # on the CPU, as in `denoise`
    shape, device = known.shape[1:], known.device
    drawings = iter(drawn(noise, shape, 1 + steps * (1 + (eta > 0)), device))
    latents = next(drawings)
    for timestep, on_device in zip(scheduler.timesteps, sent(scheduler.timesteps, device), strict=True):
        kept = scheduler.alphas_cumprod[timestep]
        noised = kept**0.5 * known + (1 - kept) ** 0.5 * next(drawings)
        latents = noised * keep + (1 - keep) * latents
        prediction = predict(latents, on_device)
        fresh = next(drawings) if eta > 0 else None
        latents = scheduler.step(prediction, timestep, latents, eta=eta, variance_noise=fresh).prev_sample
    return latents
