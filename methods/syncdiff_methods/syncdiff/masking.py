"""Masks: the lower half of the face box (paper 4.2), or all below the nose (docs/spec/syncdiff.md#inputs)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncdiff_bench.clips import Clip, landmarks_of
from syncdiff_methods.syncdiff.config import ConditionConfig

NOSE_BASE = 33  # of the 68 landmarks


def clip_mask(clip: Clip, condition: ConditionConfig, size: int) -> Tensor:
    """(T, size, size) bool of a clip's frames resized to a square of `size`: True where a pixel is masked.

    Raises ClipError where the mask needs landmarks and there are none.
    """
    frame_hw = clip.frames.shape[1], clip.frames.shape[2]
    if condition.mask_mode == "nose_to_bottom":
        return torch.from_numpy(below_nose(scaled(landmarks_of(clip), frame_hw, size), size))
    return lower_half_mask(torch.from_numpy(clip.face_boxes.boxes), frame_hw, size, condition.mask_pad)


def lower_half_mask(boxes: Tensor, frame_hw: tuple[int, int], size: int, pad: int = 0) -> Tensor:
    """True where a pixel is masked.

    boxes: (T, 4) integer x1 y1 x2 y2 in pixels of frames of (height, width) `frame_hw`.
    size: side of the resized square frame; boxes are scaled to it with their aspect.
    pad: pixels of a 256-pixel frame by which the mask reaches below the box (scaled with `size`).
    Returns (T, size, size) bool: rows floor((y1 + y2) / 2) .. y2, columns x1 .. x2.
    """
    height, width = frame_hw
    scale = torch.tensor([size / width, size / height, size / width, size / height])
    x1, y1, x2, y2 = (boxes.float() * scale).unbind(dim=1)
    top = torch.floor((y1 + y2) / 2)
    bottom = y2 + pad * size / 256
    grid = torch.arange(size)
    rows = (grid >= top[:, None]) & (grid < bottom[:, None])
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
