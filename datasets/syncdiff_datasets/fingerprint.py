"""One digest that says which clips a result was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from syncdiff_bench.errors import UsageError

# An LRS clip is 50 to 200 kB, so most of one is read; a whole training split would take minutes otherwise.
CHUNK = 32 * 1024


def fingerprint_clips(clips: Iterable[tuple[str, list[Path]]]) -> str:
    """sha256 (hex) over all clips sorted by id: id, and size, first and last 32 KiB of each of its files.

    clips: (id, its files in a fixed order: video, transcript, boxes); a file that is not there counts as
    missing, so that the digest changes when it appears. Not seen: a change that keeps the size and touches
    only bytes more than 32 KiB away from both ends. Neither folder names above the dataset nor times enter.
    Raises UsageError for a file whose name no record can hold.
    """
    digest = hashlib.sha256()
    for clip_id, files in sorted(clips):
        try:
            digest.update(f"{clip_id}\0".encode())
        except UnicodeEncodeError:
            shown = clip_id.encode("utf-8", "backslashreplace").decode()
            raise UsageError(f"{shown}: the name of this file is not UTF-8; rename it") from None
        for path in files:
            digest.update(_file_digest(path))
    return digest.hexdigest()


def _file_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            digest.update(f"{size}\0".encode())
            digest.update(file.read(CHUNK))
            file.seek(max(CHUNK, size - CHUNK))
            digest.update(file.read(CHUNK))
    except OSError:
        digest.update(b"missing")
    return digest.digest()
