"""`cv2.resize` with its default INTER_LINEAR on 8-bit pictures, to the bit and without OpenCV.

The official scripts resize with OpenCV, whose fixed-point rounding is part of their numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ONE = 2048  # OpenCV's weights have 11 fractional bits


def resize_linear(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(height, width, C) uint8 of (H, W, C) uint8; the aspect ratio is not kept, no antialiasing.

    Quirk: halving both sides exactly is a mean of 2 x 2 pixels, because OpenCV goes over to INTER_AREA there
    (which bilinear interpolation equals but for rounding).
    """
    if picture.shape[:2] == (height, width):
        return picture
    if picture.shape[:2] == (2 * height, 2 * width):
        quarters = picture.reshape(height, 2, width, 2, -1).astype(np.int32).sum(axis=(1, 3))
        return np.asarray((quarters + 2) >> 2, dtype=np.uint8)
    rows, next_rows, row_weights = _taps(picture.shape[0], height)
    columns, next_columns, column_weights = _taps(picture.shape[1], width)
    wide = picture.astype(np.int32)
    a = column_weights[None, :, None]
    across = wide[:, columns] * (_ONE - a) + wide[:, next_columns] * a
    b = row_weights[:, None, None]
    # OpenCV drops 4 bits before the second product, 16 after it and 2 after the sum, and rounds only there
    upper = ((_ONE - b) * (across[rows] >> 4)) >> 16
    lower = (b * (across[next_rows] >> 4)) >> 16
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def _taps(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int32]]:
    """For each target pixel its two source pixels and the weight of the second, in units of 1 / 2048."""
    position = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    floor = np.floor(position)
    weight = np.rint((position - floor) * _ONE).astype(np.int32)
    first, second = (np.clip(floor + step, 0, source - 1).astype(np.intp) for step in (0, 1))
    return first, second, weight
