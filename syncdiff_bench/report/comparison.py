"""The tables of two runs compared, and of the gates that hold a run or a benchmark to its baseline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from syncdiff_bench.report.table import ARROWS, Cell, Heading, Panel, Row, Table, number, plain_notes, signed
from syncdiff_bench.runs.summary import FEW_SPEAKERS
from syncdiff_bench.significance.comparison import ClipChange, ColumnComparison, Comparison
from syncdiff_bench.significance.gate import GateReport
from syncdiff_bench.significance.speed import SpeedReport

SHOWN_CHANGES = 3
STATUSES = {"worse": "worse, tolerated", "regression": "REGRESSION", "undecided": "not decided, frames left out"}
CLASSES = {"B better": "better", "B worse": "worse"}  # of a row, by its verdict


def comparison_table(comparison: Comparison, sides: tuple[str, str] | None = None) -> Table:
    """One row per column; a star behind p (Holm) is significant at 5 %. sides: headings of A and B."""
    a, b = sides or (f"A: {comparison.a.source}", f"B: {comparison.b.source}")
    numbers = ("B - A", "95 % interval", "p", "p (Holm)", "effect d", "n")
    column, *others = _headings("column", numbers, "verdict", "clips that changed most")
    headings = (column, Heading(a, short="A"), Heading(b, short="B"), *others)
    rows = tuple(Row(_compared(column), CLASSES.get(column.verdict, "")) for column in comparison.columns)
    return Table((Panel(headings, (rows,)),), notes=plain_notes(_comparison_notes(comparison)))


def _compared(column: ColumnComparison) -> tuple[Cell, ...]:
    changes = ", ".join(change_text(change, column) for change in column.largest_changes(SHOWN_CHANGES))
    star = " *" if column.significant else ""
    return (
        *_sides(column),
        Cell(_p(column.p), value=column.p),
        Cell(_p(column.p_holm) + star, value=column.p_holm),
        Cell(signed(column.effect, 2), value=column.effect),
        Cell(f"{column.n}", value=column.n),
        Cell(column.verdict or "–"),
        Cell(changes or "–"),
    )


def _sides(column: ColumnComparison) -> tuple[Cell, ...]:
    """The column, both values, their difference and its interval."""
    decimals, delta = column.column.decimals, column.delta
    ends = "–" if column.ci is None else " .. ".join(signed(end, decimals) for end in column.ci)
    return (
        Cell(f"{column.column.label} {ARROWS[column.column.direction]} ({column.protocol})"),
        *(Cell(number(value, decimals), value=value) for value in (column.a, column.b)),
        *(Cell(signed(delta, decimals), value=delta), Cell(ends, value=delta)),
    )


def _headings(first: str, numbers: Iterable[str], *words: str) -> tuple[Heading, ...]:
    return (
        Heading(first, align="left", names_row=True),
        *map(Heading, numbers),
        *(Heading(word, align="left") for word in words),
    )


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "<.001" if p < 0.001 else f"{p:.3f}"


def change_text(change: ClipChange, column: ColumnComparison) -> str:
    """ "speaker/clip +0.40": by how much B is more."""
    return f"{change.clip} {change.delta:+.{column.column.decimals}f}"


def _comparison_notes(comparison: Comparison) -> Sequence[str]:
    clusters = {column.clusters for column in comparison.columns}
    few = any(column.undecided == "too few speakers" for column in comparison.columns)
    counted = ", ".join(str(n) for n in sorted(clusters))
    return [
        *comparison.notes,
        f"Paired over clips; {_resampled(comparison.columns, counted)}; "
        "* significant at 5 % after Holm's correction over all columns.",
        *(["too few speakers: with 5 or fewer no p can come below .05, however large the difference."] if few else []),
        "d: mean of the per-clip differences over their standard deviation.",
    ]


def _resampled(columns: Sequence[ColumnComparison], speakers: str) -> str:
    """ "whole speakers (12) are resampled. p: permutation of A and B within speakers", or what several trainings do."""
    trainings = {column.trainings for column in columns if max(column.trainings) > 1}
    if not trainings:
        return f"whole speakers ({speakers}) are resampled. p: permutation of A and B within speakers"
    counted = ", ".join(f"{a}" if a == b else f"{a} of A, {b} of B" for a, b in sorted(trainings))
    return f"whole trainings ({counted}) and whole speakers ({speakers}) are resampled. p: Student's t"


def gate_table(report: GateReport) -> Table:
    """One row per column of the baseline; a row that fails the gate has the kind "regression" or "no value"."""
    headings = _headings("column", ("baseline", "now", "change", "interval", "tolerance"), "verdict")
    rows = tuple(
        Row(
            (*_sides(one.column), Cell(f"{one.tolerance:g}"), Cell(STATUSES.get(one.status, one.status))),
            *(one.status, one.column.name),
        )
        for one in report.verdicts
    )
    return Table((Panel(headings, (rows,)),), notes=plain_notes(_gate_notes(report)))


def _gate_notes(report: GateReport) -> Sequence[str]:
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


def speed_table(report: SpeedReport) -> Table:
    """One row per benchmark of the baseline."""
    headings = _headings("benchmark", ("baseline", "now", "now / baseline", "tolerance"), "verdict")
    rows = tuple(
        Row(
            (
                *(Cell(one.name), Cell(f"{one.baseline:.3g}"), Cell(f"{one.now:.3g}")),
                *(Cell(f"{one.now / one.baseline:.2f}"), Cell(f"{report.tolerance:g}")),
                Cell(STATUSES.get(one.status, one.status)),
            ),
            *(one.status, one.name),
        )
        for one in report.verdicts
    )
    notes = (
        "In units of the calibration beside each benchmark; the least of all rounds of both.",
        *(f"{name} is not in the baseline; --update adds it." for name in report.added),
        "passed" if report.passed else "FAILED",
    )
    return Table((Panel(headings, (rows,)),), notes=plain_notes(notes))
