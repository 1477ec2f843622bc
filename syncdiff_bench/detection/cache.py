"""Detected boxes on disk: `faces/<sha256 of the video file>-<detector>.npz` in the folder SYNCDIFF_BENCH_HOME.

Keyed by content, so that a data set may move, and may lie where nobody can write.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from syncdiff_bench.detection.detectors import DETECTORS
from syncdiff_bench.detection.single import SingleFace
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces import FaceBoxes, read_detected
from syncdiff_bench.home import home


def folder() -> Path:
    """Where the entries are. Not created here."""
    return home() / "faces"


def entry(video: Path, detector: str) -> Path:
    """The entry of a video file and a detector's identity, there or not. Raises ClipError for an unreadable file."""
    return folder() / f"{_sha256(video)}-{detector}.npz"


def prepared_boxes(video: Path) -> Path | None:
    """The boxes that `prepare faces` made for a video file, of the preferred detector; None where there are none."""
    if not folder().is_dir() or not video.is_file():
        return None
    digest = _sha256(video)
    for detector in DETECTORS:
        made = sorted(folder().glob(f"{digest}-{detector}-*.npz"))
        if made:
            return made[-1]
    return None


def known_boxes(path: Path) -> FaceBoxes | None:
    """The boxes of an entry; None where there is none or where it is damaged."""
    try:
        return read_detected(path) if path.is_file() else None
    except ClipError:
        return None


def write(path: Path, face: SingleFace, detector: str) -> None:
    """Write an entry, whole or not at all; the same boxes give the same bytes.

    Raises UsageError where the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            np.savez(stream, boxes=face.boxes, found=face.found, detector=np.array(detector))
        part.replace(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(
            f"{path.parent} cannot be written ({reason}); set SYNCDIFF_BENCH_HOME to a folder that can"
        ) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _sha256(video: Path) -> str:
    from syncdiff_bench.weights.digests import sha256_of

    try:
        return sha256_of(video)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ClipError("unreadable", f"{video}: cannot be read ({reason}); check its permissions") from None
