"""Where a video is cut: the content detector of PySceneDetect 0.5.1, which syncnet_python pins, with its defaults."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Frames

THRESHOLD = 30.0  # mean change of hue, saturation and value, in 8-bit levels
MIN_SCENE = 15  # frames between two cuts
# width from which on every n-th pixel is looked at
_STEPS = ((3200, 12), (2100, 8), (1700, 6), (1200, 5), (900, 4), (600, 3), (400, 2))


def scenes(frames: Frames) -> tuple[tuple[int, int], ...]:
    """(first, after the last) frame of every scene; one scene for a video without cuts.

    frames: (T, H, W, 3) uint8 RGB.
    """
    cuts: list[int] = []
    for t, change in enumerate(content_changes(frames), start=1):
        if change >= THRESHOLD and (not cuts or t - cuts[-1] >= MIN_SCENE):
            cuts.append(t)
    return tuple(zip([0, *cuts], [*cuts, len(frames)], strict=True))


def content_changes(frames: Frames) -> list[float]:
    """T - 1 values: mean absolute change from frame to frame over all pixels and over hue, saturation and value."""
    step = next((step for width, step in _STEPS if frames.shape[2] >= width), 1)
    changes, before = [], None
    for frame in frames:
        now = hue_saturation_value(frame[::step, ::step])
        if before is not None:
            changes.append(float(np.abs(now - before).mean()))
        before = now
    return changes


def hue_saturation_value(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(H, W, 3) int32 as OpenCV's COLOR_BGR2HSV has them in 8 bits: hue 0..179 in steps of 2 degrees, the rest 0..255.

    OpenCV multiplies by rounded reciprocals of 12 fractional bits, and so does this.
    """
    red, green, blue = np.moveaxis(rgb.astype(np.int32), -1, 0)
    value = np.maximum(np.maximum(red, green), blue)
    spread = value - np.minimum(np.minimum(red, green), blue)
    turn = np.where(
        value == red,
        green - blue,
        np.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (turn * _reciprocals(180 / 6)[spread] + (1 << 11)) >> 12
    saturation = (spread * _reciprocals(255)[value] + (1 << 11)) >> 12
    return np.stack([np.where(hue < 0, hue + 180, hue), saturation, value], axis=-1)


def _reciprocals(scale: float) -> NDArray[np.int32]:
    """`scale / n` for n = 0..255 with 12 fractional bits; 0 for n = 0."""
    steps = np.arange(1, 256)
    return np.concatenate([[0], np.rint(scale * (1 << 12) / steps)]).astype(np.int32)
