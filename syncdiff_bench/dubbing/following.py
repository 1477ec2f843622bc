"""One face of FACE, found and followed over its pictures, and the square around it at each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import FPS, Frames, load_array
from syncdiff_bench.dubbing.pictures import Pictures
from syncdiff_bench.errors import ClipError, NoBoxes, UsageError
from syncdiff_bench.faces.boxes import CENTRED, DETECTORS, GIVEN, FaceBoxes, centred_boxes, read_detected, refuse_empty
from syncdiff_bench.faces.detection import AUTO, SAME_FACE, choose_detector, overlaps, reduced
from syncdiff_bench.faces.detectors import FaceDetector, Faces
from syncdiff_bench.faces.framing import (
    Squares,
    as_of_s3fd,
    boxes_into,
    is_framed,
    moved_inside,
    squares_of,
    steadied_boxes,
)

LARGEST_CROP = 256  # pixels of a side, what SyncDiff draws; the mouths of Wav2Lip are smaller still
HIDDEN = 1.0  # seconds without a face (a turned head), from which on its place is no more guessed
LOOKED_AT_ONCE = 8  # pictures

Box = NDArray[np.float32]
Told = Callable[[int], None]
Numbered = tuple[int, Frames]


@dataclass(frozen=True, eq=False)
class Track:
    """A face that was followed.

    boxes: (n, 4) float64, pixels of each picture, steady, as S3FD draws them.
    squares: (n, 3), what is cut out around them.
    seen: (n,) bool; where False nothing is to be pasted. side: pixels of a crop.
    source: of the boxes, as `FaceBoxes.source`.
    notes: lines for people.
    """

    boxes: NDArray[np.float64]
    squares: Squares
    seen: NDArray[np.bool_]
    side: int
    source: str
    notes: tuple[str, ...] = ()

    @property
    def boxes_in_crops(self) -> NDArray[np.int32]:
        return boxes_into(self.boxes, self.squares, self.side)


def follow(
    pictures: Pictures,
    count: int,
    boxes: str = AUTO,
    device: str = "cpu",
    told: Told = lambda _n: None,
) -> Track:
    """The face of the first `count` pictures.

    boxes: "auto" or the name of a detector; "centred"; a file of boxes, one row per picture, or a folder of it, named
        as FACE is; or "x1,y1,x2,y2", pixels of the picture, of a face that stays where it is.
    Of several faces the largest is followed.
    told: receives how many more pictures were looked at.
    Raises NoBoxes `no-face`, with the time that was looked at; ClipError `boxes`, UsageError for a detector that cannot
    be used.
    """
    found, notes = _found(pictures, count, boxes, device, told)
    refuse_empty(found.boxes, (pictures.height, pictures.width), pictures.path.name)
    rate, frame_hw = float(pictures.rate), (pictures.height, pictures.width)
    seen = np.ones(count, np.bool_)
    if found.found is not None:
        hidden = [span for span in spans(~found.found) if span[1] - span[0] > HIDDEN * rate]
        for first, last in hidden:
            seen[first:last] = False
            notes += (f"no face {clock(first / rate)} to {clock(last / rate)}: left as it is",)
    steady = steadied_boxes(found.boxes, rate)
    if is_framed(found.boxes, frame_hw, found.source):
        side = max(frame_hw)
        whole = [(pictures.width - side) / 2, (pictures.height - side) / 2, side]
        squares = np.tile(np.array(whole, np.float64), (count, 1))
    else:
        squares = moved_inside(squares_of(steady, found.source), frame_hw)
        side = max(32, 2 * round(float(np.median(squares[:, 2])) / 2))
    return Track(as_of_s3fd(steady, found.source), squares, seen, min(side, LARGEST_CROP), found.source, notes)


def _found(
    pictures: Pictures, count: int, boxes: str, device: str, told: Callable[[int], None]
) -> tuple[FaceBoxes, tuple[str, ...]]:
    if boxes == CENTRED:
        return centred_boxes(count, pictures.height, pictures.width), ("the face box is the centred guess",)
    if boxes == AUTO or boxes in DETECTORS:
        detector, _ = choose_detector(boxes, device)
        return _detected(pictures, count, detector, told)
    given = _given(boxes, pictures)
    rows = np.minimum(np.arange(count), len(given.boxes) - 1)
    return FaceBoxes(given.boxes[rows], given.source, None if given.found is None else given.found[rows]), ()


def _given(boxes: str, pictures: Pictures) -> FaceBoxes:
    if boxes.count(",") == 3:
        return FaceBoxes(np.array([[float(side) for side in as_box(boxes).split(",")]]).astype(np.int32), GIVEN)
    path = Path(boxes)
    if path.is_dir():
        path /= f"{pictures.path.stem}.npy"
    if not path.is_file():
        choices = f"{AUTO}, {', '.join(DETECTORS)}, {CENTRED} or a folder, or the --box of a face"
        raise UsageError(f"--boxes {boxes}: there is no {path}; give {choices}")
    if path.suffix == ".npz":
        read = read_detected(path)
    else:
        try:
            rows = load_array(path)
        except (OSError, ValueError) as error:
            raise ClipError("boxes", f"{path}: not a readable .npy of face boxes ({error})") from None
        if rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "iuf":
            raise ClipError("boxes", f"{path}: face boxes have shape {rows.shape}, expected (pictures, 4) x1 y1 x2 y2")
        read = FaceBoxes(rows.astype(np.int32), GIVEN)
    if len(read.boxes) != pictures.count:
        told = f"{len(read.boxes)} boxes for {pictures.count} pictures of {pictures.path}"
        raise ClipError("boxes", f"{path}: {told}; give one row per picture")
    return read


def as_box(text: str) -> str:
    """The same text. Raises UsageError unless it is four numbers, x1,y1,x2,y2."""
    try:
        x1, y1, x2, y2 = (float(side) for side in text.split(","))
    except ValueError:
        x1 = y1 = x2 = y2 = 0.0
    if not (x1 < x2 and y1 < y2):
        raise UsageError(f"--box {text}: give x1,y1,x2,y2, the left, top, right and bottom pixel of the face")
    return text


def _detected(
    pictures: Pictures, count: int, detector: FaceDetector, told: Callable[[int], None]
) -> tuple[FaceBoxes, tuple[str, ...]]:
    looked, boxes, crowded, before = [], [], [], None
    rate = float(pictures.rate)
    for index, faces in _faces(pictures, count, detector, told):
        before = chosen(faces, before)
        looked.append(index)
        boxes.append(None if not len(faces) else before)
        if len(faces) > 1:
            crowded.append((len(faces), index))
    there = np.array([box is not None for box in boxes])
    if not there.any():
        when = f"0:00 to {clock(count / rate)}" if count > 1 else "in the picture"
        reason = f"{detector.identity} finds no face ({when}); give it with --box X1,Y1,X2,Y2"
        raise NoBoxes("no-face", str(pictures.path), reason)
    at = np.array(looked)
    known = np.array([box for box in boxes if box is not None], np.float64)[:, :4]
    everywhere = [np.interp(np.arange(count), at[there], side) for side in known.T]
    found = there[np.searchsorted(at, np.arange(count), side="right") - 1]
    notes: tuple[str, ...] = ()
    if crowded:
        most, index = max(crowded)
        notes = (f"several faces ({most} at {clock(index / rate)}): the largest is followed",)
    return FaceBoxes(np.stack(everywhere, axis=1).round().astype(np.int32), detector.identity, found), notes


def _faces(
    pictures: Pictures, count: int, detector: FaceDetector, told: Callable[[int], None]
) -> Iterator[tuple[int, Faces]]:
    """(number, (n, 5) faces in pixels of the picture) of at most 25 pictures a second."""
    rate, slot = pictures.rate, -1
    waiting: list[Numbered] = []
    for index, frame in enumerate(pictures.forward()):
        if index >= count:
            break
        now = int(index * FPS / rate)
        if rate <= FPS or now > slot:
            slot = now
            small, scale = reduced(frame[None], detector.most_pixels)
            waiting.append((index, small[0].copy()))
        if len(waiting) == LOOKED_AT_ONCE:
            yield from _looked_at(waiting, scale, detector)
            waiting.clear()
        told(1)
    if waiting:
        yield from _looked_at(waiting, scale, detector)


def _looked_at(
    waiting: Sequence[tuple[int, Frames]], scale: int, detector: FaceDetector
) -> Iterator[tuple[int, Faces]]:
    found = detector.detect(np.stack([frame for _, frame in waiting]))
    for (index, _), faces in zip(waiting, found, strict=True):
        yield index, faces * np.array([scale] * 4 + [1], np.float32)


def chosen(faces: Faces, before: Box | None) -> Box | None:
    """Of (n, 5) faces the one that was followed, the largest where there is none; `before` where nobody is seen.

    >>> two = np.array([[0, 0, 40, 40, 0.9], [100, 0, 160, 60, 0.5]], np.float32)
    >>> chosen(two, None)[0].item(), chosen(two, two[0])[0].item()
    (100.0, 0.0)
    """
    if not len(faces):
        return before
    if before is not None:
        same = overlaps(faces, before)
        if same.max() > SAME_FACE:
            one: Box = faces[int(same.argmax())]
            return one
    largest: Box = faces[int((faces[:, 2:4] - faces[:, :2]).prod(axis=1).argmax())]
    return largest


def spans(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where flags are set, as half-open ranges.

    >>> spans(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def clock(seconds: float) -> str:
    """
    >>> clock(3), clock(75.26)
    ('0:03.0', '1:15.3')
    """
    minutes, rest = divmod(round(10 * seconds), 600)
    return f"{minutes}:{rest / 10:04.1f}"
