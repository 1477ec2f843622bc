"""The table that every output is made from: rows of cells under headings, notes below.

The leaderboard, the comparison of two runs, the gates, the paper's tables and the findings build one;
`writers/` has one writer per format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ARROWS = {"up": "↑", "down": "↓"}
LETTERS = "abcdefghijklmnoprstuvwxyz"  # marks of notes; Unicode has no raised q


@dataclass(frozen=True)
class Heading:
    """What stands above a column.

    - text: its name, "" where it needs none
    - below: a second line in small print, such as the protocol
    - align: of its cells
    - names_row: its cells say what their row is about
    - unit: of its numbers, which a terminal shows
    - short: what stands above it on a terminal where `text` is too wide, which then stands above the table
    """

    text: str
    below: str = ""
    align: Literal["left", "right"] = "right"
    names_row: bool = False
    unit: str = ""
    short: str = ""


@dataclass(frozen=True)
class Cell:
    """What stands in one place.

    - text: as printed
    - interval: as printed behind the text
    - rank: 1 best, 2 second best of its column, 0 neither
    - marks: of the table's notes that are about it
    - value: what a sortable page sorts by
    - alert: a terminal shows it in yellow
    - html: markup that a page shows in place of the text
    """

    text: str = ""
    interval: str = ""
    rank: int = 0
    marks: tuple[str, ...] = ()
    value: float | str | None = None
    alert: bool = False
    html: str = ""


@dataclass(frozen=True)
class Row:
    """A line of cells.

    - kind: "bound", "regression", ...; the class of the row in HTML, its style on a terminal
    - name: of its test case in a JUnit report
    - data: attributes for the script of a page
    """

    cells: tuple[Cell, ...]
    kind: str = ""
    name: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """Rows under headings; a line or a gap divides the groups of rows. title: of one panel among several."""

    headings: tuple[Heading, ...]
    groups: tuple[tuple[Row, ...], ...]
    title: str = ""

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(row for group in self.groups for row in group)


@dataclass(frozen=True)
class Note:
    """A line below a table. mark: what stands behind the cells that it is about, "" for all of them."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """What a writer writes.

    - panels: one, or one per dataset
    - title, caption: the caption is for writers that print one (LaTeX, HTML)
    - notes: below the table, in plain text
    - label: what LaTeX refers to it by
    - ranks_marked: how many ranks the legend explains; 0 for no legend
    - unranked: names of the rows that take no part in ranks
    - records: one mapping per value in full precision, for CSV and JSON; `ci95` is a pair or None
    - fields: the columns of the CSV; `ci95_low` and `ci95_high` are the ends of `ci95`
    """

    panels: tuple[Panel, ...]
    title: str = ""
    caption: str = ""
    notes: tuple[Note, ...] = ()
    label: str = ""
    ranks_marked: int = 0
    unranked: tuple[str, ...] = ()
    records: tuple[Mapping[str, Any], ...] = ()
    fields: tuple[str, ...] = ()

    def legend(self, best: str, second: str, escape: Callable[[str], str]) -> str:
        """What the markup of the best and second best means; "" where none is explained. escape: of the rows' names."""
        take = "takes" if len(self.unranked) == 1 else "take"
        apart = f" {' and '.join(map(escape, self.unranked))} {take} no part." if self.unranked else ""
        return ("", f"Best {best}.{apart}", f"Best {best}, second best {second}.{apart}")[self.ranks_marked]


def text_table(headings: Iterable[str], rows: Iterable[Iterable[str]], notes: Sequence[str] = ()) -> Table:
    """Lines of texts under headings, all on the left; the first names its row."""
    above = tuple(Heading(text, align="left", names_row=index == 0) for index, text in enumerate(headings))
    below = tuple(Row(tuple(map(Cell, texts))) for texts in rows)
    return Table((Panel(above, (below,)),), notes=plain_notes(notes))


def plain_notes(texts: Sequence[str]) -> tuple[Note, ...]:
    """Notes that are about the whole table."""
    return tuple(map(Note, texts))


def letter(number: int) -> str:
    """a, b, ... z, aa, bb, ... for 1, 2, ..."""
    times, index = divmod(number - 1, len(LETTERS))
    return LETTERS[index] * (times + 1)


def ranked(values: Mapping[int, float], direction: str, decimals: int, places: int = 1) -> dict[int, int]:
    """Index -> rank, of the best `places` ranks; none where a value has no rival.

    Values that print alike share a rank: a difference in the next digit cannot be seen.

    >>> ranked({0: 30.001, 1: 30.002, 2: 29.0}, "up", 2, places=2)
    {0: 1, 1: 1, 2: 2}
    """
    if len(values) < 2:
        return {}
    printed = {index: round(value, decimals) for index, value in values.items()}
    best = sorted(set(printed.values()), reverse=direction == "up")[:places]
    return {index: best.index(value) + 1 for index, value in printed.items() if value in best}


def number(value: float | None, decimals: int) -> str:
    """A value as printed, N/A where it is not defined."""
    return "N/A" if value is None else f"{value:.{decimals}f}"


def signed(value: float | None, decimals: int) -> str:
    """A difference with its sign, but no sign on a zero; "–" where there is none."""
    if value is None:
        return "–"
    text = f"{value:+.{decimals}f}"
    return text if float(text) else text[1:]


def interval_of(mean: float | None, ci: tuple[float, float] | None, decimals: int, sign: str) -> str:
    """An interval behind its mean: half its width after `sign`, or both ends where a bound of the metric cut one off.

    >>> interval_of(30.0, (29.0, 31.0), 2, " ±"), interval_of(5.56, (0.0, 29.99), 2, " ±")
    (' ±1.00', ' [0.00, 29.99]')
    """
    if mean is None or ci is None:
        return ""
    low, high = ci
    if is_cut(mean, ci, decimals):
        return f" [{number(low, decimals)}, {number(high, decimals)}]"
    return f"{sign}{(high - low) / 2:.{decimals}f}"


def is_cut(mean: float | None, ci: tuple[float, float] | None, decimals: int) -> bool:
    """Whether an interval is not as wide to either side, as printed."""
    return mean is not None and ci is not None and abs(mean - sum(ci) / 2) >= 0.5 * 10.0**-decimals
