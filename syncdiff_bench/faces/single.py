"""One box per frame out of all faces of a clip, by the rounding of Wav2Lip and TalkLip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Boxes
from syncdiff_bench.faces.boxes import centred_boxes
from syncdiff_bench.faces.detectors import Faces


@dataclass(frozen=True, eq=False)
class SingleFace:
    """boxes: (T, 4) int32, x1 y1 x2 y2. found: (T,) bool, False where the frame had no face."""

    boxes: Boxes
    found: NDArray[np.bool_]


SAME_FACE = 0.3  # overlap (intersection over union) with the box before, from which on it is that face


def steady(faces: Sequence[Faces]) -> list[Faces]:
    """The same faces; where one overlaps the first of the frame before, it comes first, however sure the others are.

    So that of two people the box stays with one. It begins, and after a cut begins again, with the surest.

    >>> first = [[0, 0, 40, 40, 0.9], [100, 0, 140, 40, 0.8]]
    >>> then = [[101, 0, 141, 40, 0.9], [1, 0, 41, 40, 0.8]]
    >>> [float(one[0, 0]) for one in steady([np.array(first), np.array(then)])]
    [0.0, 1.0]
    """
    found: list[Faces] = []
    before: Faces | None = None
    for one in faces:
        if before is not None and len(one) > 1:
            overlap = _overlaps(one, before)
            if overlap.max() > SAME_FACE:
                order = np.argsort(-overlap, kind="stable")
                one = one[order]  # noqa: PLW2901
        found.append(one)
        before = one[0] if len(one) else before
    return found


def _overlaps(faces: Faces, box: Faces) -> NDArray[np.float64]:
    low, high = np.maximum(faces[:, :2], box[:2]), np.minimum(faces[:, 2:4], box[2:4])
    common = np.maximum(high - low, 0).prod(axis=1)
    areas = (faces[:, 2:4] - faces[:, :2]).prod(axis=1) + (box[2:4] - box[:2]).prod()
    shares: NDArray[np.float64] = common / (areas - common)
    return shares


def surest_face(faces: Sequence[Faces], height: int, width: int) -> SingleFace:
    """The box of the surest face of each frame; negative sides become 0, the rest is cut off to whole pixels.

    faces: per frame (n, 5), surest first. height, width: of the frames.
    Right and bottom are not clipped, as in the official scripts. A frame without a face, where those scripts stop
    (Wav2Lip) or take a centred box (TalkLip), gets the line between the boxes before and after it, or the nearest box
    where one side has none; a clip without any face gets the centred box.

    >>> corners = [[10.9, -3, 50.2, 60, 0.9]], [], [[20.9, 1, 54.2, 64, 0.8]]
    >>> surest_face([np.reshape(one, (-1, 5)) for one in corners], 96, 96).boxes.tolist()
    [[10, 0, 50, 60], [15, 0, 52, 62], [20, 1, 54, 64]]
    """
    found = np.array([len(one) > 0 for one in faces], dtype=np.bool_)
    if not found.any():
        return SingleFace(centred_boxes(len(faces), height, width).boxes, found)
    times = np.arange(len(faces))
    seen = np.array([one[0, :4] for one in faces if len(one)], dtype=np.float64)
    lines = np.stack([np.interp(times, times[found], side) for side in seen.T], axis=1)
    return SingleFace(np.maximum(lines, 0).astype(np.int32), found)
