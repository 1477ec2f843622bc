"""`cv2.resize` with its default INTER_LINEAR on 8-bit frames, to the bit and without OpenCV.

The official scripts resize with OpenCV, whose fixed-point rounding is part of their numbers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import Boxes, Frames

FACE_SIZE = 96  # pixels of a face that image metrics, Wav2Lip and TalkLip look at
_ONE = 2048  # OpenCV's weights have 11 fractional bits


def resize_linear(frame: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(height, width, C) uint8 of (H, W, C) uint8; the aspect ratio is not kept, no antialiasing.

    Quirk: halving both sides exactly is a mean of 2 x 2 pixels, because OpenCV goes over to INTER_AREA there
    (which bilinear interpolation equals but for rounding).
    """
    if frame.shape[:2] == (height, width):
        return frame
    if frame.shape[:2] == (2 * height, 2 * width):
        quarters = frame.reshape(height, 2, width, 2, -1).astype(np.int32).sum(axis=(1, 3))
        return np.asarray((quarters + 2) >> 2, dtype=np.uint8)
    columns, next_columns, across = _columns(frame.shape[1], width, frame.shape[2])
    rows, next_rows, down = _taps(frame.shape[0], height)
    flat = frame.reshape(len(frame), -1)
    wide = flat.take(columns, axis=1).astype(np.int32)
    slope = flat.take(next_columns, axis=1).astype(np.int32)
    slope -= wide
    slope *= across
    wide *= _ONE
    wide += slope
    # OpenCV drops 4 bits before the second product, 16 after it and 2 after the sum, and rounds only there
    wide >>= 4
    mixed = _product(wide.take(rows, axis=0), _ONE - down)
    mixed += _product(wide.take(next_rows, axis=0), down)
    mixed += 2
    mixed >>= 2
    return mixed.astype(np.uint8).reshape(height, width, -1)


def cut_faces(frames: Frames, boxes: Boxes) -> Frames:
    """(T, 96, 96, 3) uint8: `frame[y1:y2, x1:x2]` of frames (T, H, W, 3), resized as OpenCV does."""
    faces = np.empty((len(frames), FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
    for face, frame, (x1, y1, x2, y2) in zip(faces, frames, boxes, strict=True):
        face[:] = resize_linear(frame[y1:y2, x1:x2], FACE_SIZE, FACE_SIZE)
    return faces


def _product(rows: NDArray[np.int32], weights: NDArray[np.int32]) -> NDArray[np.int32]:
    rows *= weights[:, None]
    rows >>= 16
    return rows


# a clip resizes all its frames alike
@lru_cache(maxsize=128)
def _columns(source: int, target: int, channels: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int32]]:
    """`_taps` of a row in which the channels of a pixel lie side by side."""
    first, second, weight = _taps(source, target)
    channel = np.arange(channels)
    flat, next_flat = ((pixels[:, None] * channels + channel).ravel() for pixels in (first, second))
    return flat, next_flat, np.repeat(weight, channels)


@lru_cache(maxsize=128)
def _taps(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int32]]:
    """For each target pixel its two source pixels and the weight of the second, in units of 1 / 2048."""
    position = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    floor = np.floor(position)
    weight = np.rint((position - floor) * _ONE).astype(np.int32)
    first, second = (np.clip(floor + step, 0, source - 1).astype(np.intp) for step in (0, 1))
    return first, second, weight
