"""Face boxes at their first use: of an entry that is there already, else a detector looks, and writes one.

The best detector that can be used here, or whose entry is there, is taken: S3FD before dlib's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from syncdiff_bench.contracts import FPS, Clip, Frames, Runtime
from syncdiff_bench.errors import NoBoxes, NotApplicable, UsageError, WeightsError
from syncdiff_bench.faces import cache, detectors
from syncdiff_bench.faces.boxes import DETECTORS, FILE, FaceBoxes, with_a_face
from syncdiff_bench.faces.detectors import FaceDetector, Faces
from syncdiff_bench.faces.single import SingleFace, steady, surest_face
from syncdiff_bench.files import home

Tell = Callable[[str, int, int], None]  # clip id, frames looked at, frames in all


def _silent(_clip_id: str, _done: int, _total: int) -> None:
    return None


@dataclass(frozen=True)
class Here:
    """device: a torch device string, "auto" for this process's GPU where there is one."""

    device: str = "auto"
    tell: Tell = _silent


_here: ContextVar[Here] = ContextVar("here", default=Here())  # noqa: B039 - frozen


@contextmanager
def detecting(device: str, tell: Tell = _silent) -> Iterator[None]:
    """Within, faces are looked for on this device, and progress is told."""
    token = _here.set(Here(device, tell))
    try:
        yield
    finally:
        _here.reset(token)


def detected_boxes(clip: Clip) -> FaceBoxes:
    """The boxes of a clip by the detector that `clip.boxes` names, "" for the best one.

    Raises NoBoxes (`no-face`) where it finds no face in any frame, (`no-boxes`) where there is no detector.
    """
    content = cache.content_of(clip)
    reasons = []
    for name in _wanted(clip):
        detector, reason = _usable(name)
        found = _known(content, name, detector, len(clip.frames))
        if found is None and detector is not None:
            face = single_face(clip, detector)
            with suppress(UsageError):  # where nothing can be written, it costs time
                cache.write(cache.entry(content, detector.identity), face, detector.identity)
            found = FaceBoxes(face.boxes, detector.identity, int(np.count_nonzero(~face.found)))
        if found is not None:
            return with_a_face(found, clip.id)
        reasons.append(f"{name}: {reason}")
    raise NoBoxes(
        "no-boxes",
        clip.id,
        f"no face boxes, and nothing to detect them with ({'; '.join(reasons)}); "
        "give them with --boxes DIR, or --boxes centred",
    )


def expected_source(clip: Clip) -> str:
    """What `clip.face_boxes.source` will be, decoding nothing; "none" where there are none and no detector."""
    if clip.boxes_path is not None and clip.boxes == "":
        return FILE
    if clip.boxes and clip.boxes not in DETECTORS:
        return clip.boxes
    for name in _wanted(clip):
        detector, _ = _usable(name)
        if detector is not None:
            return detector.identity
        entries = cache.entries(cache.content_of(clip), name) if cache.has_any_of(name) else []
        if entries:
            return cache.detector_of(entries[-1])
    return "none"


def single_face(clip: Clip, detector: FaceDetector) -> SingleFace:
    """One box for every frame of a clip, telling how far it is."""
    frames, tell = clip.frames, _here.get().tell
    faces: list[Faces] = []
    tell(clip.id, 0, len(frames))
    for start in range(0, len(frames), FPS):
        small, scale = reduced(frames[start : start + FPS], detector.most_pixels)
        faces += [face * np.array([scale] * 4 + [1], np.float32) for face in detector.detect(small)]
        tell(clip.id, len(faces), len(frames))
    return surest_face(faces if detector.surest else steady(faces), *frames.shape[1:3])


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


def _wanted(clip: Clip) -> tuple[str, ...]:
    return (clip.boxes,) if clip.boxes in DETECTORS else DETECTORS


def _known(content: str, name: str, detector: FaceDetector | None, n_frames: int) -> FaceBoxes | None:
    """The entry of this detector; of one that cannot be used here, the newest that somebody brought."""
    paths = cache.entries(content, name) if detector is None else [cache.entry(content, detector.identity)]
    found = cache.known_boxes(paths[-1]) if paths else None
    return found if found is not None and len(found.boxes) == n_frames else None


def _usable(name: str) -> tuple[FaceDetector | None, str]:
    """The detector of that name, or why there is none."""
    return _loaded(name, _here.get().device, str(home()))


@lru_cache
def _loaded(name: str, device: str, _home: str) -> tuple[FaceDetector | None, str]:
    try:
        return detectors.load_detector(name, Runtime(_own_device() if device == "auto" else device)), ""
    except (NotApplicable, WeightsError) as error:
        return None, str(error)


def _own_device() -> str:
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
