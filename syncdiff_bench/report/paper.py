"""The published tables: what a paper printed, and which measurement of ours may stand beside it. A table with a name is
no paper's: its rows have no values.

They live in `paper/*.toml` of the leaderboard packages, one file per table, checked key by key. A number that recurs
names its first place with `same_as` or `values_from`.

    schema = 1
    number = 3                       # unique among all tables
    name = "beyond"                  # optional: what a table that is not a paper's is called
    title, caption, stub             # texts
    datasets = ["lrs2"]
    split = "test"                   # optional ("test"): what the values are about
    ranks_marked = 2                 # 0 | 1 | 2, optional (1)
    open = true                      # optional (false)
    notes = ["..."]                  # optional
    columns_of = 1                   # the columns of another table, or [[columns]] here:
    [[columns]]
    key, label, metric, protocol     # texts
    column = "var"                   # optional (key): the column of the metric
    direction = "up" | "down"
    decimals = 2
    [[rows]]
    key, label                       # texts
    method = "syncdiff"              # optional beside it: options = {...}, trained_against = [...], topline
    same_as = { table, row }         # instead of method: that row's system, and its values unless given here
    values_from = { table, row }     # instead of values: those of that row, whose system is another
    [rows.values]
    lrs2 = { psnr = 32.40, ... }     # every column; "N/A" where the paper prints that; none in a table with a name

Every error is a UsageError that names the package, the file and the key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from syncdiff_bench.errors import UsageError
from syncdiff_bench.origins import ScoringNetwork
from syncdiff_bench.report.packages import Node, leaderboard_packages, read_root, toml_files

SCHEMA = 1
ROW_KEYS = ("key", "label", "method", "options", "trained_against", "topline", "same_as", "values_from", "values")

OptionValue = str | int | float | bool
PaperValue = float | None  # None: the paper prints N/A


@dataclass(frozen=True)
class PaperColumn:
    """One column, and the only measurement that may be compared with it.

    - key: name of the column inside the table ("lse_c")
    - label: as printed ("LSE-C")
    - metric, protocol, column: the entry of a run's summary that measures the same thing
    - direction: which way is better
    - decimals: digits after the point, as the paper prints them
    - network: the scoring network whose numbers alone stand here; None where all numbers are of one
    """

    key: str
    label: str
    metric: str
    protocol: str
    column: str
    direction: Literal["up", "down"]
    decimals: int
    network: ScoringNetwork | None = None


@dataclass(frozen=True)
class System:
    """What a row measured: a method and the options that set it apart from the method's defaults.

    - options: sorted (name, value) pairs; those of a run must contain them for the run to be of this system
    - trained_against: metrics whose scoring network was also a training loss; no part of what tells systems apart
    """

    method: str
    options: tuple[tuple[str, OptionValue], ...] = ()
    trained_against: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True)
class PaperRow:
    """One row: the system it measured, and its values.

    - values: dataset -> column key -> value as printed (None for N/A)
    - topline: a bound (ground truth, reconstruction) that takes no part in best and second best
    """

    key: str
    label: str
    system: System
    values: Mapping[str, Mapping[str, PaperValue]]
    topline: bool = False


@dataclass(frozen=True)
class PaperTable:
    """One table of a paper.

    - number: its place among the tables
    - title, caption: ours, short; the paper's
    - stub: header of the row labels
    - datasets: in printed order; the values of a row are those of one of them
    - ranks_marked: 0 none, 1 the best of a column is marked, 2 the second best as well
    - open: methods that are not in the paper get a row of their own
    - notes: what a reader must know about the printed numbers
    - split: what the paper scored of each dataset
    - name: of a table that is not a paper's, "" else; its rows have no values, and its datasets are those to show
    """

    number: int
    title: str
    caption: str
    stub: str
    datasets: tuple[str, ...]
    columns: tuple[PaperColumn, ...]
    rows: tuple[PaperRow, ...]
    ranks_marked: Literal[0, 1, 2] = 1
    open: bool = False
    notes: tuple[str, ...] = ()
    split: str = "test"
    name: str = ""

    @property
    def of_paper(self) -> bool:
        return not self.name

    @property
    def key(self) -> str:
        """How it is asked for: "3", "beyond"."""
        return self.name or str(self.number)

    @property
    def heading(self) -> str:
        """ "Table 3", "Beyond"."""
        return self.name.capitalize() or f"Table {self.number}"


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
    names = [one.name for _, one in found.values() if one.name]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two tables are called {name!r}; uninstall the package of one of them")
    return tuple(one for _, (_, one) in sorted(found.items()))


def paper_tables() -> tuple[PaperTable, ...]:
    """Those of `tables` that a paper printed."""
    return tuple(one for one in tables() if one.of_paper)


def table(key: int | str) -> PaperTable:
    """The table of that number or name. Raises UsageError naming the known ones."""
    known = {one.key: one for one in tables()}
    if str(key) not in known:
        keys = ", ".join(known) or "none: no leaderboard package is installed"
        raise UsageError(f"there is no table {key}; known tables: {keys}")
    return known[str(key)]


@cache
def package_tables(package: str) -> tuple[PaperTable, ...]:
    """The tables in `paper/*.toml` of one package, by number, checked; none where it has no such folder.

    Raises UsageError where the package is missing or a file of it is not in order.
    """
    return parse_tables(package, toml_files(package, "paper"))


def parse_tables(package: str, sources: Mapping[str, bytes]) -> tuple[PaperTable, ...]:
    """The tables of one package. sources: file name -> content (UTF-8 TOML). Raises UsageError."""
    roots: dict[int, Node] = {}
    for name in sorted(sources):
        root = read_root(f"{package}/{name}", sources[name], SCHEMA)
        number = root.get("number", int)
        if number in roots:
            raise root.fail("number", f"{number} is also the number of {roots[number].where}")
        roots[number] = root
    return tuple(_table(roots[number], roots) for number in sorted(roots))


def _table(root: Node, roots: Mapping[int, Node]) -> PaperTable:
    columns = _columns(root, roots)
    datasets = root.get("datasets", tuple[str, ...])
    if not datasets:
        raise root.fail("datasets", "must name at least one")
    name = root.get("name", str, "")
    if name and not re.fullmatch(r"[a-z][a-z-]*", name):
        raise root.fail("name", f"must be lower-case letters and hyphens, is {name!r}")
    printed = () if name else datasets
    rows = tuple(_row(node, roots, printed, columns) for node in root.nodes("rows"))
    _unique(root, "rows", [row.key for row in rows])
    more = ("schema", "columns", "columns_of", "rows", "datasets")
    return root.read(PaperTable, *more, datasets=datasets, columns=columns, rows=rows)


def _columns(root: Node, roots: Mapping[int, Node]) -> tuple[PaperColumn, ...]:
    if ("columns" in root.data) == ("columns_of" in root.data):
        raise root.fail("columns", "give either [[columns]] or columns_of = N")
    source = root
    if "columns_of" in root.data:
        source = _other(root, "columns_of", root.get("columns_of", int), roots)
        if "columns" not in source.data:
            raise root.fail("columns_of", f"{source.where} has no [[columns]] of its own")
    columns = tuple(_column(node) for node in source.nodes("columns"))
    _unique(source, "columns", [column.key for column in columns])
    return columns


def _column(node: Node) -> PaperColumn:
    own = {"column": node.get("column", str, node.data.get("key")), "network": None}
    column = node.read(PaperColumn, "column", **own)
    if not 0 <= column.decimals <= 6:
        raise node.fail("decimals", f"must be 0..6, is {column.decimals}")
    return column


def _row(
    node: Node, roots: Mapping[int, Node], datasets: tuple[str, ...], columns: tuple[PaperColumn, ...]
) -> PaperRow:
    """datasets: those that the table prints values of."""
    node.only(ROW_KEYS)
    first = _first_place(node, roots)
    return PaperRow(
        key=node.get("key", str),
        label=node.get("label", str),
        system=_system(first),
        values=_printed(node, first, roots, datasets, tuple(column.key for column in columns)),
        topline=first.get("topline", bool, False),
    )


def _printed(
    node: Node, first: Node, roots: Mapping[int, Node], datasets: tuple[str, ...], keys: tuple[str, ...]
) -> dict[str, dict[str, PaperValue]]:
    """Dataset -> column -> value of a row."""
    if not datasets:
        for key in ("values", "values_from"):
            if key in node.data:
                raise node.fail(key, "a table with a name is not a paper's and prints no values; remove it here")
        return {}
    values = _values_node(node, first, roots)
    if "values" in node.data:
        values.only(datasets)
    return {dataset: _values(values.node(dataset), keys) for dataset in datasets}


def _first_place(node: Node, roots: Mapping[int, Node]) -> Node:
    """The row itself, or the row that its `same_as` names (which must not point on)."""
    if "same_as" not in node.data:
        return node
    for key in ("method", "options", "trained_against", "topline"):
        if key in node.data:
            raise node.fail(key, "stands in the row that same_as names; remove it here")
    return _named_row(node, "same_as", roots, "same_as")


def _values_node(node: Node, first: Node, roots: Mapping[int, Node]) -> Node:
    """The values of a row: its own, those of the row that its `values_from` names, or those of its first place."""
    if "values" in node.data and "values_from" in node.data:
        raise node.fail("values_from", "stands beside values; keep one of them")
    place = node if {"values", "values_from"} & node.data.keys() else first
    if "values_from" in place.data:
        place = _named_row(place, "values_from", roots, "values_from", "same_as")
    return place.node("values")


def _named_row(node: Node, key: str, roots: Mapping[int, Node], *pointers: str) -> Node:
    """The row that `key` of a row names by table and row; one that itself has a key of `pointers` is refused."""
    reference = node.node(key)
    reference.only(("table", "row"))
    table = _other(reference, "table", reference.get("table", int), roots)
    name = reference.get("row", str)
    for row in table.nodes("rows"):
        if row.data.get("key") == name:
            for pointer in pointers:
                if pointer in row.data:
                    raise reference.fail("row", f"{name!r} is itself a {pointer}; name the first place")
            return row
    raise reference.fail("row", f"{table.where} has no row {name!r}")


def _system(node: Node) -> System:
    options = node.get("options", dict, {})
    for name, value in options.items():
        if not isinstance(value, str | int | float | bool):
            raise node.fail("options", f"{name} must be a text, number or bool, is {value!r}")
    against = node.get("trained_against", tuple[str, ...], ())
    return System(node.get("method", str), tuple(sorted(options.items())), frozenset(against))


def _values(node: Node, keys: tuple[str, ...]) -> dict[str, PaperValue]:
    node.only(keys)
    found = {key: node.get(key, float | Literal["N/A"]) for key in keys}
    return {key: None if value == "N/A" else value for key, value in found.items()}


def _other(node: Node, key: str, number: int, roots: Mapping[int, Node]) -> Node:
    if number not in roots:
        raise node.fail(key, f"there is no table {number}")
    return roots[number]


def _unique(node: Node, key: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise node.fail(key, f"{name!r} occurs more than once")
