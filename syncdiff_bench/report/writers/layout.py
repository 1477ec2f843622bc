"""How a comparison is laid out, whatever the markup: up to four lines per row.

paper: the printed values; ours: mean ± half the width of the 95 % interval; delta: ours - paper; n (failed).
The last two appear only for rows that were run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from syncdiff_bench.report.paper import PaperColumn
from syncdiff_bench.report.paper_comparison import GROUND_TRUTH, Cell, ComparedRow, Comparison, Panel
from syncdiff_bench.report.results import Measured
from syncdiff_bench.report.writers.characters import is_cut, with_interval

Kind = Literal["paper", "ours", "delta", "n"]
Mark = Literal["beats_truth", "own_judge", "departs"]

NOT_AVAILABLE = "N/A"
ARROWS = {"up": "↑", "down": "↓"}
SYMBOLS: dict[Mark, str] = {"beats_truth": "†", "own_judge": "‡", "departs": "§"}
MARK_NOTES: dict[Mark, str] = {
    "beats_truth": "scores better than the ground truth itself.",
    "own_judge": "the method was trained against this metric's judge.",
    "departs": "not made as the paper's number was; a note below says in what.",
}


@dataclass(frozen=True)
class Entry:
    """What stands in one place. rank: 1 best, 2 second best of its column and line, 0 neither."""

    text: str = ""
    rank: int = 0
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Line:
    """row_label is empty on all lines of a row but the first."""

    row_label: str
    kind: Kind
    label: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Grid:
    """One panel as text. header: (label, arrow) per column. groups: the lines of each row."""

    title: str
    stub: str
    header: tuple[tuple[str, str], ...]
    groups: tuple[tuple[Line, ...], ...]

    @property
    def marks(self) -> tuple[Mark, ...]:
        """The marks that occur."""
        seen = {mark for group in self.groups for line in group for entry in line.entries for mark in entry.marks}
        return tuple(mark for mark in SYMBOLS if mark in seen)


def lay_out(comparison: Comparison, panel: Panel) -> Grid:
    """The grid of one panel."""
    ranked = comparison.table.ranks_marked
    ranks = {"paper": _ranks(panel, _paper_value, ranked), "ours": _ranks(panel, _ranked_value, ranked)}
    truth = next((row.cells for row in panel.rows if row.system.method == GROUND_TRUTH), None)
    printed_bound = [cell.paper for cell in truth] if truth else [None] * len(panel.columns)
    groups: list[tuple[Line, ...]] = []
    for index, row in enumerate(panel.rows):
        lines: list[Line] = []
        for kind in _kinds(row):
            entries = tuple(
                Entry(
                    _text(kind, column, cell),
                    ranks[kind][place].get(index, 0) if kind in ranks else 0,
                    _marks(kind, row, column, cell, printed_bound[place] if kind == "paper" else cell.truth),
                )
                for place, (column, cell) in enumerate(zip(panel.columns, row.cells, strict=True))
            )
            lines.append(Line("" if lines else row.label, kind, _line_label(kind, panel), entries))
        groups.append(tuple(lines))
    header = tuple((column.label, ARROWS[column.direction]) for column in panel.columns)
    return Grid(dataset_title(panel.dataset), comparison.table.stub, header, tuple(groups))


def notes(comparison: Comparison) -> tuple[str, ...]:
    """What stands below the table, in plain text; the markup explains how it shows ranks and marks."""
    lines: list[str] = []
    if any(row.was_run for panel in comparison.panels for row in panel.rows):
        lines.append(
            "ours: mean ± half the width of the 95 % interval; delta: ours - paper; "
            "n: clips scored (clips that failed)."
        )
    if any(
        _is_cut(cell, column)
        for panel in comparison.panels
        for row in panel.rows
        for column, cell in zip(panel.columns, row.cells, strict=True)
    ):
        lines.append("[low, high]: the 95 % interval where a bound of the metric cuts one end off.")
    if any(panel.other_protocols for panel in comparison.panels):
        lines.append(
            "A column with a name in brackets is measured under that protocol, which is not the paper's: "
            "nothing of the paper compares with it."
        )
    for panel in comparison.panels:
        if panel.dataset != panel.paper_dataset:
            ours, theirs = dataset_title(panel.dataset), dataset_title(panel.paper_dataset)
            lines.append(f"The paper has no values on {ours}; those on {theirs} are shown for orientation only.")
    return (*lines, *comparison.notes)


def rank_note(comparison: Comparison, best: str, second: str) -> str:
    """What the markup of the best and second best means; empty where the table marks none."""
    toplines = [row.label for row in comparison.table.rows if row.topline]
    apart = f" {' and '.join(toplines)} take no part." if toplines else ""
    legends = ("", f"Best {best}.{apart}", f"Best {best}, second best {second}.{apart}")
    return legends[comparison.table.ranks_marked]


def marks(grids: Sequence[Grid]) -> tuple[Mark, ...]:
    """The marks that occur in any of the grids, in the order of `SYMBOLS`."""
    return tuple(mark for mark in SYMBOLS if any(mark in grid.marks for grid in grids))


def dataset_title(name: str) -> str:
    """LRS2 and LRS3 are acronyms; other names stand as they are."""
    return name.upper() if name.startswith("lrs") else name


def _kinds(row: ComparedRow) -> tuple[Kind, ...]:
    if not row.in_paper:
        return ("ours", "n")
    if not row.was_run:
        return ("paper", "ours")
    has_delta = any(cell.delta is not None for cell in row.cells)
    return ("paper", "ours", "delta", "n") if has_delta else ("paper", "ours", "n")


def _line_label(kind: Kind, panel: Panel) -> str:
    if kind == "paper" and panel.dataset != panel.paper_dataset:
        return f"paper ({dataset_title(panel.paper_dataset)})"
    return {"paper": "paper", "ours": "ours", "delta": "delta", "n": "n (failed)"}[kind]


def _text(kind: Kind, column: PaperColumn, cell: Cell) -> str:
    if kind == "paper":
        return number(cell.paper, column.decimals) if cell.printed else ""
    if cell.ours is None:
        return ""
    if kind == "ours":
        return _with_interval(cell.ours, column.decimals)
    if kind == "n":
        return f"{cell.ours.n} ({cell.ours.failed})"
    return "" if cell.delta is None else signed(cell.delta, column.decimals)


def number(value: float | None, decimals: int) -> str:
    """A value as the paper prints it; N/A where it is not defined."""
    return NOT_AVAILABLE if value is None else f"{value:.{decimals}f}"


def signed(value: float, decimals: int) -> str:
    """With its sign, but no sign on a zero."""
    text = f"{value:+.{decimals}f}"
    return text if float(text) else text[1:]


def _with_interval(ours: Measured, decimals: int) -> str:
    if ours.mean is None or ours.ci95 is None:
        return number(ours.mean, decimals)
    return with_interval(ours.mean, ours.ci95, decimals, " ± ")


def _is_cut(cell: Cell, column: PaperColumn) -> bool:
    ours = cell.ours
    if ours is None or ours.mean is None or ours.ci95 is None:
        return False
    return is_cut(ours.mean, ours.ci95, column.decimals)


def _paper_value(cell: Cell) -> float | None:
    return cell.paper


def _our_value(cell: Cell) -> float | None:
    return None if cell.ours is None else cell.ours.mean


def _ranked_value(cell: Cell) -> float | None:
    """A number over other clips has no rival here."""
    return _our_value(cell) if cell.comparable else None


def _ranks(panel: Panel, value: Callable[[Cell], float | None], ranks_marked: int) -> list[dict[int, int]]:
    """For each column: row index -> rank, as far as ranks are marked.

    Values that print alike share a rank. Toplines take no part; a value without a rival is not marked.
    """
    ranks = []
    for place, column in enumerate(panel.columns):
        values: dict[int, float] = {}
        for index, row in enumerate(panel.rows):
            found = value(row.cells[place])
            if found is not None and not row.topline:
                values[index] = round(found, column.decimals)
        best = sorted(set(values.values()), reverse=column.direction == "up")[:ranks_marked]
        shown = {index: best.index(one) + 1 for index, one in values.items() if one in best}
        ranks.append(shown if len(values) > 1 else {})
    return ranks


def _marks(kind: Kind, row: ComparedRow, column: PaperColumn, cell: Cell, bound: float | None) -> tuple[Mark, ...]:
    """Warnings that belong to one number, published or ours. bound: what ground truth scored."""
    if kind not in ("paper", "ours"):
        return ()
    value = _paper_value(cell) if kind == "paper" else _our_value(cell)
    found: list[Mark] = []
    if value is not None and bound is not None and not row.topline:
        gain = value - bound if column.direction == "up" else bound - value
        if round(gain, column.decimals) > 0:
            found.append("beats_truth")
    if value is not None and column.metric in row.system.trained_against:
        found.append("own_judge")
    if kind == "ours" and cell.departs:
        found.append("departs")
    return tuple(found)
