"""Face boxes: one per frame, given with the data, detected, or guessed by those who ask for it.

Files are `.npy` of any tool, (T, 4), or the `.npz` of `syncdiff-bench prepare faces`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import Media
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.errors import ClipError, NoBoxes
from syncdiff_bench.faces.framewise import rows_of_frames

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Clip

# Where the boxes of a clip come from (`Clip.boxes`, `FaceBoxes.source`).
FILE = "file"  # the data set's own
CENTRED = "centred"  # a guess, asked for
BY_CONSTRUCTION = "centred-by-construction"  # the same box, of data that were drawn or cut that way
GIVEN = "given"  # a folder named on the command line
DETECTORS = ("s3fd", "dlib-hog")  # in order of preference

# TalkLip's fallback is a centred 96 x 96 box in a 160 x 160 frame (docs/spec/face-boxes.md). On real
# clips it misses: its lower half begins at or below the lips (docs/protocols.md, Face boxes).
CENTRED_FRACTION = 96 / 160

BOX_CAVEATS = frozenset({"guessed-boxes", "faceless-frames", "jumping-boxes", "rows"})


@dataclass(frozen=True, eq=False)
class FaceBoxes:
    """One box per frame.

    boxes: (T, 4) int32 pixels, x1 y1 x2 y2 (exclusive ends), clipped to nothing.
    source: "file" (the data set's own), "given" (of a folder named on the command line), "centred" (a guess),
        "centred-by-construction", or the detector ("s3fd-619a316812").
    faceless: frames in which the detector found no face; their boxes are interpolated.
    doubts: what else a reader should know.
    """

    boxes: NDArray[np.int32]
    source: str
    faceless: int = 0
    doubts: tuple[Caveat, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 of the boxes, in hexadecimal digits."""
        return hashlib.sha256(np.ascontiguousarray(self.boxes, dtype="<i4").tobytes()).hexdigest()

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


def asked_boxes(clip: Clip) -> FaceBoxes:
    """`boxes_of`, once, and noted in `clip.asked_for`."""
    clip.asked_for.add("boxes")
    known: dict[str, Any] = vars(clip)
    if "face_boxes" not in known:
        known["face_boxes"] = boxes_of(clip)
    found: FaceBoxes = known["face_boxes"]
    return found


def boxes_of(clip: Clip) -> FaceBoxes:
    """The boxes of a clip's frames, from where `clip.boxes` says. Raises as `Clip.face_boxes`."""
    whole = _whole(clip)
    if whole is not None:
        found = boxes_of(whole)
        return replace(found, boxes=found.boxes[: len(clip.frames)])
    if clip.boxes in (CENTRED, BY_CONSTRUCTION):
        n_frames, height, width = clip.frames.shape[:3]
        return centred_boxes(n_frames, height, width, clip.boxes)
    if clip.boxes_path is not None and clip.boxes in ("", GIVEN):
        read = read_boxes(clip.boxes_path, clip.media)
        return replace(read, source=GIVEN) if clip.boxes == GIVEN else read
    from syncdiff_bench.faces.first_use import detected_boxes

    return detected_boxes(clip)


def _whole(clip: Clip) -> Clip | None:
    """The clip as its file has it, where this one shows the first frames of that: cut to a shorter sound or video.

    Boxes belong to the file, and are counted by its frames.
    """
    if clip.sound is not None:
        return replace(clip, sound=None)
    if clip.path is None or clip.preloaded is None:
        return None
    whole = replace(clip, preloaded=None)
    n, pictures = len(clip.frames), clip.media.source_frames
    try:
        every = whole.media
    except ClipError:
        return None
    if every.source_frames is None or every.frames.shape[1:] != clip.frames.shape[1:]:
        return None
    return whole if np.array_equal(every.source_frames[:n], pictures) else None  # type: ignore[arg-type]


def jumping_frames(boxes: NDArray[np.int32]) -> list[int]:
    """Frames whose box has nothing in common with that of the frame before: no face moves so far in 40 ms.

    >>> jumping_frames(np.array([[0, 0, 9, 9], [4, 4, 13, 13], [50, 0, 59, 9]], np.int32))
    [2]
    """
    low = np.maximum(boxes[1:, :2], boxes[:-1, :2])
    high = np.minimum(boxes[1:, 2:], boxes[:-1, 2:])
    apart: list[int] = (np.flatnonzero((high <= low).any(axis=1)) + 1).tolist()
    return apart


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
    """The boxes of a clip's frames, as any detector saved them: `.npy`, (rows, 4), or `.npz` of `prepare faces`.

    Rows may belong to the frames of the clip or to the pictures of its file (`rows_of_frames`).
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
    """All boxes of an entry that `prepare faces` wrote; where no frame has a face, `faceless` counts all of them.

    Raises ClipError (`boxes`) for another or a damaged file.
    """
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
    return FaceBoxes(boxes, detector, len(found) - int(np.count_nonzero(found)))


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
