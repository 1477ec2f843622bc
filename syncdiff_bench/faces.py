"""Face boxes: one per frame, read from disk or, without a detector, the documented centred box."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.errors import ClipError

# TalkLip's fallback is a centred 96 x 96 box in a 160 x 160 frame (reference: TalkLip, face detection); LRS frames
# are face tracks of that framing at any size, so the fraction is what carries over.
CENTRED_FRACTION = 96 / 160


@dataclass(frozen=True, eq=False)
class FaceBoxes:
    """boxes: (T, 4) int32 pixels, x1 y1 x2 y2 (exclusive ends), clipped to nothing; source: "file" or "centred"."""

    boxes: NDArray[np.int32]
    source: str


def centred_boxes(n_frames: int, height: int, width: int) -> FaceBoxes:
    """The same centred square for every frame: 0.6 of the shorter side (96 x 96 in a 160 x 160 frame).

    >>> centred_boxes(1, 160, 160).boxes.tolist()
    [[32, 32, 128, 128]]
    """
    side = round(CENTRED_FRACTION * min(height, width))
    x1, y1 = (width - side) // 2, (height - side) // 2
    box = np.array([x1, y1, x1 + side, y1 + side], dtype=np.int32)
    return FaceBoxes(np.tile(box, (n_frames, 1)), "centred")


def read_boxes(path: Path, n_frames: int) -> FaceBoxes:
    """Boxes saved by any detector as `.npy`, integer (T, 4).

    A file with more rows than frames is cut; with fewer, its last box is repeated (codecs drop or add a last frame).
    Raises ClipError (`boxes`) for anything that is not a (T, 4) array of numbers.
    """
    try:
        boxes = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ClipError(
            "boxes", f"{path}: not a readable .npy array of face boxes ({error}); detect them again"
        ) from None
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.shape[0] == 0 or boxes.dtype.kind not in "iuf":
        raise ClipError("boxes", f"{path}: face boxes have shape {boxes.shape}, expected (frames, 4) x1 y1 x2 y2")
    rows = np.minimum(np.arange(n_frames), len(boxes) - 1)
    return FaceBoxes(boxes[rows].astype(np.int32), "file")
