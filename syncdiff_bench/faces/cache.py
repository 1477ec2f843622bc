"""What detectors found, on disk: `faces/<sha256 of the video file>-<detector>.npz` and `landmarks/...npy` in `home()`.

Keyed by content, so that a data set may move, and may lie in a read-only folder. Entries are written whole or not at
all, by any number of processes; the same arrays give the same bytes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import home, replacing

Kind = Literal["faces", "landmarks"]
Kept = Mapping[str, Mapping[str, Sequence[str]]]  # detector -> content -> its identities, by name
SUFFIXES = {"faces": ".npz", "landmarks": ".npy"}
MANY = 2000  # contents, of which the list is of use for a while
OF_USE = 20  # times as long as it took to make
MOMENT = 1_000_000_000  # ns; clocks of file systems are coarse


def entry(kind: Kind, content: str, detector: str) -> Path:
    """The entry of a clip's content (`Clip.content`) and a detector's identity, there or not."""
    return home() / kind / f"{content}-{detector}{SUFFIXES[kind]}"


def entries(content: str, detector: str) -> list[Path]:
    """The boxes of a content by any version of a detector, by name."""
    found = (one for one in _index().get(content, ()) if one.startswith(f"{detector}-"))
    return [entry("faces", content, identity) for identity in found]


def kept(detectors: Sequence[str]) -> Kept:
    """Which boxes of these detectors are there; the folder is listed once."""
    found: dict[str, dict[str, list[str]]] = {name: {} for name in detectors}
    for content, identities in _index(fresh=True).items():
        for name in detectors:
            if some := [one for one in identities if one.startswith(f"{name}-")]:
                found[name][content] = some
    return found


@dataclass
class _Listing:
    """Content -> identities of its boxes, by name, in a folder as it was when it was `changed` (ns).

    sure: it was not listed within the moment of that change, when another one might have the same time.
    listed: when, and took: how long that took, in seconds of a clock that only goes forward.
    """

    folder: Path
    changed: int
    sure: bool
    contents: Mapping[str, Sequence[str]]
    listed: float
    took: float


_last: list[_Listing] = []  # of this process


def _index(*, fresh: bool = False) -> Mapping[str, Sequence[str]]:
    """What the folder of boxes holds. It is listed again where it changed; many entries not before the list was of
    use for a while, as somebody may be writing there for every clip. fresh: as it is now.
    """
    folder, began, clock = home() / "faces", time.monotonic(), time.time_ns()
    try:
        changed = folder.stat().st_mtime_ns
    except OSError:
        return {}
    if not fresh and _last and _last[0].folder == folder:
        known = _last[0]
        unchanged = known.sure and known.changed == changed
        if unchanged or (len(known.contents) >= MANY and began - known.listed < OF_USE * known.took):
            return known.contents
    contents: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names are enough
        content, _, identity = name.removesuffix(SUFFIXES["faces"]).partition("-")
        if name.endswith(SUFFIXES["faces"]) and not name.startswith("."):
            contents.setdefault(content, []).append(sys.intern(identity))
    now = time.monotonic()
    _last[:] = [_Listing(folder, changed, clock - changed > MOMENT, contents, now, now - began)]
    return contents


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
