"""The table of a paper's table joined with runs: up to four lines per row.

paper: the printed values; ours: mean ± half the width of the 95 % interval; delta: ours - paper; n (failed).
The last two appear only for rows that were run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from syncdiff_bench.report.joined import GROUND_TRUTH, JoinedCell, JoinedPanel, JoinedRow, JoinedTable
from syncdiff_bench.report.paper import PaperColumn
from syncdiff_bench.report.speed import SPEED, speed_remarks
from syncdiff_bench.report.table import (
    ARROWS,
    Cell,
    Heading,
    Note,
    Panel,
    Row,
    Table,
    interval_of,
    is_cut,
    number,
    plain_notes,
    ranked,
    signed,
)

Kind = Literal["paper", "ours", "delta", "n"]
Ranks = list[dict[int, int]]  # of each column: index of a row -> its rank

BEATS_TRUTH, OWN_LOSS, DEVIATES = "†", "‡", "§"
MARKS = {
    BEATS_TRUTH: "scores better than the ground truth itself.",
    OWN_LOSS: "the method was trained against this metric's judge.",
    DEVIATES: "not made as the paper's number was; a note below says in what.",
}
FIELDS = (
    *("table", "dataset", "row", "method", "metric", "protocol", "column", "direction"),
    *("paper_dataset", "paper", "ours", "ci95_low", "ci95_high", "delta", "n", "failed", "run", "departs", "caveats"),
)


def paper_table(joined: JoinedTable) -> Table:
    """A panel per dataset; what the marks mean, how to read it, and the notes of the join below."""
    paper = joined.table
    panels = tuple(_panel(joined, panel) for panel in joined.panels)
    if not joined.intervals:
        panels = tuple(map(_without_intervals, panels))
    used = {mark for panel in panels for row in panel.rows for cell in row.cells for mark in cell.marks}
    return Table(
        panels=panels,
        title=f"{paper.heading}. {paper.title}",
        caption=paper.caption,
        notes=(
            *(Note(text, mark) for mark, text in MARKS.items() if mark in used),
            *plain_notes([*_explanations(joined), *joined.notes]),
        ),
        label=paper.key,
        ranks_marked=paper.ranks_marked,
        unranked=tuple(dict.fromkeys(row.label for panel in joined.panels for row in panel.rows if row.topline)),
        records=tuple(_records(joined)),
        fields=FIELDS,
    )


def _without_intervals(panel: Panel) -> Panel:
    def bare(row: Row) -> Row:
        return replace(row, cells=tuple(replace(cell, interval="") for cell in row.cells))

    return replace(panel, groups=tuple(tuple(map(bare, group)) for group in panel.groups))


def _panel(joined: JoinedTable, panel: JoinedPanel) -> Panel:
    ranked = joined.table.ranks_marked
    ranks = {
        "paper": _ranks(panel, lambda cell: cell.paper, ranked),
        # A number over other clips has no rival here.
        "ours": _ranks(panel, lambda cell: cell.mean if cell.comparable else None, ranked),
    }
    truth = next((row.cells for row in panel.rows if row.system.method == GROUND_TRUTH), None)
    bounds = [cell.paper for cell in truth] if truth else [None] * len(panel.columns)
    groups = tuple(_lines(panel, index, ranks, bounds) for index in range(len(panel.rows)))
    headings = (
        Heading(joined.table.stub, align="left", names_row=True),
        Heading("", align="left", names_row=True),
        *(Heading(f"{column.label} {ARROWS[column.direction]}") for column in panel.columns),
    )
    return Panel(headings, groups, dataset_title(panel.dataset))


def _lines(panel: JoinedPanel, index: int, ranks: dict[str, Ranks], bounds: Sequence[float | None]) -> tuple[Row, ...]:
    """The lines of one row. bounds: what the paper prints for ground truth."""
    row = panel.rows[index]
    lines: list[Row] = []
    for kind in _kinds(row):
        cells = []
        for place, (column, cell) in enumerate(zip(panel.columns, row.cells, strict=True)):
            rank = ranks[kind][place].get(index, 0) if kind in ranks else 0
            bound = bounds[place] if kind == "paper" else cell.truth
            cells.append(Cell(*_text(kind, column, cell), rank, _marks(kind, row, column, cell, bound)))
        first = Cell("" if lines else row.label)
        label = _line_label(kind, panel) if row.in_paper or row.was_run else "not run"
        lines.append(Row((first, Cell(label), *cells), kind))
    return tuple(lines)


def _explanations(joined: JoinedTable) -> Iterator[str]:
    """How to read the numbers; the markup explains how it shows ranks."""
    cells = [
        (column, cell)
        for panel in joined.panels
        for row in panel.rows
        for column, cell in zip(panel.columns, row.cells, strict=True)
        if cell.ours is not None
    ]
    if cells:
        delta = "delta: ours - paper; " if joined.table.of_paper else ""
        interval = " ± half the width of the 95 % interval" if joined.intervals else ""
        yield f"ours: mean{interval}; {delta}n: clips scored (clips that failed)."
    if joined.intervals and any(
        cell.ours and is_cut(cell.ours.mean, cell.ours.ci95, column.decimals) for column, cell in cells
    ):
        yield "[low, high]: the 95 % interval where a bound of the metric cuts one end off."
    if any("[" in column.key for panel in joined.panels for column in panel.columns):
        yield (
            "A column with a name in brackets is measured under that protocol, which is not the paper's: "
            "nothing of the paper compares with it."
        )
    speeds = [cell for column, cell in cells if column.metric == SPEED]
    yield from speed_remarks(cell.device for cell in speeds) if speeds else ()
    for panel in joined.panels:
        if panel.dataset != panel.paper_dataset:
            ours, theirs = dataset_title(panel.dataset), dataset_title(panel.paper_dataset)
            yield f"The paper has no values on {ours}; those on {theirs} are shown for orientation only."


def dataset_title(name: str) -> str:
    """LRS2 and LRS3 are acronyms; other names stand as they are."""
    return name.upper() if name.startswith("lrs") else name


def _kinds(row: JoinedRow) -> tuple[Kind, ...]:
    if not row.in_paper:
        return ("ours", "n") if row.was_run else ("ours",)
    if not row.was_run:
        return ("paper", "ours")
    has_delta = any(cell.delta is not None for cell in row.cells)
    return ("paper", "ours", "delta", "n") if has_delta else ("paper", "ours", "n")


def _line_label(kind: Kind, panel: JoinedPanel) -> str:
    if kind == "paper" and panel.dataset != panel.paper_dataset:
        return f"paper ({dataset_title(panel.paper_dataset)})"
    return "n (failed)" if kind == "n" else kind


def _text(kind: Kind, column: PaperColumn, cell: JoinedCell) -> tuple[str, str]:
    """What stands in the cell, and the interval behind it."""
    ours, decimals = cell.ours, column.decimals
    if kind == "paper":
        return (number(cell.paper, decimals) if cell.printed else ""), ""
    if ours is None or (kind == "delta" and cell.delta is None):
        return "", ""
    if kind == "ours":
        return number(ours.mean, decimals), interval_of(ours.mean, ours.ci95, decimals, " ± ")
    return (f"{ours.n} ({ours.failed})" if kind == "n" else signed(cell.delta, decimals)), ""


def _ranks(panel: JoinedPanel, value: Callable[[JoinedCell], float | None], places: int) -> Ranks:
    """As far as ranks are marked; toplines take no part."""
    ranks = []
    for place, column in enumerate(panel.columns):
        rivals = ((index, value(row.cells[place])) for index, row in enumerate(panel.rows) if not row.topline)
        values = {index: found for index, found in rivals if found is not None}
        devices = {panel.rows[index].cells[place].device for index in values}
        ranks.append(ranked(values, column.direction, column.decimals, places) if len(devices) < 2 else {})
    return ranks


def _marks(kind: Kind, row: JoinedRow, column: PaperColumn, cell: JoinedCell, bound: float | None) -> tuple[str, ...]:
    """Warnings that belong to one number, published or ours. bound: what ground truth scored."""
    if kind not in ("paper", "ours"):
        return ()
    value = cell.paper if kind == "paper" else cell.mean
    found = []
    if value is not None and bound is not None and not row.topline:
        gain = value - bound if column.direction == "up" else bound - value
        if round(gain, column.decimals) > 0:
            found.append(BEATS_TRUTH)
    if value is not None and column.metric in row.system.trained_against:
        found.append(OWN_LOSS)
    if kind == "ours" and cell.deviations:
        found.append(DEVIATES)
    return tuple(found)


def _records(joined: JoinedTable) -> Iterator[dict[str, Any]]:
    for panel in joined.panels:
        for row in panel.rows:
            for column, cell in zip(panel.columns, row.cells, strict=True):
                ours = ("ci95", "n", "failed")
                yield {
                    **{"table": joined.table.name or joined.table.number, "dataset": panel.dataset},
                    **{"row": row.label, "method": row.system.method},
                    **{"metric": column.metric, "protocol": column.protocol},
                    **{"column": column.column, "direction": column.direction},
                    "paper_dataset": panel.paper_dataset if cell.printed else None,
                    "paper": cell.paper,
                    "ours": cell.mean,
                    **{key: getattr(cell.ours, key, None) for key in ours},
                    "delta": cell.delta,
                    "run": None if cell.run is None else str(cell.run),
                    "departs": "; ".join(one.text for one in cell.deviations),
                    "caveats": [{"text": text} for text in cell.caveats],
                }
