"""Which columns and rows a table shows, in which order and by which names: `--show`, `--rows` and `--label`.

What builds a table takes a `Choice`: the leaderboard (`leaderboard.boards`), and through it every writer and the HTML
page; the paper's tables (`joined.join`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from syncdiff_bench.errors import UsageError
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.texts import split_list

REFERENCE = "reference"  # what figures call the dataset's own clips; no row has this name
RANK, COUNT = "rank", "n"  # columns of a leaderboard that no metric makes


@dataclass(frozen=True)
class Choice:
    """What a table shows.

    - show: columns in this order, by the name of a column ("lse_c"), of a metric ("lse"), either with a protocol
      ("lse[lrs]"), a heading ("LSE-C"), or "speed", "n", "rank"; none for all but speed. An item may be a list with
      commas
    - rows: runs in this order, by label, method, title or folder; none for all of them, bounds first, then by rank.
      An item that is no name may be a list with commas
    - intervals: whether the 95 % interval stands behind a mean
    - second_best: whether the second best of a column is marked too, where three or more compete
    - ranks: whether there is a column of ranks, where `show` does not say
    """

    show: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    intervals: bool = True
    second_best: bool = False
    ranks: bool = True


EVERYTHING = Choice()


@dataclass(frozen=True)
class Item:
    """Something to choose. told: its own name. names: others that it may share."""

    told: str
    names: tuple[str, ...] = ()


def picked(wanted: Sequence[str], items: Sequence[Item]) -> tuple[list[int], list[str]]:
    """Indices of the items that these texts name, in their order, each once; and the texts that name none.

    >>> items = [Item("psnr[full]", ("psnr",)), Item("lse_c", ("lse",)), Item("lse_d", ("lse",))]
    >>> picked(["LSE-D, psnr", "lse", "fid"], items)
    ([2, 0, 1], ['fid'])
    """
    found: dict[int, None] = {}
    unknown = []
    for text in wanted:
        for one in [text] if _named(text, items) else split_list(text):
            here = _named(one, items)
            found.update(dict.fromkeys(here))
            unknown += [] if here else [one]
    return list(found), unknown


def _named(text: str, items: Sequence[Item]) -> list[int]:
    """Those of this very name; else those that share it; else those of one in other letters, as LSE-C is lse_c."""
    own = [index for index, item in enumerate(items) if text == item.told]
    shared = [index for index, item in enumerate(items) if text in item.names]
    folded = _folded(text)
    alike = [index for index, item in enumerate(items) if folded in map(_folded, (item.told, *item.names))]
    return own or shared or alike


def refuse_unknown(option: str, what: str, unknown: Sequence[Sequence[str]], items: Iterable[Item]) -> None:
    """Raises UsageError for a text that names nothing in any of several tables. unknown: of each table."""
    for text in unknown[0] if unknown else ():
        if all(text in others for others in unknown):
            there = ", ".join(dict.fromkeys(item.told for item in items)) or "none"
            raise UsageError(f"{option} {text}: there is no such {what}; there are {there}")


def _folded(text: str) -> str:
    return " ".join(text.split()).lower().replace("-", "_")


def labelled(runs: Sequence[Run], labels: Sequence[str]) -> list[Run]:
    """The runs by the names that tables shall call them.

    labels: `RUN=NAME`; RUN is the folder of a run, or a method that one of the runs is of.
    Raises UsageError for a label that is of none of the runs, or of several.
    """
    names: dict[int, str] = {}
    for text in labels:
        which, _, name = text.rpartition("=")
        if not which or not name.strip():
            raise UsageError(f"--label {text}: expected RUN=NAME")
        there = [i for i, run in enumerate(runs) if run.path.resolve() == Path(which).resolve()]
        of_method = [i for i, run in enumerate(runs) if run.identity.method == which]
        meant = there or of_method
        if not there and len(meant) > 1:
            folders = ", ".join(str(runs[i].path) for i in meant)
            raise UsageError(f"--label {which}: {len(meant)} runs are of it; say which by its folder: {folders}")
        if not meant:
            known = ", ".join(str(run.path) for run in runs)
            raise UsageError(f"--label {which}: is none of the runs {known}")
        names.update(dict.fromkeys(meant, name.strip()))
    return [replace(run, label=names.get(i, run.label)) for i, run in enumerate(runs)]


def row_names(runs: Sequence[Run], *, titled: bool = False) -> tuple[str, ...]:
    """The label, else the method, and as many folders of its path as tell the runs apart: "static (b/seed-0)".

    titled: the method by its title, "First frame repeated (b/seed-0)", where it has one.
    No two are equal, and none is REFERENCE.
    """
    methods = [run.label or (titled and run.identity.title) or run.identity.method for run in runs]
    folders = [run.path.resolve().parts[1:] for run in runs]
    # A folder of the method's own name says nothing; another one is always shown.
    own = [parts[-1:] == (run.label or run.identity.method,) for parts, run in zip(folders, runs, strict=True)]
    folders = [parts[:-1] if named else parts for parts, named in zip(folders, own, strict=True)]
    shown = [0 if run.label or named else 1 for run, named in zip(runs, own, strict=True)]
    while True:
        tails = [parts[len(parts) - n :] for parts, n in zip(folders, shown, strict=True)]
        names = [f"{m} ({'/'.join(tail)})" if tail else m for m, tail in zip(methods, tails, strict=True)]
        counts = Counter([REFERENCE, *names])
        alike = [i for i, name in enumerate(names) if counts[name] > 1 and shown[i] < len(folders[i])]
        if not alike:
            break
        for i in alike:
            shown[i] += 1
    seen: Counter[str] = Counter()  # one run given twice: only a number tells its rows apart
    for i, name in enumerate(names):
        seen[name] += 1
        names[i] = name if seen[name] == 1 else f"{name} #{seen[name]}"
    return tuple(names)
