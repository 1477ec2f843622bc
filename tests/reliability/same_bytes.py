"""Two folders compared byte for byte. What may differ between two runs of one command is said here, and nowhere else."""

from __future__ import annotations

import re
from itertools import zip_longest
from pathlib import Path

# Files about this machine and this minute: locks, what was remembered of files by inode and time, what stages took.
EXEMPT_FILES = re.compile(r"(^|/)(\.lock[^/]*|\.[^/]*\.lock|\.digests\.json|times/[^/]+\.json)$")
# Fields: when a run began and ended, how fast a training went, and how old a file of weights is beside its digest.
EXEMPT_FIELDS = {
    re.compile(r"(^|/)run\.json$"): re.compile(rb'"(started|finished)": "[^"]*"'),
    re.compile(r"(^|/)log\.jsonl$"): re.compile(rb'"steps_per_s": [0-9.e-]+'),
    re.compile(r"^home/weights/[^/]+\.sha256\.json$"): re.compile(rb'"mtime_ns": [0-9]+'),
}


def contents(folder: Path) -> dict[str, bytes]:
    """Relative path -> bytes of every file but the exempt ones, exempt fields blanked."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not EXEMPT_FILES.search(name):
            data = path.read_bytes()
            for files, fields in EXEMPT_FIELDS.items():
                data = fields.sub(b'"exempt"', data) if files.search(name) else data
            found[name] = data
    return found


def differences(ours: dict[str, bytes], theirs: dict[str, bytes]) -> dict[str, int]:
    """File -> bytes that differ, of files that are not the same; one that is not there differs in all its bytes, and
    counts as one where it has none.
    """
    found = {}
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        if mine != other:
            found[name] = max(1, sum(a != b for a, b in zip_longest(mine or b"", other or b"")))
    return found
