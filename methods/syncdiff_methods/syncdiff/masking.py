"""What the network is not shown: the lower half of the face box (paper 4.2; methods.md C.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def lower_half_mask(boxes: Tensor, frame_hw: tuple[int, int], size: int, pad: int = 0) -> Tensor:
    """True where a pixel is blanked.

    boxes: (T, 4) integer x1 y1 x2 y2 in pixels of frames of (height, width) `frame_hw`.
    size: side of the resized square frame; boxes are scaled to it with their aspect.
    pad: pixels of a 256-pixel frame by which the area reaches below the box (scaled with `size`).
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


def blank(images: Tensor, mask: Tensor) -> Tensor:
    """(B, 3, S, S) in [-1, 1] with the pixels of (B, S, S) bool `mask` set to black (-1)."""
    return images.masked_fill(mask[:, None], -1.0)
