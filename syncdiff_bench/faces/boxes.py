"""Face boxes: one per frame, given with the data, detected, or guessed by those who ask for it.

Files are `.npy` of any tool, (T, 4), or the `.npz` of `data prepare faces`. A tool that looked at a 30 fps
file wrote 90 rows where 75 frames are read at 25 fps: each frame takes the row of the frame of the file that it is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import Media, load_array
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.errors import ClipError, NoBoxes

# Where the boxes of a clip come from (`Clip.boxes`, `FaceBoxes.source`).
FILE = "file"  # the data set's own
CENTRED = "centred"  # a guess, asked for
BY_CONSTRUCTION = "centred-by-construction"  # the same box, of data that were drawn or cut that way
GIVEN = "given"  # a folder named on the command line
DETECTORS = ("s3fd", "dlib-hog")  # in order of preference

# TalkLip's fallback is a centred 96 x 96 box in a 160 x 160 frame (docs/spec/face-boxes.md). On real
# clips it misses: its lower half begins at or below the lips (docs/protocols.md, Face boxes).
CENTRED_FRACTION = 96 / 160

FEW_ROWS = 3  # codecs drop or add a last frame or two, and tools count them or do not

BOX_CAVEATS = frozenset({"guessed-boxes", "faceless-frames", "jumping-boxes", "rows"})


@dataclass(frozen=True, eq=False)
class FaceBoxes:
    """One box per frame.

    boxes: (T, 4) int32 pixels, x1 y1 x2 y2 (exclusive ends), clipped to nothing.
    source: "file" (the data set's own), "given" (of a folder named on the command line), "centred" (a guess),
        "centred-by-construction", or the detector ("s3fd-619a316812").
    found: (frames of the file,) bool, False where the detector found no face and the box is interpolated; None where
        no detector looked.
    doubts: what else a reader should know.
    """

    boxes: NDArray[np.int32]
    source: str
    found: NDArray[np.bool_] | None = None
    doubts: tuple[Caveat, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 of the boxes, in hexadecimal digits."""
        return hashlib.sha256(np.ascontiguousarray(self.boxes, dtype="<i4").tobytes()).hexdigest()

    @property
    def faceless(self) -> int:
        """Frames in which the detector found no face."""
        return 0 if self.found is None else int(np.count_nonzero(~self.found))

    @property
    def caveats(self) -> tuple[Caveat, ...]:
        """Where no detector looked, it saw no face, or the face is not the same throughout."""
        found = list(self.doubts)
        if self.source == CENTRED:
            found.append(Caveat("guessed-boxes", "the face box is the centred guess"))
        if self.faceless:
            missed = f"no face in {self.faceless} of {len(self.boxes)} frames: boxes interpolated"
            found.append(Caveat("faceless-frames", "frames without a face, boxes interpolated", missed))
        jumps = jumping_frames(self.boxes)
        if jumps:
            detail = f"the box jumps before frame {jumps[0]}" + (f" and {len(jumps) - 1} more" if jumps[1:] else "")
            found.append(Caveat("jumping-boxes", "the face box jumps (several faces, or a cut)", detail, len(jumps)))
        return tuple(found)


def jumping_frames(boxes: NDArray[np.int32]) -> list[int]:
    """Frames whose box has nothing in common with that of the frame before: no face moves so far in 40 ms.

    >>> jumping_frames(np.array([[0, 0, 9, 9], [4, 4, 13, 13], [50, 0, 59, 9]], np.int32))
    [2]
    """
    low = np.maximum(boxes[1:, :2], boxes[:-1, :2])
    high = np.minimum(boxes[1:, 2:], boxes[:-1, 2:])
    apart: list[int] = (np.flatnonzero((high <= low).any(axis=1)) + 1).tolist()
    return apart


def refuse_empty(boxes: NDArray[np.integer[Any]], frame_hw: tuple[int, int], clip: str = "") -> None:
    """Raise ClipError (`boxes`) for the first of (T, 4) boxes that holds no pixel of its frame of (height, width)."""
    height, width = frame_hw
    x1, y1, x2, y2 = np.clip(boxes, 0, [width, height, width, height]).T
    empty = np.flatnonzero((x2 <= x1) | (y2 <= y1))
    if len(empty):
        box = " ".join(str(side) for side in boxes[empty[0]])
        where = f"{clip}: face box {box} of frame {empty[0]}" if clip else f"face box {box} of frame {empty[0]}"
        raise ClipError("boxes", f"{where} holds no pixel of {width}x{height}; detect it again")


def centred_boxes(n_frames: int, height: int, width: int, source: str = CENTRED) -> FaceBoxes:
    """The same centred square for every frame: 0.6 of the shorter side (96 x 96 in a 160 x 160 frame).

    >>> centred_boxes(1, 160, 160).boxes.tolist()
    [[32, 32, 128, 128]]
    """
    side = round(CENTRED_FRACTION * min(height, width))
    x1, y1 = (width - side) // 2, (height - side) // 2
    box = np.array([x1, y1, x1 + side, y1 + side], dtype=np.int32)
    return FaceBoxes(np.tile(box, (n_frames, 1)), source)


def read_boxes(path: Path, media: Media) -> FaceBoxes:
    """The boxes of a clip's frames, as any detector saved them: `.npy`, (rows, 4), or `.npz` of `data prepare faces`.

    Rows may belong to the frames of the clip or to those of its file (`rows_of_frames`).
    Raises ClipError (`boxes`) for anything else, NoBoxes for a file that says that there is no face.
    """
    found = with_a_face(read_detected(path), str(path)) if path.suffix == ".npz" else FaceBoxes(_read_npy(path), FILE)
    rows, doubts = rows_of_frames(len(found.boxes), media, "boxes", path)
    return replace(found, boxes=found.boxes[rows], doubts=doubts)


def with_a_face(found: FaceBoxes, where: str) -> FaceBoxes:
    """The same boxes. Raises NoBoxes (`no-face`) where a detector found a face in no frame."""
    if found.faceless == len(found.boxes):
        reason = f"{found.source} finds no face in any frame; give its boxes with --boxes DIR, or --boxes centred"
        raise NoBoxes("no-face", where, reason)
    return found


def read_detected(path: Path) -> FaceBoxes:
    """All boxes of an entry that `data prepare faces` wrote; where no frame has a face, `faceless` counts all of them.

    Raises ClipError (`boxes`) for another or a damaged file.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            boxes, found, detector = stored["boxes"], stored["found"], str(stored["detector"])
    except Exception as error:  # zip and numpy fail in many ways
        problem = " ".join(str(error).split())[:200]
        raise ClipError("boxes", f"{path}: damaged face boxes ({problem}); delete it and prepare faces again") from None
    if (
        boxes.ndim != 2
        or boxes.shape[1] != 4
        or boxes.dtype != np.int32
        or found.shape != (len(boxes),)
        or not len(found)
    ):
        raise ClipError("boxes", f"{path}: holds no face boxes (frames, 4); delete it and prepare faces again")
    return FaceBoxes(boxes, detector, found.astype(np.bool_))


def _read_npy(path: Path) -> NDArray[np.int32]:
    try:
        boxes = load_array(path)
    except (OSError, ValueError) as error:
        raise ClipError(
            "boxes", f"{path}: not a readable .npy array of face boxes ({error}); detect them again"
        ) from None
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.shape[0] == 0 or boxes.dtype.kind not in "iuf":
        raise ClipError("boxes", f"{path}: face boxes have shape {boxes.shape}, expected (frames, 4) x1 y1 x2 y2")
    if not ((boxes > -(2**31)) & (boxes < 2**31)).all():
        raise ClipError("boxes", f"{path}: holds NaN, or numbers beyond any picture; detect the face boxes again")
    whole: NDArray[np.int32] = boxes.astype(np.int32)
    return whole


# ------------------------------------------------------------------------------------------ rows per frame


def rows_of_frames(rows: int, media: Media, what: str, file: Path) -> tuple[NDArray[np.int64], tuple[Caveat, ...]]:
    """(T,) int64: the row of each frame of a clip; and what is doubtful about it.

    rows: of the file, one per frame of the clip or one per frame of its file; a few more or less at the end are
    cut, or the last one is repeated, and that is a caveat. what: "boxes" or "landmarks".
    Raises ClipError of the kind `what` for any other number of rows.
    """
    n_frames, n_source = len(media.frames), media.source_count
    frames = np.arange(n_frames, dtype=np.int64)
    if rows == n_frames:
        return frames, ()
    if media.source_frames is not None and rows == n_source:
        return media.source_frames.astype(np.int64), ()
    off_frames, off_source = abs(rows - n_frames), abs(rows - n_source)
    if rows and min(off_frames, off_source) <= FEW_ROWS:
        by_source = media.source_frames is not None and off_source < off_frames
        source = media.source_frames if by_source and media.source_frames is not None else frames
        wanted = n_source if by_source else n_frames
        detail = f"{rows} rows of {what} for {wanted} {'pictures' if by_source else 'frames'}"
        caveat = Caveat("rows", f"{what} of up to {{most}} frames more or fewer", detail, abs(rows - wanted))
        return np.minimum(source, rows - 1).astype(np.int64), (caveat,)
    pictures = f" ({n_source} pictures in the file)" if n_source not in (0, n_frames) else ""
    raise ClipError(
        what, f"{file}: {rows} rows of {what} for {n_frames} frames{pictures}; they are of another video: detect again"
    )
