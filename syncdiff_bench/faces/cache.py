"""What detectors found, on disk: `faces/<sha256 of the video file>-<detector>.npz` and `landmarks/...npy` in `home()`.

Keyed by content, so that a data set may move, and may lie in a read-only folder. Entries are written whole or not at
all, by any number of processes; the same arrays give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal

from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import home, replacing

Kind = Literal["faces", "landmarks"]
Kept = Mapping[str, Mapping[str, Sequence[str]]]  # detector -> content -> its identities, by name
SUFFIXES = {"faces": ".npz", "landmarks": ".npy"}


def entry(kind: Kind, content: str, detector: str) -> Path:
    """The entry of a clip's content (`Clip.content`) and a detector's identity, there or not."""
    return home() / kind / f"{content}-{detector}{SUFFIXES[kind]}"


def entries(content: str, detector: str) -> list[Path]:
    """The boxes of a content ("*" for any) by any version of a detector, by name."""
    return sorted((home() / "faces").glob(f"{content}-{detector}-*.npz"))


def kept(detectors: Sequence[str]) -> Kept:
    """Which boxes of these detectors are there; the folder is listed once."""
    found: dict[str, dict[str, list[str]]] = {name: {} for name in detectors}
    for path in sorted((home() / "faces").glob("*.npz")):
        content, _, identity = path.stem.partition("-")
        for name in detectors:
            if identity.startswith(f"{name}-"):
                found[name].setdefault(content, []).append(identity)
    return found


def write(path: Path, save: Callable[[IO[bytes]], None]) -> None:
    """Write an entry by `save`. Raises UsageError where the folder cannot be written."""
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            save(file)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(
            f"{path.parent} cannot be written ({reason}); set SYNCDIFF_BENCH_HOME to a folder that can"
        ) from None
