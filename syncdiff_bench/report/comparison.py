"""Comparisons and gate reports as rows of text, for Markdown and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from syncdiff_bench.report.leaderboard import ARROWS
from syncdiff_bench.runs.noticing import FEW_SPEAKERS
from syncdiff_bench.significance.comparison import ClipChange, ColumnComparison, Comparison
from syncdiff_bench.significance.gate import Report, Verdict

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_CHANGES = 3
STATUS_MARKS = {
    **{"ok": "ok", "better": "better", "worse": "worse, tolerated", "regression": "REGRESSION"},
    "undecided": "not decided, frames left out",
}


def comparison_header(comparison: Comparison) -> list[str]:
    a, b = comparison.a.source, comparison.b.source
    return [
        "column",
        f"A: {a}",
        f"B: {b}",
        "B - A",
        "95 % interval",
        "p",
        "p (Holm)",
        "effect d",
        "n",
        "verdict",
        "clips that changed most",
    ]


def comparison_rows(comparison: Comparison) -> list[list[str]]:
    """One row per column; a star behind p (Holm) is significant at 5 %."""
    return [
        [
            _heading(column),
            _value(column.a, column),
            _value(column.b, column),
            _signed(column.delta, column),
            _interval(column),
            _p(column.p),
            _p(column.p_holm) + (" *" if column.significant else ""),
            "–" if column.effect is None else f"{column.effect:+.2f}",
            f"{column.n}",
            column.verdict or "–",
            ", ".join(change_text(change, column) for change in largest_changes(column, SHOWN_CHANGES)) or "–",
        ]
        for column in comparison.columns
    ]


def largest_changes(column: ColumnComparison, n: int) -> list[ClipChange]:
    """The clips whose own value moved most, in either direction; unchanged ones are left out."""
    moved = [change for change in column.changes if change.delta != 0]
    return sorted(moved, key=lambda change: (-abs(change.delta), change.clip))[:n]


def comparison_footnotes(comparison: Comparison) -> list[str]:
    clusters = {column.clusters for column in comparison.columns}
    few = any(column.undecided == "too few speakers" for column in comparison.columns)
    counted = ", ".join(str(n) for n in sorted(clusters))
    return [
        *comparison.notes,
        f"Paired over clips; whole speakers ({counted}) are resampled. p: permutation of A and B within speakers; "
        "* significant at 5 % after Holm's correction over all columns.",
        *(["too few speakers: with 5 or fewer no p can come below .05, however large the difference."] if few else []),
        "d: mean of the per-clip differences over their standard deviation.",
    ]


def report_header() -> list[str]:
    return ["column", "baseline", "now", "change", "interval", "tolerance", "verdict"]


def report_rows(report: Report) -> list[list[str]]:
    return [
        [
            _heading(verdict.column),
            _value(verdict.column.a, verdict.column),
            _value(verdict.column.b, verdict.column),
            _signed(verdict.column.delta, verdict.column),
            _interval(verdict.column),
            f"{verdict.tolerance:g}",
            verdict_text(verdict),
        ]
        for verdict in report.verdicts
    ]


def verdict_text(verdict: Verdict) -> str:
    return STATUS_MARKS.get(verdict.status, verdict.status)


def report_footnotes(report: Report) -> list[str]:
    lost = [f"LOST {clip} ({name}): {reason}" for name, clip, reason in report.lost]
    confidence = report.verdicts[0].column.confidence if report.verdicts else 0.95
    few = {verdict.column.clusters for verdict in report.verdicts if 1 < verdict.column.clusters < FEW_SPEAKERS}
    lone = any(verdict.column.ci is None and verdict.column.delta is not None for verdict in report.verdicts)
    blind = "a loss is hardly seen: with so few speakers, intervals are too wide to exclude zero"
    return [
        *lost,
        *report.comparison.notes,
        *([f"{min(few)} speakers: {blind}"] if few else []),
        *(["1 speaker gives no interval: there the tolerance alone decides."] if lone else []),
        f"A regression exceeds its tolerance and its {100 * confidence:.1f} % interval (5 % over all columns, paired, "
        "bootstrap over speakers) excludes zero.",
        "passed" if report.passed else "FAILED",
    ]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], footnotes: Sequence[str]) -> str:
    from tabulate import tabulate

    from syncdiff_bench.report.writers.markdown import escape

    cells = [[escape(cell) for cell in row] for row in (header, *rows)]
    table = tabulate(cells[1:], cells[0], tablefmt="pipe", disable_numparse=True)
    return f"{table}\n\n" + "  \n".join(map(escape, footnotes)) + "\n"


def terminal_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(header_style="bold")
    for index, title in enumerate(header):
        # Paths and clip ids are long words: let them fold rather than push the numbers off the screen.
        table.add_column(escape(title), justify="left" if index in (0, len(header) - 1) else "right", overflow="fold")
    for row in rows:
        style = "bold red" if row[-1] == STATUS_MARKS["regression"] else None
        table.add_row(*(escape(cell) for cell in row), style=style)
    return table


def _heading(column: ColumnComparison) -> str:
    return f"{column.column.label} {ARROWS[column.column.direction]} ({column.protocol})"


def _value(value: float | None, column: ColumnComparison) -> str:
    return "N/A" if value is None else f"{value:.{column.column.decimals}f}"


def _signed(value: float | None, column: ColumnComparison) -> str:
    return "–" if value is None else f"{value:+.{column.column.decimals}f}"


def _interval(column: ColumnComparison) -> str:
    if column.ci is None:
        return "–"
    low, high = column.ci
    return f"{_signed(low, column)} .. {_signed(high, column)}"


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "<.001" if p < 0.001 else f"{p:.3f}"


def change_text(change: ClipChange, column: ColumnComparison) -> str:
    """ "speaker/clip +0.40": by how much B is more."""
    return f"{change.clip} {change.delta:+.{column.column.decimals}f}"
