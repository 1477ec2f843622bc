"""Face boxes: one per frame, read from disk or, without a detector, the documented centred box.

Files are `.npy` of any tool, (T, 4), or the `.npz` of `syncdiff-bench prepare faces`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.errors import ClipError

# TalkLip's fallback is a centred 96 x 96 box in a 160 x 160 frame (reference: TalkLip, face detection); LRS frames
# are face tracks of that framing at any size, so the fraction is what carries over.
CENTRED_FRACTION = 96 / 160


@dataclass(frozen=True, eq=False)
class FaceBoxes:
    """One box per frame.

    boxes: (T, 4) int32 pixels, x1 y1 x2 y2 (exclusive ends), clipped to nothing.
    source: "file" (another tool's), "centred", or the detector ("s3fd-619a316812").
    faceless: frames in which the detector found no face; their boxes are interpolated, or centred where all are.
    """

    boxes: NDArray[np.int32]
    source: str
    faceless: int = 0

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """Where no detector looked, or it saw no face."""
        if self.source == "centred":
            missed = f"no face in {self.faceless} of {len(self.boxes)} frames" if self.faceless else ""
            return (Caveat("guessed-boxes", "the face box is the centred guess", missed),)
        if self.faceless:
            missed = f"no face in {self.faceless} of {len(self.boxes)} frames: boxes interpolated"
            return (Caveat("faceless-frames", "frames without a face, boxes interpolated", missed),)
        return ()


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
    """Boxes saved by any detector as `.npy`, integer (T, 4), or by `prepare faces` as `.npz`.

    A file with more rows than frames is cut; with fewer, its last box is repeated (codecs drop or add a last frame).
    Raises ClipError (`boxes`) for anything else.
    """
    found = read_detected(path) if path.suffix == ".npz" else FaceBoxes(_read_npy(path), "file")
    rows = np.minimum(np.arange(n_frames), len(found.boxes) - 1)
    return replace(found, boxes=found.boxes[rows])


def read_detected(path: Path) -> FaceBoxes:
    """All boxes of an entry that `prepare faces` wrote. Raises ClipError (`boxes`) for another or a damaged file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            boxes, found, detector = stored["boxes"], stored["found"], str(stored["detector"])
    except (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, BadZipFile) as error:
        problem = " ".join(str(error).split())
        raise ClipError("boxes", f"{path}: damaged face boxes ({problem}); delete it and prepare faces again") from None
    if (
        boxes.ndim != 2
        or boxes.shape[1] != 4
        or boxes.dtype != np.int32
        or found.shape != (len(boxes),)
        or not len(found)
    ):
        raise ClipError("boxes", f"{path}: holds no face boxes (frames, 4); delete it and prepare faces again")
    faceless = len(found) - int(np.count_nonzero(found))
    return FaceBoxes(boxes, "centred" if faceless == len(found) else detector, faceless)


def _read_npy(path: Path) -> NDArray[np.int32]:
    try:
        boxes = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ClipError(
            "boxes", f"{path}: not a readable .npy array of face boxes ({error}); detect them again"
        ) from None
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.shape[0] == 0 or boxes.dtype.kind not in "iuf":
        raise ClipError("boxes", f"{path}: face boxes have shape {boxes.shape}, expected (frames, 4) x1 y1 x2 y2")
    whole: NDArray[np.int32] = boxes.astype(np.int32)
    return whole
