"""Masks: the lower half of the face box (paper 4.2), or all below the nose (docs/spec/syncdiff.md#inputs)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from syncdiff_bench.arrays import writable
from syncdiff_bench.clips import Clip, landmarks_of
from syncdiff_methods.syncdiff.config import ConditionConfig, MaskBoxes

NOSE_BASE = 33  # of the 68 landmarks
REACH = 12  # frames, half a second to either side: several syllables


def clip_mask(clip: Clip, condition: ConditionConfig, size: int) -> Tensor:
    """(T, size, size) bool of a clip's frames resized to a square of `size`: True where a pixel is masked.

    Raises ClipError where the mask needs landmarks and there are none.
    """
    frame_hw = clip.frames.shape[1], clip.frames.shape[2]
    if condition.mask_mode == "nose_to_bottom":
        return torch.from_numpy(below_nose(scaled(landmarks_of(clip), frame_hw, size), size))
    halves = lower_halves(torch.from_numpy(writable(clip.face_boxes.boxes)), frame_hw, size, condition.mask_pad)
    return filled(steadied(halves, condition.mask_boxes), size)


def cell_area(mask: Tensor, side: int) -> Tensor:
    """How much of each latent cell is masked: (T, S, S) bool -> (T, side, side) float32 in 0..1."""
    return F.adaptive_avg_pool2d(mask.float()[:, None], side)[:, 0]


def lower_half_mask(boxes: Tensor, frame_hw: tuple[int, int], size: int, pad: int = 0) -> Tensor:
    """(T, size, size) bool, True where a pixel is masked: rows floor((y1 + y2) / 2) .. y2, columns x1 .. x2.

    The arguments are those of `lower_halves`.
    """
    return filled(lower_halves(boxes, frame_hw, size, pad), size)


def lower_halves(boxes: Tensor, frame_hw: tuple[int, int], size: int, pad: int = 0) -> Tensor:
    """The lower half of each box in the resized frame, (T, 4) float32 x1, top, x2, bottom.

    boxes: (T, 4) integer x1 y1 x2 y2 in pixels of frames of (height, width) `frame_hw`.
    size: side of the resized square frame; boxes are scaled to it with their aspect.
    pad: pixels of a 256-pixel frame by which the mask reaches below the box (scaled with `size`).
    """
    height, width = frame_hw
    scale = torch.tensor([size / width, size / height, size / width, size / height])
    x1, y1, x2, y2 = (boxes.float() * scale).unbind(dim=1)
    return torch.stack([x1, (y1 + y2) / 2, x2, y2 + pad * size / 256], dim=1)


def steadied(areas: Tensor, how: MaskBoxes) -> Tensor:
    """Areas (T, 4) x1, top, x2, bottom that tell less of the jaw, each of which still holds what it held.

    frame: as they are. smoothed: every side at its outermost within REACH frames, then its mean over as many. clip: one
    area for the whole clip, which holds all of them.
    """
    if how == "frame":
        return areas
    outward = torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    sides = areas.double() * outward
    if how == "clip":
        steady = sides.amax(dim=0, keepdim=True).expand_as(sides)
    else:
        near = [slice(max(0, t - REACH), t + REACH + 1) for t in range(len(sides))]
        outermost = torch.stack([sides[frames].amax(dim=0) for frames in near])
        steady = torch.stack([outermost[frames].mean(dim=0) for frames in near]).maximum(sides)
    return (steady * outward).to(areas.dtype)


def filled(areas: Tensor, size: int) -> Tensor:
    """(T, size, size) bool, True inside the areas (T, 4) x1, top, x2, bottom."""
    x1, top, x2, bottom = areas.unbind(dim=1)
    grid = torch.arange(size)
    rows = (grid >= torch.floor(top)[:, None]) & (grid < bottom[:, None])
    columns = (grid >= torch.floor(x1)[:, None]) & (grid < x2[:, None])
    return rows[:, :, None] & columns[:, None, :]


def below_nose(landmarks: NDArray[np.float32], size: int) -> NDArray[np.bool_]:
    """True where a pixel is masked: every row from the base of the nose down, over the full width.

    landmarks: (T, 68, 2) in pixels of the resized frame. Returns (T, size, size).
    """
    top = landmarks[:, NOSE_BASE, 1].astype(int)
    rows = np.arange(size)[None] >= top[:, None]
    return np.repeat(rows[:, :, None], size, axis=2)


def scaled(landmarks: NDArray[np.float32], frame_hw: tuple[int, int], size: int) -> NDArray[np.float32]:
    """Landmarks of frames of (height, width), in pixels of the frame resized to a square of `size`."""
    height, width = frame_hw
    return landmarks * np.array([size / width, size / height], np.float32)


def apply_mask(images: Tensor, mask: Tensor) -> Tensor:
    """(B, 3, S, S) in [-1, 1] with the pixels of (B, S, S) bool `mask` set to black (-1)."""
    return images.masked_fill(mask[:, None], -1.0)
