"""One face box per frame of a clip: a detector is chosen, looks, and what it found is kept for the next time.

At the first use of a clip's boxes the best detector that can be used here, or whose entry is there, is taken: S3FD
before dlib's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import FPS, Frames
from syncdiff_bench.errors import ClipError, NoBoxes, NotApplicable, UsageError, WeightsError
from syncdiff_bench.faces import cache
from syncdiff_bench.faces.boxes import DETECTORS, FaceBoxes, centred_boxes, read_detected, with_a_face
from syncdiff_bench.faces.detectors import DlibHOG, FaceDetector, Faces
from syncdiff_bench.options import nearest

AUTO = "auto"
SAME_FACE = 0.3  # overlap (intersection over union) with the box before, from which on it is that face


def load_detector(name: str, device: str) -> FaceDetector:
    """The detector of that name. device: a torch device string.

    Raises UsageError for an unknown name, NotApplicable where its package is missing, WeightsError where its weights
    are missing or no good.
    """
    if name == "s3fd":
        from syncdiff_bench.weights.store import WeightsStore

        WeightsStore().ensure(name)  # before torch, which takes seconds and 200 MB to import
        from syncdiff_bench.faces.s3fd import S3FD

        return S3FD(_own_device() if device == AUTO else device)
    if name == "dlib-hog":
        return DlibHOG()
    raise UsageError(f"unknown face detector {name!r}{nearest(name, DETECTORS, 'known detectors')}")


def choose_detector(name: str, device: str) -> tuple[FaceDetector, list[str]]:
    """The detector of that name; for `auto` the first of `DETECTORS` that can be used here, and why not one before it.

    Raises as `load_detector`; for `auto` UsageError, with the reasons, where there is none.
    """
    if name != AUTO:
        return load_detector(name, device), []
    reasons: list[str] = []
    for candidate in DETECTORS:
        try:
            return load_detector(candidate, device), reasons
        except (NotApplicable, WeightsError) as error:
            reasons.append(f"{candidate}: {error}")
    raise UsageError(f"no face detector can be used here ({'; '.join(reasons)})")


# ---------------------------------------------------------------------------------------------------- one box per frame


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
            overlap = overlaps(one, before)
            if overlap.max() > SAME_FACE:
                order = np.argsort(-overlap, kind="stable")
                one = one[order]  # noqa: PLW2901
        found.append(one)
        before = one[0] if len(one) else before
    return found


def overlaps(faces: NDArray[np.floating], box: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n,) intersection over union of (n, 4 or more) boxes, x1 y1 x2 y2 first, with one.

    >>> overlaps(np.array([[0., 0, 2, 2], [5., 5, 6, 6]]), np.array([1., 0, 3, 2])).tolist()
    [0.3333333333333333, 0.0]
    """
    low, high = np.maximum(faces[:, :2], box[:2]), np.minimum(faces[:, 2:4], box[2:4])
    common = np.maximum(high - low, 0).prod(axis=1)
    areas = (faces[:, 2:4] - faces[:, :2]).prod(axis=1) + (box[2:4] - box[:2]).prod()
    shares: NDArray[np.float64] = common / (areas - common)
    return shares


def surest_face(faces: Sequence[Faces], height: int, width: int, detector: str) -> FaceBoxes:
    """The box of the surest face of each frame; negative sides become 0, the rest is cut off to whole pixels.

    faces: per frame (n, 5), surest first.
    height, width: of the frames.
    detector: its identity.

    Right and bottom are not clipped, as in the official scripts. A frame without a face, where those scripts stop
    (Wav2Lip) or take a centred box (TalkLip), gets the line between the boxes before and after it, or the nearest box
    where one side has none; a clip without any face gets the centred box.

    >>> corners = [[10.9, -3, 50.2, 60, 0.9]], [], [[20.9, 1, 54.2, 64, 0.8]]
    >>> surest_face([np.reshape(one, (-1, 5)) for one in corners], 96, 96, "s3fd").boxes.tolist()
    [[10, 0, 50, 60], [15, 0, 52, 62], [20, 1, 54, 64]]
    """
    found = np.array([len(one) > 0 for one in faces], dtype=np.bool_)
    if not found.any():
        return replace(centred_boxes(len(faces), height, width, detector), found=found)
    times = np.arange(len(faces))
    seen = np.array([one[0, :4] for one in faces if len(one)], dtype=np.float64)
    lines = np.stack([np.interp(times, times[found], side) for side in seen.T], axis=1)
    return FaceBoxes(np.maximum(lines, 0).astype(np.int32), detector, found)


def single_face(clip_id: str, frames: Frames, detector: FaceDetector) -> FaceBoxes:
    """One box for every frame (T, H, W, 3) of a clip, telling how far it is."""
    _, tell = _here.get()
    faces: list[Faces] = []
    tell(clip_id, 0, len(frames))
    for start in range(0, len(frames), FPS):
        small, scale = reduced(frames[start : start + FPS], detector.most_pixels)
        faces += [face * np.array([scale] * 4 + [1], np.float32) for face in detector.detect(small)]
        tell(clip_id, len(faces), len(frames))
    height, width = frames.shape[1:3]
    return surest_face(faces if detector.surest else steady(faces), height, width, detector.identity)


def reduced(frames: Frames, most_pixels: int) -> tuple[Frames, int]:
    """Frames (T, H, W, 3) of at most so many pixels each, by means of k x k, and k: boxes there are k times smaller.

    >>> small, k = reduced(np.zeros((1, 1080, 1920, 3), np.uint8), 1280 * 720)
    >>> small.shape, k
    ((1, 540, 960, 3), 2)
    """
    n, height, width = frames.shape[:3]
    k = 1
    while (height // k) * (width // k) > most_pixels:
        k += 1
    if k == 1:
        return frames, 1
    rows, columns = height // k, width // k
    small = np.empty((n, rows, columns, 3), np.uint8)
    for frame, reduction in zip(frames, small, strict=True):
        blocks = frame[: rows * k, : columns * k].reshape(rows, k, columns, k, 3)
        reduction[:] = blocks.mean(axis=(1, 3), dtype=np.float32).round()
    return small, k


# --------------------------------------------------------------------------------------------------------- at first use


Tell = Callable[[str, int, int], None]  # clip id, frames looked at, frames in all


def _silent(_clip_id: str, _done: int, _total: int) -> None:
    return None


# torch device string, "auto" for this process's GPU where there is one; whom to tell
_here: ContextVar[tuple[str, Tell]] = ContextVar("here", default=("auto", _silent))


@contextmanager
def detecting(device: str, tell: Tell = _silent) -> Iterator[None]:
    """Within, faces are looked for on this device, and progress is told."""
    token = _here.set((device, tell))
    try:
        yield
    finally:
        _here.reset(token)


def detected_boxes(clip_id: str, content: str, frames: Frames, wanted: str) -> FaceBoxes:
    """The boxes of a clip's frames by a detector: those that it found earlier, else it looks.

    content: `Clip.content`.
    frames: (T, H, W, 3) uint8 RGB.
    wanted: one of DETECTORS, anything else for the best one.
    Raises NoBoxes (`no-face`) where it finds no face in any frame, (`no-boxes`) where there is no detector.
    """
    reasons = []
    for name in _wanted(wanted):
        detector, reason = _usable(name)
        paths = cache.entries(content, name) if detector is None else [cache.entry("faces", content, detector.identity)]
        # Of a detector that cannot be used here, the newest entry that was copied here.
        found = known_boxes(paths[-1]) if paths else None
        if found is not None and len(found.boxes) != len(frames):
            found = None
        if found is None and detector is not None:
            found = single_face(clip_id, frames, detector)
            with suppress(UsageError):  # where nothing can be written, it costs time
                keep_boxes(paths[-1], found)
        if found is not None:
            return with_a_face(found, clip_id)
        reasons.append(f"{name}: {reason}")
    raise NoBoxes(
        "no-boxes",
        clip_id,
        f"no face boxes, and nothing to detect them with ({'; '.join(reasons)}); "
        "give them with --boxes DIR, or --boxes centred",
    )


def expected_detector(content: Callable[[], str], wanted: str, kept: cache.Kept) -> str:
    """The detector that `detected_boxes` will name, decoding nothing; "none" where there is none.

    kept: of `DETECTORS`; the content is not asked for where they have no boxes at all.
    """
    for name in _wanted(wanted):
        detector, _ = _usable(name)
        if detector is not None:
            return detector.identity
        if brought := _of(name, content, kept):
            return brought[-1]
    return "none"


def are_kept(content: Callable[[], str], wanted: str, kept: cache.Kept) -> bool:
    """Whether `detected_boxes` finds its boxes in the cache, so that nothing is detected; arguments as above."""
    for name in _wanted(wanted):
        detector, _ = _usable(name)
        brought = _of(name, content, kept)
        if detector is not None:
            return detector.identity in brought
        if brought:
            return True
    return False


def _of(name: str, content: Callable[[], str], kept: cache.Kept) -> Sequence[str]:
    return kept[name].get(content(), ()) if kept[name] else ()


def known_boxes(path: Path) -> FaceBoxes | None:
    """The boxes of an entry; None where there is none or where it is damaged."""
    try:
        return read_detected(path) if path.is_file() else None
    except ClipError:
        return None


def keep_boxes(path: Path, by: FaceBoxes) -> None:
    """Write an entry that `read_detected` reads. Raises UsageError where the folder cannot be written."""
    assert by.found is not None, "a detector looked"
    arrays = {"boxes": by.boxes, "found": by.found, "detector": np.array(by.source)}
    cache.write(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def _wanted(name: str) -> tuple[str, ...]:
    return (name,) if name in DETECTORS else DETECTORS


def _usable(name: str) -> tuple[FaceDetector | None, str]:
    """The detector of that name, or why there is none."""
    device, _ = _here.get()
    return _loaded(name, device, os.environ.get("SYNCDIFF_BENCH_HOME", ""))


@lru_cache
def _loaded(name: str, device: str, _home: str) -> tuple[FaceDetector | None, str]:
    try:
        return load_detector(name, device), ""
    except (NotApplicable, WeightsError) as error:
        return None, str(error)


def _own_device() -> str:
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
