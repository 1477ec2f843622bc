"""Pictures of a training: a few frames of held-out clips as the model generates them, the true ones above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncdiff_methods.syncdiff.autoencoder import to_frames, to_images
from syncdiff_methods.syncdiff.latents import ClipLatents
from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_methods.syncdiff.sampling import ClipConditions, generate_in_lock_step

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Dataset

CLIPS = 4
FRAMES = 6


def preview(model: SyncDiffModel, dataset: Dataset, clips: Sequence[ClipLatents], device: str) -> NDArray[Any]:
    """(rows, columns, 3) uint8 RGB: per clip a row of true frames and a row of generated ones.

    The frames are consecutive, from the middle of a clip; what stands before them is taken for the given first frame.
    model: in eval mode, on `device`.
    """
    chosen = clips[:: max(1, len(clips) // CLIPS)][:CLIPS]
    truths, conditions = [], []
    for clip in chosen:
        start = max(0, (len(clip) - FRAMES) // 2)
        shown = slice(start, start + FRAMES)
        truth = to_images(torch.from_numpy(dataset.clip(clip.clip_id).frames[shown].copy()), model.config.frame_size)
        truths.append(truth)
        conditions.append(_conditions(model, clip, shown, truth[0], device))

    made = [torch.zeros_like(truth) for truth in truths]

    def keep(index: int, t: int, image: Tensor) -> None:
        made[index][t] = image.cpu()

    generate_in_lock_step(model, conditions, seed=0, on_frame=keep)
    return np.concatenate([_row(images) for pair in zip(truths, made, strict=True) for images in pair])


@torch.no_grad()
def _conditions(
    model: SyncDiffModel, clip: ClipLatents, shown: slice, first_image: Tensor, device: str
) -> ClipConditions:
    tokens = model.audio.tokens(model.audio.encode(clip.audio[None].to(device)))[0, shown]
    return ClipConditions(
        clip.clip_id,
        clip.masked[shown].float().to(device),
        clip.clean[max(0, shown.start - 1)].float().to(device),
        tokens,
        first_image.to(device),
    )


def _row(images: Tensor) -> NDArray[Any]:
    """(n, 3, S, S) images side by side, (S, FRAMES S, 3); black where a clip is shorter."""
    size = images.shape[-1]
    row = np.zeros((size, FRAMES * size, 3), np.uint8)
    frames = to_frames(images, size, size).numpy()
    for i, frame in enumerate(frames):
        row[:, i * size : (i + 1) * size] = frame
    return row
