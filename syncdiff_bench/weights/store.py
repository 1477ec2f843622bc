"""The weights that are on this machine: one folder, one file per catalogue entry.

A file gets its name only when it is complete and is what the catalogue promises; until then it is a `.part`
that the next attempt continues. The digest of a used file is recorded with the result.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.files import home, locked, put_in_place, replacing
from syncdiff_bench.options import TRUE_WORDS
from syncdiff_bench.weights import digests
from syncdiff_bench.weights.catalog import Catalogue, Entry, Source, UrlSource, installed
from syncdiff_bench.weights.sources import FetchFailed, Progress, fetch

logger = logging.getLogger(__name__)

OFFLINE = "SYNCDIFF_BENCH_OFFLINE"
AUTO_LIMIT = 100_000_000  # bytes that may be fetched without being asked for

State = Literal["here", "missing", "wrong"]


@dataclass(frozen=True)
class Status:
    """One line of `weights list` and `weights verify`.

    sha256: of the file that is here; None where it is missing or was not looked at. problem: in words, else
    "".
    """

    entry: Entry
    path: Path
    state: State
    sha256: str | None = None
    problem: str = ""


def _silent(_done: int, _total: int | None) -> None:
    return None


class WeightsStore:
    """Weights by catalogue name.

    folder: where the files are; `weights` in the folder SYNCDIFF_BENCH_HOME by default.
    catalogue: what exists; that of all installed packages by default.
    """

    def __init__(self, folder: Path | None = None, catalogue: Catalogue | None = None) -> None:
        self.folder = home() / "weights" if folder is None else folder
        self._catalogue = catalogue

    @property
    def catalogue(self) -> Catalogue:
        return installed() if self._catalogue is None else self._catalogue

    # ------------------------------------------------------------------------------------------- reading

    def path(self, name: str) -> Path:
        """The file of that name, checked against its published size and digest.

        Raises UsageError for a name that is in no catalogue, WeightsError (with `missing`) where the file is
        not here, and WeightsError where it is another file than the catalogue promises and was not added with
        --force.
        """
        entry = self.catalogue[name]
        path = self.folder / entry.file
        if not path.is_file():
            raise WeightsError(f"weights {name} missing; {entry.mend}", missing=name)
        problem = _mismatch(entry, path)
        if problem:
            raise WeightsError(f"{path} {problem}; {entry.mend}")
        return path

    def digest(self, name: str) -> str:
        """sha256 of the file that is here, whatever was expected. Raises as `path`."""
        return digests.digest_of(self.path(name)).sha256

    def ensure(self, name: str) -> Path:
        """The file of that name, fetched first where it is small enough for the catalogue to say `auto`.

        Raises as `path`; a fetch that fails counts as missing.
        """
        entry = self.catalogue[name]
        if (self.folder / entry.file).is_file() or not entry.auto or (entry.size or 0) > AUTO_LIMIT or offline():
            return self.path(name)
        size = "size unknown" if entry.size is None else f"{entry.size / 1e6:.1f} MB"
        logger.warning("fetching weights %s (%s), once", name, size)
        try:
            return self.fetch(name)
        except WeightsError as error:
            raise WeightsError(str(error), missing=name) from None

    def status(self) -> tuple[Status, ...]:
        """Every catalogue entry and whether its file is here, by name and size alone."""
        return tuple(self._status(entry, read=False) for entry in self.catalogue.entries.values())

    def verify(self) -> Iterator[Status]:
        """Every catalogue entry; the files that are here are read again from the first byte to the last."""
        return (self._status(entry, read=True) for entry in self.catalogue.entries.values())

    # ------------------------------------------------------------------------------------------- writing

    def fetch(self, name: str, progress: Progress = _silent) -> Path:
        """Fetch the file from the first source that serves what the catalogue promises, unless it is here.

        Raises WeightsError with the reasons of all sources in one line.
        """
        entry = self.catalogue[name]
        target = self.folder / entry.file
        if target.is_file() and not _mismatch(entry, target):
            return target
        if not entry.sources:
            raise WeightsError(f"weights {name}: {entry.mend}")
        if offline():
            raise WeightsError(f"weights {name} missing and {OFFLINE} is set; unset it, or {entry.add}", missing=name)
        with self._writing(), self._claimed(entry):
            if target.is_file() and not _mismatch(entry, target):  # another process was faster
                return target
            self._fetch_from_any(entry, target, progress)
        return target

    def add(self, name: str, file: Path, *, force: bool = False) -> Path:
        """Copy a downloaded file into the store.

        force: keep it even if it is not the published one; results then carry its own digest.
        Raises UsageError for an unknown name and a file that is not there, WeightsError for another file than
        the published one.
        """
        entry = self.catalogue[name]
        if not file.is_file():
            raise UsageError(f"{file}: no such file; give the downloaded weights file of {name}")
        try:
            sha256 = digests.sha256_of(file)
        except OSError as error:
            raise UsageError(f"{file} cannot be read ({error.strerror}); give a readable copy") from None
        problem = _facts(entry, file.stat().st_size, sha256)
        if problem and not force:
            raise WeightsError(f"{file} {problem}; get it from {entry.homepage}, or --force to use this one")
        target = self.folder / entry.file
        with self._writing(), self._claimed(entry):
            if problem:
                digests.accept(target, sha256)
            if not (target.is_file() and target.samefile(file)):
                with replacing(target) as partial:
                    shutil.copyfile(file, partial)
            digests.digest_of(target)
        return target

    # ------------------------------------------------------------------------------------------- details

    def _status(self, entry: Entry, *, read: bool) -> Status:
        path = self.folder / entry.file
        if not path.is_file():
            return Status(entry, path, "missing")
        sha256 = digests.digest_of(path, recompute=True).sha256 if read else None
        problem = _mismatch(entry, path) if read else _facts(entry, path.stat().st_size, entry.sha256)
        return Status(entry, path, "wrong" if problem else "here", sha256, problem)

    def _fetch_from_any(self, entry: Entry, target: Path, progress: Progress) -> None:
        failures = []
        for source in entry.sources:
            try:
                return _fetch_one(entry, source, target, progress)
            except FetchFailed as error:
                failures.append(str(error))
        raise WeightsError(f"weights {entry.name} could not be fetched: {'; '.join(failures)}; {entry.add}")

    def _claimed(self, entry: Entry) -> AbstractContextManager[None]:
        """Nobody else fetches or adds that file; waits for it."""
        return locked(self.folder / f".{entry.file}.lock")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The folder exists; trouble with the disk is told in one line."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise WeightsError(
                f"{self.folder} cannot be written ({reason}); set SYNCDIFF_BENCH_HOME to a folder that can"
            ) from None


def offline() -> bool:
    """Whether the network must not be touched."""
    return os.environ.get(OFFLINE, "").strip().lower() in TRUE_WORDS


def _fetch_one(entry: Entry, source: Source, target: Path, progress: Progress) -> None:
    part = target.with_name(f"{target.name}.part")
    fetch(source, part, progress, entry.size)
    problem = _facts(entry, part.stat().st_size, digests.sha256_of(part))
    if problem:
        part.unlink()
        origin = source.url if isinstance(source, UrlSource) else f"{source.distribution} {source.version}"
        raise FetchFailed(f"what {origin} serves {problem}")
    digests.forget(target)
    put_in_place(part, target)


def _mismatch(entry: Entry, path: Path) -> str:
    """How a file of the store differs from what was published, unless it was added with --force; remembered."""
    size = path.stat().st_size
    if entry.sha256 is None and entry.size in (None, size):
        return ""
    digest = digests.digest_of(path)
    return "" if digest.accepted else _facts(entry, size, digest.sha256)


def _facts(entry: Entry, size: int, sha256: str | None) -> str:
    """How a file differs from what was published, in words; empty where it does not."""
    if entry.size not in (None, size):
        return f"has {size:,} bytes, {entry.size:,} expected for {entry.name}"
    if entry.sha256 not in (None, sha256):
        return f"has sha256 {sha256}, {entry.sha256} expected for {entry.name}"
    return ""
