"""Detected boxes on disk: `faces/<sha256 of the video file>-<detector>.npz` in the folder SYNCDIFF_BENCH_HOME.

Written whole or not at all, by any number of processes.

Keyed by content, so that a data set may move, and may lie where nobody can write.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces.boxes import FaceBoxes, read_detected
from syncdiff_bench.faces.single import SingleFace
from syncdiff_bench.files import home, replacing

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Clip


def folder() -> Path:
    """Where the entries are. Not created here."""
    return home() / "faces"


def entry(content: str, detector: str) -> Path:
    """The entry of a clip's content (`content_of`) and a detector's identity, there or not."""
    return folder() / f"{content}-{detector}.npz"


def entries(content: str, detector: str) -> list[Path]:
    """The entries of a content by any version of a detector, by name."""
    return sorted(folder().glob(f"{content}-{detector}-*.npz"))


def has_any_of(detector: str) -> bool:
    """Whether there is an entry of a detector at all; spares the digests of a whole data set."""
    return next(folder().glob(f"*-{detector}-*.npz"), None) is not None


def detector_of(path: Path) -> str:
    """The identity of the detector that an entry is of."""
    return path.stem.partition("-")[2]


def content_of(clip: Clip) -> str:
    """sha256 of the clip's file, or of its frames where it has none.

    Raises ClipError for a file that cannot be read, and those of decoding a clip.
    """
    if clip.path is None or clip.preloaded is not None:
        shape = np.asarray(clip.frames.shape, np.int64).tobytes()
        return hashlib.sha256(shape + np.ascontiguousarray(clip.frames).tobytes()).hexdigest()
    try:
        facts = clip.path.stat()
        return _sha256(clip.path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ClipError("unreadable", f"{clip.path}: cannot be read ({reason}); check its permissions") from None


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
    try:
        with replacing(path) as partial, partial.open("wb") as stream:
            np.savez(stream, boxes=face.boxes, found=face.found, detector=np.array(detector))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(
            f"{path.parent} cannot be written ({reason}); set SYNCDIFF_BENCH_HOME to a folder that can"
        ) from None


@lru_cache(4096)
def _sha256(video: Path, _size: int, _mtime_ns: int) -> str:
    from syncdiff_bench.weights.digests import sha256_of

    return sha256_of(video)
