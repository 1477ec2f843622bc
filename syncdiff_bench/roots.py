"""Where data sets lie on this machine: what --data-root says, else `data add`, else the variable SYNCDIFF_BENCH_DATA.

`data add` keeps a file in the user's home of this project, one line `lrs2=/data/mvlrs_v1` for each data set; a line
that begins with # is a comment.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from syncdiff_bench import registry
from syncdiff_bench.contracts import Dataset
from syncdiff_bench.errors import UsageError, shown
from syncdiff_bench.faults import contained
from syncdiff_bench.files import home, locked, unwritable, write_whole
from syncdiff_bench.listing import is_folder

VARIABLE = "SYNCDIFF_BENCH_DATA"
GIVEN, ADDED = "--data-root", "data add"  # sources, beside the variable
FILE = "data-roots.txt"


@dataclass(frozen=True)
class Root:
    """A folder that is the data set or a parent of it. source: who says so: GIVEN, ADDED or VARIABLE."""

    folder: Path
    source: str

    def __str__(self) -> str:
        return f"{self.folder} (by {self.source})"


@dataclass(frozen=True)
class Known:
    """What is known of a data set, or a part of what was said that cannot be used.

    dataset: "" where a folder of the variable or a line of the file names none. problem: in words, "" where there is
    none. line: of the file, 0 for the variable.
    """

    dataset: str
    folder: str
    source: str
    problem: str = ""
    line: int = 0


def ways(dataset: str) -> str:
    """The three ways to say where a data set lies, for a message."""
    return f"--data-root DIR, once `syncdiff-bench data add {dataset} DIR`, or {VARIABLE}=DIR"


def root_of(cls: type[Dataset], given: Path | None = None) -> Root | None:
    """Where a data set lies; None for an embedded one of which nothing was given.

    given: the folder of --data-root.
    Raises UsageError where nobody says it, and where the folder that somebody names is not there.
    """
    if given is not None:
        return Root(_there(given, f"{GIVEN} {given}", cls.name), GIVEN)
    if cls.embedded:
        return None
    lines = _added()
    for one in reversed(lines):  # of two lines the later one
        if one.dataset == cls.name:
            where = f"line {one.line} of {file()}"
            if one.problem:
                raise UsageError(f"{where}: {one.problem}; give {ways(cls.name)}")
            return Root(_there(Path(one.folder), f"{one.folder} ({where})", cls.name), ADDED)
    for folder in folders_of_variable():
        if found := _found_in(folder, cls):
            return Root(found, VARIABLE)
    broken = [f"; line {one.line} of {file()}: {one.problem}" for one in lines if not one.dataset]
    raise UsageError(f"dataset {cls.name!r} needs its folder: {ways(cls.name)}{_why_not(cls)}{''.join(broken[:1])}")


def is_known(dataset: str) -> bool:
    """Whether a data set of that name can be opened without --data-root."""
    cls = _class_of(dataset)
    try:
        return cls is not None and (root_of(cls) is not None or cls.embedded)
    except UsageError:
        return False


def root_again(cls: type[Dataset], given: Path | None, before: Path | None) -> Path | None:
    """The folder for what was made earlier: `given`, else where it lay then, else where it is known to lie now.

    Raises UsageError as `root_of`; where nothing else is known, of the folder in which it lay.
    """
    if given is not None or before is None or is_folder(before):
        return given or before
    try:
        now = root_of(cls)
    except UsageError:
        now = None
    return _there(before, f"{before}, where {cls.name} was", cls.name) if now is None else now.folder


def all_known() -> Iterator[Known]:
    """Every line of the file, and what the folders of the variable hold beside; with what is wrong. Raises UsageError
    where the file cannot be read.
    """
    named, added = registry.names("dataset"), _added()
    for one in added:
        problem = one.problem
        if not problem and one.dataset not in named:
            problem = f"unknown data set; install its package, or syncdiff-bench data remove {one.dataset}"
        elif not problem and not is_folder(Path(one.folder)):
            problem = f"{_state(Path(one.folder))}; mount it, or syncdiff-bench data add {one.dataset} DIR"
        yield Known(one.dataset, one.folder, one.source, problem, one.line)
    for folder in folders_of_variable():
        if not is_folder(folder):
            yield Known("", str(folder), VARIABLE, f"{_state(folder)}; correct {VARIABLE}")
    for name in named:
        cls = None if name in {one.dataset for one in added} else _class_of(name)
        if cls is not None and not cls.embedded:
            found = (_found_in(folder, cls) for folder in folders_of_variable())
            if first := next(filter(None, found), None):
                yield Known(name, str(first), VARIABLE)


def add(dataset: str, folder: Path) -> str:
    """Keep a line for a data set; returns the folder that it had before, "" for none.

    Raises UsageError for a folder that no line can hold, and where the file cannot be written.
    """
    text = f"{dataset}={folder.absolute()}"
    try:
        (kept,) = map(_line, [1], [text.encode()])
    except UnicodeEncodeError:
        kept = None
    if kept is None or (kept.dataset, kept.folder) != (dataset, str(folder.absolute())) or "\n" in text or "\r" in text:
        raise UsageError(
            f"{folder}: no line of a file can hold this name; rename it, or give it with {GIVEN} or {VARIABLE}"
        )
    return _rewritten(dataset, text.encode())


def remove(dataset: str) -> str:
    """Delete the line of a data set; returns the folder that it had. Raises UsageError where there is none."""
    before = _rewritten(dataset)
    if not before:
        names = ", ".join(one.dataset for one in _added() if one.dataset)
        raise UsageError(f"{file()} has no line of data set {dataset!r}; it has {names or 'none'}")
    return before


def file() -> Path:
    """Where `data add` writes."""
    return home() / FILE


# ------------------------------------------------------------------------------------------------ the file


def _added() -> list[Known]:
    """The lines of the file, in their order. Raises UsageError where it cannot be read."""
    rows = enumerate(_raw_lines(), start=1)
    return [_line(number, raw) for number, raw in rows if raw.strip() and not raw.lstrip().startswith(b"#")]


def _raw_lines() -> list[bytes]:
    try:
        return file().read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{file()} cannot be read ({error.strerror}); mend that, or give {GIVEN} DIR") from None


def _line(number: int, raw: bytes) -> Known:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return Known("", "", ADDED, "is not UTF-8; delete it, then syncdiff-bench data add NAME DIR", number)
    name, _, folder = (part.strip() for part in text.partition("="))
    if not name or not Path(folder).is_absolute() or "\0" in folder:
        problem = f"{shown(text)} is not NAME=FOLDER, an absolute path; correct or delete it"
        return Known(name if folder else "", folder, ADDED, problem, number)
    return Known(name, folder, ADDED, "", number)


def _rewritten(dataset: str, line: bytes = b"") -> str:
    """Replace the lines of a data set; the folder that the last of them named, "" for none. Raises UsageError."""
    try:
        file().parent.mkdir(parents=True, exist_ok=True)
        with locked(file().with_name(f".{FILE}.lock")):
            rows = [(raw, _line(1, raw)) for raw in _raw_lines()]
            of_it = [one.folder for _, one in rows if one.dataset == dataset]
            kept = [*(raw for raw, one in rows if one.dataset != dataset), *([line] if line else [])]
            if line or of_it:
                write_whole(file(), b"".join(raw + b"\n" for raw in kept), "SYNCDIFF_BENCH_HOME")
            return of_it[-1] if of_it else ""
    except OSError as error:
        raise unwritable(file(), error, "SYNCDIFF_BENCH_HOME") from None


# -------------------------------------------------------------------------------------------- the variable


def folders_of_variable() -> list[Path]:
    """Absolute, there or not."""
    parts = os.environ.get(VARIABLE, "").split(os.pathsep)
    return [Path(os.path.expanduser(part)).absolute() for part in parts if part.strip()]  # noqa: PTH111 - never raises


def _found_in(folder: Path, cls: type[Dataset]) -> Path | None:
    """A data set that is this folder or lies in it under a usual name; None where there is none.

    Of several that are called so, the first whose splits the class can tell, else the first. A folder of another name
    is it where the class finds the clips of its default split there.
    """
    called = [one for one in (folder, *_children(folder)) if _plain(one.name) in _usual_names(cls)]
    for one in called:
        if _dataset_at(one, cls):
            return one
    if called:
        return called[0]
    return folder if not cls.any_folder and _dataset_at(folder, cls, whole=True) else None


def _dataset_at(folder: Path, cls: type[Dataset], *, whole: bool = False) -> bool:
    """Whether the class finds splits there. whole: the first clip of its default split."""
    try:
        with contained():
            dataset = cls(folder)
            if not whole:
                return bool(dataset.splits())
            dataset.clip_without_words(dataset.clip_ids(cls.default_split)[0])
            return True
    except Exception:  # of a class of anybody: it does not find itself there
        return False


def _usual_names(cls: type[Dataset]) -> dict[str, str]:
    """How its folder is called, as `_plain` and as it is shown. A subclass is another data set, of another name."""
    return {_plain(name): name for name in (cls.name, *vars(cls).get("folder_names", ()))}


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-")


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if is_folder(child))
    except OSError:
        return []


def _why_not(cls: type[Dataset]) -> str:
    """Why the variable, where it is set, tells nothing of a data set."""
    folders = folders_of_variable()
    if not folders:
        return ""
    gone = [folder for folder in folders if not is_folder(folder)]
    if gone:
        return f" ({VARIABLE} names {gone[0]}, which {_state(gone[0])})"
    where, called = os.pathsep.join(map(str, folders)), " or ".join(_usual_names(cls).values())
    return f" ({VARIABLE} is {where}, where no folder {called} is)"


# ------------------------------------------------------------------------------------------------- folders


def _there(folder: Path, told: str, dataset: str) -> Path:
    """The folder. told: how a message calls it. Raises UsageError where there is none."""
    if is_folder(folder):
        return folder
    raise UsageError(f"{told}: {_state(folder)}; give the folder of {dataset}, or its parent: {ways(dataset)}")


def _state(folder: Path) -> str:
    return "is not a folder" if os.path.lexists(folder) else "does not exist"


def _class_of(name: str) -> type[Dataset] | None:
    """The class of a data set; None where its plugin is broken, which others tell."""
    try:
        found: type[Dataset] = registry.load_class("dataset", name)
    except UsageError:
        return None
    return found
