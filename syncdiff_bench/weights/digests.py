"""sha256 of files, computed once per content and remembered: of weights beside the file, of a run's in one list."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from syncdiff_bench.documents import WrongValue, check, parse_json
from syncdiff_bench.errors import BenchError
from syncdiff_bench.files import replacing, write_whole


@dataclass(frozen=True)
class Digest:
    """What is known about a file as it was at that size (bytes) and modification time (ns).

    accepted: this content was kept under `--force` although another was expected.
    """

    size: int
    mtime_ns: int
    sha256: str
    accepted: bool = False


@dataclass(frozen=True)
class WeightsUsed:
    """A weights file that took part in a result.

    name: in the weights catalogue, or the file's.
    sha256: of its content.
    file: where it lies, so that the conformance suite can hold the digest against it; not needed for a name of the
        catalogue. It is not recorded and takes no part in comparisons.
    published: False for a file that was kept under a name of the catalogue although another is published under it.
    """

    name: str
    sha256: str
    file: Path | None = field(default=None, compare=False, repr=False)
    published: bool = field(default=True, compare=False)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "sha256": self.sha256, **({} if self.published else {"published": False})}


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_in_process(path: Path) -> str:
    """The same, remembered in this process until the file's size or modification time changes. Raises OSError."""
    facts = path.stat()
    return _sha256_as_it_was(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(4096)
def _sha256_as_it_was(path: Path, _size: int, _mtime_ns: int) -> str:
    return sha256_of(path)


def digest_of(path: Path, *, recompute: bool = False) -> Digest:
    """The digest of a file, remembered until its size or modification time changes."""
    facts = path.stat()
    known = _remembered(path)
    if known is None or (known.size, known.mtime_ns) != (facts.st_size, facts.st_mtime_ns) or recompute:
        sha256 = sha256_of(path)
        # 0.1.0 kept what was accepted in this note alone
        accepted = known is not None and known.accepted and known.sha256 == sha256
        known = Digest(facts.st_size, facts.st_mtime_ns, sha256, accepted)
        with suppress(BenchError):  # a store that cannot be written to is read all the same
            write_whole(_note(path), json.dumps(asdict(known)))
    return replace(known, accepted=known.accepted or _accepted(path) == known.sha256)


def accept(path: Path, sha256: str) -> None:
    """Note that this content may stand at `path` although another is expected.

    A note of its own, by content: who notes the digest of an earlier file meanwhile does not undo it.
    Raises OSError.
    """
    with replacing(_acceptance(path)) as partial:
        partial.write_text(sha256, encoding="utf-8")


def forget(path: Path) -> None:
    """Remove the notes of a file that is replaced."""
    for note in (_note(path), _acceptance(path)):
        note.unlink(missing_ok=True)


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256.json")


def _acceptance(path: Path) -> Path:
    return path.with_name(f"{path.name}.accepted")


def _accepted(path: Path) -> str:
    """The sha256 that `accept` noted; "" for none."""
    try:
        return _acceptance(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _remembered(path: Path) -> Digest | None:
    try:
        known = parse_json(_note(path).read_bytes())
        check(known, Digest)
    except (OSError, WrongValue):
        return None
    return Digest(**known)


# bytes, modification, change of the inode (ns), inode: `cp -p` keeps the second, a write in place the last
Facts = list[int]


class KnownFiles:
    """sha256 of files, computed again only where size, times or place of a file changed.

    file: remembers them from one process to the next. It holds times: two equal runs do not have it in common.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._changed = False

    @cached_property
    def _known(self) -> dict[str, tuple[Facts, str]]:
        try:
            known = parse_json(self._file.read_bytes())
            check(known, Mapping[str, tuple[Sequence[int], str]])
        except (OSError, WrongValue):
            return {}  # only time is lost
        return {path: (facts, sha256) for path, (facts, sha256) in known.items()}

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

    def unchanged(self, *paths: str | Path) -> bool:
        """Whether all these files are remembered and are what they were then."""
        try:
            return all((known := self._known.get(os.path.abspath(one))) and known[0] == _facts(one) for one in paths)  # noqa: PTH100
        except OSError:
            return False

    def remember(self, path: Path, sha256: str) -> None:
        """Take over what somebody else found just now."""
        with suppress(OSError):
            self._known[os.path.abspath(path)] = (_facts(path), sha256)  # noqa: PTH100
            self._changed = True

    def save(self) -> None:
        """Raises UsageError where the file cannot be written."""
        if self._changed:
            write_whole(self._file, json.dumps(self._known))
            self._changed = False


def _facts(path: str | Path) -> Facts:
    facts = os.stat(path)  # noqa: PTH116 - of tens of thousands
    if not stat.S_ISREG(facts.st_mode):
        raise OSError("not a file")
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
