"""Finding a dataset below the folder that the user named, and staying inside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.files import read_text_file

# Depth to which the dataset is searched below --data-root: the dataset itself, its parent, its grandparent.
SEARCH_DEPTH = 2


def required_root(root: Path | None, dataset: str) -> Path:
    """The folder given by the user. Raises UsageError where there is none or it is not a folder."""
    if root is None:
        raise UsageError(f"dataset {dataset} lies on your disk: say where with --data-root DIR")
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise UsageError(f"{root}: {what}; say where dataset {dataset} is with --data-root DIR")
    return root


def find_layout(root: Path, markers: Sequence[str], dataset: str) -> Path:
    """The folder at or below `root` (two levels at most) that holds one of the folders `markers`.

    Raises UsageError where there is none (and says what was looked for) or more than one at the same depth.
    """
    level = [root]
    for _ in range(SEARCH_DEPTH + 1):
        found = [folder for folder in level if any((folder / marker).is_dir() for marker in markers)]
        if len(found) > 1:
            names = ", ".join(str(folder) for folder in found[:4])
            raise UsageError(f"{root} holds more than one {dataset}: {names}; give one of them with --data-root")
        if found:
            return found[0]
        level = [child for folder in level for child in _visible_folders(folder)]
    wanted = " or ".join(f"{marker}/" for marker in markers)
    raise UsageError(
        f"{root}: no {dataset} here: looked for a folder holding {wanted}, {SEARCH_DEPTH} levels deep; "
        "give the right folder with --data-root"
    )


def _visible_folders(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    except OSError:
        return []


def safe_relative(text: str, where: str) -> str:
    """`text` as a relative forward-slash path that stays below its folder.

    where: what to blame in the message ("test.txt line 7").
    Raises UsageError for an absolute path, a drive, a backslash, or a `..`: such an id would also name an
    output file.
    """
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text or ":" in text or not path.parts:
        raise UsageError(f"{where}: '{text}' leaves the dataset; write ids as folder/clip, relative and without '..'")
    return path.as_posix()


def contained(base: Path, relative: str) -> Path:
    """`base / relative`. Raises ClipError `outside` where a link leads out of `base`."""
    path = base / relative
    if not path.resolve().is_relative_to(base.resolve()):
        raise ClipError("outside", f"{path}: is a link that leads out of {base}; put the file itself there")
    return path


def examples(items: Sequence[str], n: int = 3) -> str:
    """The first few of many, for a message: "a, b, c and 7 more"."""
    more = f" and {len(items) - n:,} more" if len(items) > n else ""
    return ", ".join(islice(items, n)) + more


def list_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, first token) of every line of a split list that is not blank.

    Raises UsageError where the list is no text.
    """
    for number, line in enumerate(read_text_file(path).text.splitlines(), start=1):
        if tokens := line.split():
            yield number, tokens[0]
