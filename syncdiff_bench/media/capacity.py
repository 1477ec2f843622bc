"""How much memory a clip may take. A film in the folder must fail alone instead of taking the machine with it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from syncdiff_bench.errors import ClipError

# What scoring a clip takes beside its reference, in bytes of its RGB frames (measured; docs/protocols.md).
SCORED_PAIR = 4.5
SHARE = 0.75  # of the machine's memory
UNKNOWN_MACHINE = 8 * 1024**3


@cache
def memory_limit() -> int:
    """Bytes that one pair of clips may take."""
    try:
        return int(SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # no POSIX
        return UNKNOWN_MACHINE


def refuse_too_long(n_frames: int, pixels: int, path: Path) -> None:
    """Raises ClipError `too-long` where so many pictures of so many pixels are more than the machine holds."""
    if 3 * n_frames * pixels * SCORED_PAIR > memory_limit():
        limit = memory_limit() / 1024**3
        raise ClipError(
            "too-long",
            f"{path}: {n_frames:,} pictures or more would take over {limit:.3g} GiB to score; "
            "cut it into clips of some seconds",
        )
