"""Faces out of frames, and back into them (docs/spec/wav2lip.md#boxes)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Boxes, Frames
from syncdiff_bench.faces.boxes import refuse_empty
from syncdiff_bench.media.bilinear import FACE_SIZE, resize_linear

Faces = NDArray[np.uint8]
SPAN = 5  # boxes in the moving average


@dataclass(frozen=True)
class BoxConfig:
    """From detected boxes to crops (docs/spec/wav2lip.md#boxes); the defaults are those of the official `inference.py`.

    pads: pixels added to each box at its top, bottom, left and right, cut at the border of the frame.
    smooth: mean over 5 boxes in a row.
    """

    pads: tuple[int, int, int, int] = (0, 10, 0, 0)
    smooth: bool = True


def face_areas(boxes: Boxes, frame_hw: tuple[int, int], config: BoxConfig) -> Boxes:
    """The padded, smoothed boxes that Wav2Lip cuts out, (T, 4) int32 inside the frame.

    boxes: (T, 4) integer x1 y1 x2 y2 of a detector. frame_hw: height and width of the frames.
    Raises ClipError (`boxes`) where nothing of a box is inside the frame.
    """
    top, bottom, left, right = config.pads
    grown = boxes.astype(np.int64) + np.array([-left, -top, right, bottom])
    cut = inside(grown, frame_hw)
    return smoothed(cut) if config.smooth else cut


def smoothed(boxes: Boxes) -> Boxes:
    """The official moving average over 5 boxes, quirks included.

    It runs forward and in place over whole numbers: box i becomes the mean of boxes i .. i + 4, fractions cut off, and
    a box of the tail becomes the mean of the last five, some of which are averages already. With n < 5 boxes the slice
    `boxes[n - 5:]` counts from the end, so the mean is over the last min(n, 5 - n).

    >>> smoothed(np.array([10, 12, 14, 16, 18, 20], np.int32)).tolist()
    [14, 16, 16, 17, 17, 17]
    """
    result = boxes.copy()
    n = len(result)
    for i in range(n):
        window = result[n - SPAN :] if i + SPAN > n else result[i : i + SPAN]
        result[i] = window.mean(axis=0)
    return result


def inside(boxes: NDArray[np.integer[Any]], frame_hw: tuple[int, int]) -> Boxes:
    """Boxes cut at the border of the frame. Raises ClipError (`boxes`) where nothing is left of one."""
    refuse_empty(boxes, frame_hw)
    height, width = frame_hw
    cut: Boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.int32)
    return cut


def network_input(faces: Faces, references: Faces) -> NDArray[np.float32]:
    """(N, 6, 96, 96) float32 in 0..1, BGR: each face without its lower half, then its reference.

    faces, references: (N, 96, 96, 3) uint8 BGR.
    """
    stacked = np.concatenate([faces, references], axis=3).astype(np.float32) / 255
    stacked[:, FACE_SIZE // 2 :, :, :3] = 0
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))


def paste(frame: Frames, face: Faces, area: Boxes) -> None:
    """Put a generated (96, 96, 3) uint8 BGR face over its (4,) area of a (H, W, 3) RGB frame, with a hard edge."""
    x1, y1, x2, y2 = area
    frame[y1:y2, x1:x2] = resize_linear(face, y2 - y1, x2 - x1)[..., ::-1]
