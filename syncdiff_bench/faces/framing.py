"""The framing of LRS: square crops around a face that was followed, and the way back into the frame.

LRS2 and LRS3 were cut by SyncNet's pipeline (`run_pipeline.py` of syncnet_python, docs/spec/lse.md#real-videos): a
square 1.4 times as long as the longer side of the detected box, whose top is the top of the box. Pure functions.

A square is (x, y, side) in pixels of the frame, floats, and may reach beyond its border.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import Boxes, Frames
from syncdiff_bench.faces.boxes import CENTRED, CENTRED_FRACTION, jumping_frames

Squares = NDArray[np.float64]
Area = Literal["mouth", "face", "crop"]


class Place(NamedTuple):
    """Where a face lies in the framing of LRS.

    share: of the longer side of its box, in the side of the square. down: the middle of the box, from the top.
    """

    share: float
    down: float


# S3FD's box, which the pipeline itself starts from. dlib's ends at the brows: measured on LRS3 (docs/dub.md).
OF_S3FD = Place(1 / 1.4, 0.5 / 1.4)
OF_DLIB = Place(0.56, 0.38)
S3FD_WIDTH = 0.77  # of the height of its box
LANDMARKS = "landmarks"  # a box around the 68 points, from the brows to the chin as well
OF_CENTRED = Place(CENTRED_FRACTION, 0.5)

# A face this much smaller than in LRS, or a frame this much longer than wide, is in another framing. LRS3, VoxCeleb2
# and pocket lie at 1.0 to 1.4 (docs/spec/syncdiff.md#faces-in-larger-pictures).
SMALLEST, LONGEST = 0.7, 1.1

STEADY_SIZE, STEADY_PLACE = 25, 13  # frames of 25 fps over which a track is smoothed: a person does not grow
FEATHER = 0.12  # of the height of the box, the width of the edge
BELOW = 0.03  # of the height of the box, how far a jaw may open beyond it, and no further than Wav2Lip draws


def place_of(source: str) -> Place:
    """Where faces of boxes of that source (`FaceBoxes.source`) lie in LRS; of unknown ones as of S3FD's."""
    if source.startswith("dlib") or source == LANDMARKS:
        return OF_DLIB
    return OF_CENTRED if source == CENTRED else OF_S3FD


def relative_size(boxes: NDArray[Any], frame_hw: tuple[int, int], source: str) -> float:
    """How large the face is beside one in LRS: the median over frames, of the longer side of the frame.

    >>> relative_size(np.array([[0, 0, 80, 100]]), (140, 140), "s3fd-619a316812")
    1.0
    """
    sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return float(np.median(sides)) / (max(frame_hw) * place_of(source).share)


def is_framed(boxes: NDArray[Any], frame_hw: tuple[int, int], source: str) -> bool:
    """Whether frames of (height, width) show their face about as LRS does."""
    return max(frame_hw) <= LONGEST * min(frame_hw) and relative_size(boxes, frame_hw, source) >= SMALLEST


# ------------------------------------------------------------------------------------------------------------ following


def steadied_boxes(boxes: NDArray[Any], rate: float = 25.0) -> NDArray[np.float64]:
    """(T, 4) boxes without a detector's jitter: middles and sides over time by a median, then a mean.

    rate: boxes per second. Nothing is smoothed across a jump (a cut, another face).
    """
    found = np.asarray(boxes, np.float64)
    edges = [0, *jumping_frames(found), len(found)]  # type: ignore[arg-type]
    return np.concatenate([_steadied(found[a:b], rate) for a, b in pairwise(edges)])


def _steadied(boxes: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    middles, sides = _smooth(middles, STEADY_PLACE, rate), _smooth(sides, STEADY_SIZE, rate)
    return np.concatenate([middles - sides / 2, middles + sides / 2], axis=1)


def _smooth(values: NDArray[np.float64], frames: int, rate: float) -> NDArray[np.float64]:
    """(T, n) by a median and then a mean over so many frames of 25 fps; the ends are held."""
    half = round(frames * rate / 25) // 2
    for of_window in (np.median, np.mean):
        held = np.pad(values, ((half, half), (0, 0)), mode="edge")
        values = of_window(np.lib.stride_tricks.sliding_window_view(held, 2 * half + 1, axis=0), axis=-1)
    return values


def squares_of(boxes: NDArray[Any], source: str) -> Squares:
    """(T, 3): the square of LRS around each (T, 4) box.

    >>> squares_of(np.array([[100, 50, 180, 150]]), "s3fd").round(6).tolist()
    [[70.0, 50.0, 140.0]]
    """
    place = place_of(source)
    sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / place.share
    x = (boxes[:, 0] + boxes[:, 2]) / 2 - sides / 2
    y = (boxes[:, 1] + boxes[:, 3]) / 2 - place.down * sides
    return np.stack([x, y, sides], axis=1)


def as_of_s3fd(boxes: NDArray[Any], source: str) -> NDArray[Any]:
    """(T, 4): boxes of dlib as S3FD, which most methods were trained with, would draw them; others as they are.

    By where either lies in the framing of LRS. Source of the width: two clips of LRS3, 118 x 158 and 121 x 151.
    """
    if place_of(source) != OF_DLIB:
        return boxes
    x, y, side = squares_of(boxes, source).T
    high = OF_S3FD.share * side
    middle, half = x + side / 2, S3FD_WIDTH * high / 2
    return np.stack([middle - half, y, middle + half, y + high], axis=1)


def moved_inside(squares: Squares, frame_hw: tuple[int, int]) -> Squares:
    """The same, moved into the frame where they fit: real picture is better than a repeated border."""
    height, width = frame_hw
    x, y, side = squares.T
    x = np.where(side <= width, np.clip(x, 0, np.maximum(width - side, 0)), (width - side) / 2)
    y = np.where(side <= height, np.clip(y, 0, np.maximum(height - side, 0)), (height - side) / 2)
    return np.stack([x, y, side], axis=1)


def into_squares(points: NDArray[Any], squares: Squares, side: int) -> NDArray[np.float64]:
    """Points of frames, (T, ..., 2) x and y, in pixels of crops of `side`; boxes as (T, 2, 2)."""
    shape = (-1, *(1,) * (points.ndim - 2), 1)
    origin = squares[:, :2].reshape(*shape[:-1], 2)
    moved: NDArray[np.float64] = (points - origin) * (side / squares[:, 2].reshape(shape))
    return moved


def boxes_into(boxes: NDArray[Any], squares: Squares, side: int) -> Boxes:
    """(T, 4) int32: boxes of the frames in crops of `side`, cut at their border, never empty."""
    moved = into_squares(boxes.reshape(-1, 2, 2), squares, side).round()
    low = np.clip(moved[:, 0], 0, side - 2)
    high = np.maximum(np.clip(moved[:, 1], 0, side), low + 2)
    return np.concatenate([low, high], axis=1).astype(np.int32)


# ---------------------------------------------------------------------------------------------------- there and back


def cut(frame: Frames, square: NDArray[np.float64], side: int) -> Frames:
    """(side, side, 3) uint8: the square out of a (H, W, 3) frame; beyond its border the border is repeated.

    Pillow, bicubic, with antialiasing where it shrinks. A square of whole pixels and the same side is copied.
    """
    from PIL import Image

    x, y, long = (float(one) for one in square)
    left, top = int(np.floor(x)), int(np.floor(y))
    right, bottom = int(np.ceil(x + long)), int(np.ceil(y + long))
    height, width = frame.shape[:2]
    rows, columns = np.clip(np.arange(top, bottom), 0, height - 1), np.clip(np.arange(left, right), 0, width - 1)
    inside = top >= 0 and bottom <= height and left >= 0 and right <= width
    region = frame[top:bottom, left:right] if inside else frame[rows[:, None], columns]
    if (x, y) == (left, top) and long == side:
        return np.ascontiguousarray(region)
    box = (x - left, y - top, min(x - left + long, right - left), min(y - top + long, bottom - top))
    picture = Image.fromarray(np.ascontiguousarray(region))
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC, box=box))


def feather(box: NDArray[Any], side: int, area: Area = "mouth") -> NDArray[np.float32]:
    """(side, side) in 0..1: how much of a generated crop is shown, 1 in the middle of the area, 0 outside.

    box: (4,) the face in pixels of the crop. area: its lower half, the whole face, or the crop to its own edges.
    """
    if area == "crop":
        x1, y1, x2, y2 = 0.0, 0.0, float(side), float(side)
        edge = FEATHER * side / 2
        inset = edge / 2
    else:
        x1, y1, x2, y2 = (float(one) for one in box)
        edge = FEATHER * (y2 - y1)
        inset = 0.0
        y1, y2 = (y1 + y2) / 2 if area == "mouth" else y1, y2 + BELOW * (y2 - y1)
    centre = (np.array([x1 + x2, y1 + y2]) / 2)[:, None, None]
    half = (np.array([x2 - x1, y2 - y1]) / 2 - inset)[:, None, None]
    rows, columns = np.mgrid[0:side, 0:side] + 0.5
    round_by = half.min() * (0.2 if area == "crop" else 0.9)  # the radius of the corners: a jaw has none
    beyond = np.abs(np.stack([columns, rows]) - centre) - half + round_by
    distance = np.hypot(*np.maximum(beyond, 0)) + np.minimum(beyond.max(axis=0), 0) - round_by
    inner = np.clip(0.5 - distance / edge, 0, 1)
    to_border = np.minimum.reduce([columns, rows, side - columns, side - rows])  # nothing of the crop's edge is seen
    mask: NDArray[np.float64] = (inner * inner * (3 - 2 * inner)) * np.clip(2 * (to_border - 0.5) / edge, 0, 1)
    return mask.astype(np.float32)


def paste(frame: Frames, face: Frames, square: NDArray[np.float64], mask: NDArray[np.float32]) -> None:
    """Put a generated (side, side, 3) crop over its square of a (H, W, 3) frame, in place, as much as the mask shows.

    mask: (side, side) of `feather`. Where it is 0 no pixel changes.
    """
    from PIL import Image

    side, (x, y, long) = len(mask), (float(one) for one in square)
    seen = np.argwhere(mask > 0)
    if not len(seen):
        return
    scale = long / side
    (y1, x1), (y2, x2) = seen.min(axis=0), seen.max(axis=0) + 1
    height, width = frame.shape[:2]
    left, right = max(int(np.ceil(x + x1 * scale)), 0), min(int(np.floor(x + x2 * scale)), width)
    top, bottom = max(int(np.ceil(y + y1 * scale)), 0), min(int(np.floor(y + y2 * scale)), height)
    if left >= right or top >= bottom:
        return
    edges = np.array([left - x, top - y, right - x, bottom - y]) / scale
    box, size = tuple(np.clip(edges, 0, side).tolist()), (right - left, bottom - top)
    drawn = Image.fromarray(np.ascontiguousarray(face)).resize(size, Image.Resampling.BICUBIC, box=box)
    weight = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR, box=box))[..., None]
    there = frame[top:bottom, left:right]
    mixed = there + np.clip(weight, 0, 1) * (np.asarray(drawn, np.float32) - there)
    there[:] = mixed.round().astype(np.uint8)


def crops(frames: Frames, squares: Squares, side: int) -> Iterator[Frames]:
    """`cut`, frame by frame."""
    for frame, square in zip(frames, squares, strict=True):
        yield cut(frame, square, side)
