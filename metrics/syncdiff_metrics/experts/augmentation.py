"""What a face may look like without saying anything else: mirrored, shifted, lit differently. One draw per clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """shift: largest translation in pixels, in both directions; contrast: largest change of the factor on grey
    levels; brightness: largest added grey level; mirror: whether half of the clips are mirrored.
    """

    shift: int = 4
    contrast: float = 0.25
    brightness: float = 25.0
    mirror: bool = True


def augmented(frames: NDArray[np.uint8], settings: Augmentation, rng: np.random.Generator) -> Tensor:
    """One clip, changed the same way in all of its frames: (T, H, W) or (T, H, W, 3) uint8 -> the same, float32 0..255.

    What a shift uncovers repeats the edge.
    """
    rows, columns = (_shifted(size, settings.shift, rng) for size in frames.shape[1:3])
    if settings.mirror and rng.random() < 0.5:
        columns = columns[::-1]
    factor = 1 + rng.uniform(-settings.contrast, settings.contrast)
    added = rng.uniform(-settings.brightness, settings.brightness)
    moved = torch.from_numpy(frames[:, rows][:, :, columns].copy()).float()
    return ((moved - 128) * factor + 128 + added).clamp_(0, 255)


def _shifted(size: int, most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    moved: NDArray[np.intp] = np.clip(np.arange(size) + rng.integers(-most, most + 1), 0, size - 1)
    return moved
