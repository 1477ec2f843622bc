"""What lies below a folder: files that can be read, and by its name whatever looks like one and is none.

A file of a data set is found whichever way the letters of its name are composed (Unicode NFC, NFD) and its suffix is
written; ids are composed (NFC), so that a copy on another system has the same ones.
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

# Bytes of a file name: most file systems end at 255, and a file made from it gets a longer name while it is written.
LONGEST_NAME = 220
SHOWN_NAME = 100  # letters of a name that is too long
KINDS = (
    *((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket")),
    *((stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device")),
)


@dataclass(frozen=True)
class Oddity:
    """A name below a folder that is no file to be read.

    name: relative, with forward slashes; bytes that are no UTF-8 as `\\xe9`.
    reason: why, "is a named pipe".
    lost: what it stands for cannot be used, rather than lying elsewhere.
    """

    name: str
    reason: str
    lost: bool = True

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


@dataclass(frozen=True)
class Listing:
    """files: paths relative to the folder as they are on disk, with forward slashes, sorted. odd: sorted by name."""

    files: tuple[str, ...]
    odd: tuple[Oddity, ...]


def listing(root: Path, suffixes: Collection[str]) -> Listing:
    """The files below a folder whose suffix, in small letters, is one of these: regular ones, and links to such below
    the folder.

    Everything else of such a suffix is odd, and so are folders that cannot be read, links to folders, which are not
    followed, and names that are no UTF-8, hold a backslash or are too long. Hidden names are passed over. Raises
    nothing.
    """
    files: list[str] = []
    odd: list[Oddity] = []
    folders = [(root, "")]
    while folders:
        folder, prefix = folders.pop()
        for entry in _entries(folder, prefix, odd):
            name = prefix + entry.name
            shown = shown_name(name)
            wanted = PurePosixPath(entry.name).suffix.lower() in suffixes
            if entry.is_dir(follow_symlinks=False):
                if reason := _unusable(entry.name):
                    odd.append(Oddity(shown, reason))
                    continue
                folders.append((folder / entry.name, f"{name}/"))
                if wanted:
                    odd.append(Oddity(shown, "is a folder", lost=False))
            elif entry.is_symlink() and is_folder(Path(entry.path)):
                odd.append(Oddity(shown, "is a link to a folder and not followed", lost=False))
            elif wanted:
                plain = entry.is_file(follow_symlinks=False)
                reason = _unusable(entry.name) or ("" if plain else why_no_file(Path(entry.path), root))
                if reason:
                    odd.append(Oddity(shown, reason))
                else:
                    files.append(name)
    return Listing(tuple(sorted(files)), tuple(sorted(odd, key=lambda one: one.name)))


def _entries(folder: Path, prefix: str, odd: list[Oddity]) -> Iterator[os.DirEntry[str]]:
    """What a folder holds that is not hidden; one that cannot be read is odd."""
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError as error:
        odd.append(Oddity(shown_name(prefix) or "./", f"cannot be read ({error.strerror})"))
        return
    yield from (entry for entry in entries if not entry.name.startswith("."))


def _unusable(name: str) -> str:
    """Why no file is to have this name, "" where it may."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    if "\\" in name:
        return "has a backslash in its name, which elsewhere stands between folders"
    return f"has a name of over {LONGEST_NAME} bytes" if len(encoded) > LONGEST_NAME else ""


def shown_name(name: str) -> str:
    r"""A name on disk as text that can be written anywhere: bytes that are no UTF-8 by their number, the end of a long
    one left out.

    >>> shown_name("caf\udce9.mp4")
    'caf\\xe9.mp4'
    """
    folder, slash, last = os.fsencode(name).decode("utf-8", "backslashreplace").rpartition("/")
    return folder + slash + (last if len(last) <= LONGEST_NAME else f"{last[:SHOWN_NAME]}…")


def why_no_file(path: Path, within: Path | None = None) -> str:
    """Why nothing can be read there, to stand behind the name ("is a named pipe"); "" for a regular file.

    within: a folder that links are not to lead out of. Opens nothing, and raises nothing.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        return _missing(path, error)
    if not stat.S_ISREG(mode):
        return f"is {next((words for is_one, words in KINDS if is_one(mode)), 'no regular file')}"
    return "" if within is None or leads_below(path, within) else f"is a link that leads out of {within}"


def _missing(path: Path, error: OSError | ValueError) -> str:
    if getattr(error, "errno", None) == errno.ELOOP:
        return "is a link that leads in a circle"
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    return "is a link to nothing" if os.path.lexists(path) else "does not exist"


def is_folder(path: Path) -> bool:
    """Whether a folder is there; of a path that cannot be, no error but False."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for a name that is too long


def leads_below(path: Path, folder: Path) -> bool:
    """Whether a path, all links followed, lies in the folder."""
    text, base = str(path.absolute()), _real(str(folder.absolute()))
    parent, _, name = text.rpartition(os.sep)
    followed = name == ".." or os.path.islink(text)  # noqa: PTH114 - Path raises for some names
    real = os.path.realpath(text) if followed else f"{_real(parent or os.sep).rstrip(os.sep)}{os.sep}{name}"
    return real == base or real.startswith(base.rstrip(os.sep) + os.sep)


@lru_cache(4096)
def _real(folder: str) -> str:
    """Where a folder leads; looked up once, as many clips lie in one."""
    return os.path.realpath(folder)


# ---------------------------------------------------------------------------------------------- spelling


def composed(text: str) -> str:
    """Letters with their accents as one character where there is one (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def spelled(folder: Path, relative: str) -> Path:
    """`folder / relative` as it is spelled on disk: composed or not, the suffix in any case; as given if not there."""
    path = Path(f"{folder}{os.sep}{relative}")
    if os.path.lexists(path) or not (parts := PurePosixPath(relative).parts):
        return path
    for part in parts[:-1]:
        folder /= _spellings(folder).get(composed(part), part)
    return folder / _spellings(folder).get(_key(parts[-1]), parts[-1])


def _key(name: str) -> str:
    path = PurePosixPath(composed(name))
    return path.stem + path.suffix.lower()


def _spellings(folder: Path) -> dict[str, str]:
    """Names in a folder by how they compare; none where it cannot be read."""
    try:
        return _spellings_of(str(folder.absolute()), folder.stat().st_mtime_ns)
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=256)
def _spellings_of(folder: str, changed: int) -> dict[str, str]:
    del changed  # what the folder holds is another thing since
    names = sorted((path.name for path in Path(folder).iterdir()), reverse=True)
    return {key: name for name in names for key in (_key(name), composed(name))}
