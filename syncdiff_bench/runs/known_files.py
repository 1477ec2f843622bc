"""sha256 of files that a run rests on, computed again only where size, times or place of a file changed.

RUN/.digests.json remembers them. It holds times, so that it is no part of what two equal runs have in common.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from syncdiff_bench.files import write_whole
from syncdiff_bench.weights.digests import sha256_of

DIGESTS = ".digests.json"

# bytes, modification, change of the inode (ns), inode: `cp -p` keeps the second, a write in place the last
Facts = list[int]


class KnownFiles:
    """The digests of one run directory."""

    def __init__(self, run: Path) -> None:
        self._file = run / DIGESTS
        self._known = _read(self._file)
        self._changed = False

    def sha256(self, path: Path) -> str | None:
        """Hexadecimal digest of a file's content; None where there is no file, or none that can be read."""
        key = os.path.abspath(path)  # noqa: PTH100 - a link stays one
        try:
            facts = _facts(path)
            known = self._known.get(key)
            if known is None or known[0] != facts:
                known = (facts, sha256_of(path))
                self._known[key] = known
                self._changed = True
        except OSError:
            return None
        return known[1]

    def save(self) -> None:
        """Raises UsageError where the run directory cannot be written."""
        if self._changed:
            write_whole(self._file, json.dumps(self._known))
            self._changed = False


def _facts(path: Path) -> Facts:
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise OSError("not a file")
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]


def _read(file: Path) -> dict[str, tuple[Facts, str]]:
    try:
        return {path: (list(facts), str(sha)) for path, (facts, sha) in json.loads(file.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # only time is lost
