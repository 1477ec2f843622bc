"""Comparisons as CSV: one line per cell, full precision, for scripts and spreadsheets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from syncdiff_bench.report.paper import PaperColumn
from syncdiff_bench.report.paper_comparison import Cell, ComparedRow, Comparison, Panel
from syncdiff_bench.report.writers.characters import one_line

FIELDS = (
    *("table", "dataset", "row", "method", "metric", "protocol", "column", "direction"),
    *("paper_dataset", "paper", "ours", "ci95_low", "ci95_high", "delta", "n", "failed", "run", "departs", "caveats"),
)


def to_csv(comparisons: Sequence[Comparison]) -> str:
    """Columns `FIELDS`; an empty field is a value that is not defined or was not measured."""
    import pandas as pd

    records = [
        _record(comparison.table.number, panel, row, column, cell)
        for comparison in comparisons
        for panel in comparison.panels
        for row in panel.rows
        for column, cell in zip(panel.columns, row.cells, strict=True)
    ]
    frame = pd.DataFrame.from_records(records, columns=list(FIELDS))
    return frame.astype({"n": "Int64", "failed": "Int64"}).to_csv(index=False, lineterminator="\n")


def _record(number: int, panel: Panel, row: ComparedRow, column: PaperColumn, cell: Cell) -> dict[str, Any]:
    ours = cell.ours
    low, high = (None, None) if ours is None or ours.ci95 is None else ours.ci95
    return {
        "table": number,
        "dataset": panel.dataset,
        "row": row.label,
        "method": row.system.method,
        "metric": column.metric,
        "protocol": column.protocol,
        "column": column.column,
        "direction": column.direction,
        "paper_dataset": panel.paper_dataset if cell.printed else None,
        "paper": cell.paper,
        "ours": None if ours is None else ours.mean,
        "ci95_low": low,
        "ci95_high": high,
        "delta": cell.delta,
        "n": None if ours is None else ours.n,
        "failed": None if ours is None else ours.failed,
        "run": None if cell.run is None else str(cell.run),
        "departs": "; ".join(one.text for one in cell.departs) or None,
        "caveats": one_line("; ".join(cell.caveats)) or None,
    }
