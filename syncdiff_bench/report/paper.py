"""The published tables: what a paper printed, and which measurement of ours may stand beside it.

The numbers live in `paper/*.toml` of packages that register under the entry-point group
`syncdiff_bench.report` (name = package), once each: what recurs names its first place with `same_as` or
`values_from`. `paper_format` documents the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from typing import Literal

from syncdiff_bench.errors import UsageError
from syncdiff_bench.judges import Judge

ENTRY_POINT_GROUP = "syncdiff_bench.report"

OptionValue = str | int | float | bool
PaperValue = float | None  # None: the paper prints N/A


@dataclass(frozen=True)
class PaperColumn:
    """One column, and the only measurement that may be compared with it.

    key: name of the column inside the table ("lse_c").
    label: as printed ("LSE-C").
    metric, protocol, column: the entry of a run's summary that measures the same thing.
    direction: which way is better.
    decimals: digits after the point, as the paper prints them.
    judge: whose numbers alone stand here, where those of several weights or versions are shown; None for anybody's.
    """

    key: str
    label: str
    metric: str
    protocol: str
    column: str
    direction: Literal["up", "down"]
    decimals: int
    judge: Judge | None = None


@dataclass(frozen=True)
class System:
    """What a row measured: a method and the options that set it apart from the method's defaults.

    options: sorted (name, value) pairs. Those of a run must contain them for the run to be of this system.
    trained_against: metrics whose judge the method was trained to please; no part of what tells systems apart.
    """

    method: str
    options: tuple[tuple[str, OptionValue], ...] = ()
    trained_against: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True)
class PaperRow:
    """One row: the system it measured, and its values.

    values: dataset -> column key -> value as printed (None for N/A).
    topline: a bound (ground truth, reconstruction) that takes no part in best and second best.
    """

    key: str
    label: str
    system: System
    values: Mapping[str, Mapping[str, PaperValue]]
    topline: bool = False


@dataclass(frozen=True)
class PaperTable:
    """One table of a paper.

    datasets: in printed order; the values of a row are those of one of them. split: what the paper scored of each.
    stub: header of the row labels. caption: the paper's. title: ours, short.
    ranks_marked: 0 none, 1 the best of a column is marked, 2 the second best as well.
    open: methods that are not in the paper get a row of their own.
    notes: what a reader must know about the printed numbers.
    """

    number: int
    title: str
    caption: str
    stub: str
    datasets: tuple[str, ...]
    columns: tuple[PaperColumn, ...]
    rows: tuple[PaperRow, ...]
    ranks_marked: int = 1
    open: bool = False
    notes: tuple[str, ...] = field(default=())
    split: str = "test"


def tables() -> tuple[PaperTable, ...]:
    """All tables of all installed leaderboard packages, by number.

    Raises UsageError naming package, file and key where one of them is not in order, or where two packages
    bring a table of the same number.
    """
    found: dict[int, tuple[str, PaperTable]] = {}
    for package in leaderboard_packages():
        for one in package_tables(package):
            if one.number in found:
                first = found[one.number][0]
                raise UsageError(f"table {one.number} comes from {first} and {package}; uninstall one of them")
            found[one.number] = (package, one)
    return tuple(one for _, (_, one) in sorted(found.items()))


def table(number: int) -> PaperTable:
    """The table of that number. Raises UsageError naming the known ones."""
    known = {one.number: one for one in tables()}
    if number not in known:
        numbers = ", ".join(map(str, known)) or "none: no leaderboard package is installed"
        raise UsageError(f"there is no table {number}; known tables: {numbers}")
    return known[number]


def leaderboard_packages() -> tuple[str, ...]:
    """Importable names of the packages that bring tables, in the order of their entry-point names."""
    points = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)
    return tuple(dict.fromkeys(point.value for point in points))


@cache
def package_tables(package: str) -> tuple[PaperTable, ...]:
    """The tables in `paper/*.toml` of one package, by number, checked; none where it has no such folder.

    Raises UsageError where the package is missing or a file of it is not in order.
    """
    from syncdiff_bench.report.paper_format import parse_tables

    return parse_tables(package, toml_files(package, "paper"))


def toml_files(package: str, folder: str) -> dict[str, bytes]:
    """Name -> content of the TOML files in a folder of a leaderboard package; none where it has no such folder.

    Raises UsageError where the package is missing or a file cannot be read.
    """
    try:
        entries = files(package) / folder
        if not entries.is_dir():
            return {}
        return {entry.name: entry.read_bytes() for entry in entries.iterdir() if entry.name.endswith(".toml")}
    except (ImportError, OSError) as error:
        raise UsageError(
            f"leaderboard package {package} has no readable {folder}/ folder: {error}; reinstall it"
        ) from None
