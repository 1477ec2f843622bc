"""The tables of the HTML page, as markup; `page.js` sorts and filters them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from syncdiff_bench.report.comparison import (
    change_text,
    comparison_footnotes,
    comparison_header,
    comparison_rows,
    largest_changes,
)
from syncdiff_bench.report.leaderboard import Board, BoardColumn, Cell
from syncdiff_bench.report.writers.characters import one_line
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.records import NOT_APPLICABLE
from syncdiff_bench.significance.comparison import ColumnComparison, Comparison

CHANGES = 3  # clips named per column
SPAN = 60  # pixels to either side of zero in the picture of an interval


def leaderboard(board: Board) -> str:
    """One row per run: rank, name, a cell per column, n (failed); then the notes."""
    head = "".join(_sortable(column.heading, column.named) for column in board.columns)
    rows = []
    for row in board.rows:
        cells = "".join(_cell(cell, column) for cell, column in zip(row.cells, board.columns, strict=True))
        rank = "" if row.rank is None else str(row.rank)
        kind = ' class="bound"' if row.run.identity.topline else ""
        rows.append(
            f'<tr{kind}><td data-value="{rank}">{rank}</td><th scope="row">{escape(row.name)}{_marks(row.notes)}</th>'
            f'{cells}<td data-value="{row.n}">{row.n} ({row.failed})</td></tr>'
        )
    notes = "".join(f"<li>{escape(one_line(note))}</li>" for note in board.notes)
    remarks = "".join(f"<p>{escape(one_line(remark))}</p>" for remark in board.remarks)
    return (
        f'{scrolling("", "Leaderboard")}<table class="sortable" id="leaderboard">'
        f'<caption class="unseen">Leaderboard of {escape(board.title)}</caption><thead><tr>'
        f"{_sortable('#')}{_sortable('Method', text=True)}{head}{_sortable('n (failed)')}</tr></thead>"
        f'<tbody>{"".join(rows)}</tbody></table></div><ol class="notes">{notes}</ol><div class="notes">{remarks}</div>'
    )


def clip_table(board: Board) -> str:
    """One row per clip and run, with why something about it failed."""
    head = "".join(_sortable(column.heading, column.named) for column in board.columns)
    rows = []
    for row in board.rows:
        speakers, values, name = row.run.speakers, values_of(row.run, board.columns), escape(row.name)
        errors = _errors(row.run)
        for clip in row.run.identity.clips:
            cells = "".join(
                f'<td data-value="{"" if value is None else value}">{_number(value, column)}</td>'
                for value, column in zip(values[clip], board.columns, strict=True)
            )
            reason = f' <span class="failed">{escape(one_line(errors[clip]))}</span>' if clip in errors else ""
            rows.append(
                f'<tr data-method="{name}" data-text="{escape(f"{clip} {speakers[clip]}".lower())}">'
                f'<th scope="row">{escape(clip)}{reason}</th><td data-value="{name}">{name}</td>'
                f"{cells}</tr>"
            )
    return (
        f'{scrolling("", "Values of every clip")}<table class="sortable" id="clip-table">'
        '<caption class="unseen">Every clip and method: a value per metric, or why there is none</caption><thead><tr>'
        f"{_sortable('Clip', text=True)}{_sortable('Method')}{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def difference_table(comparison: Comparison) -> str:
    """One row per column compared, B against A; the clips that changed most are buttons that show them."""
    first, _, _, *others, last = comparison_header(comparison)
    head = _sortable(first, text=True) + "".join(map(_sortable, ("A", "B", *others, last)))
    rows = []
    for column, texts in zip(comparison.columns, comparison_rows(comparison), strict=True):
        keys = (None, column.a, column.b, column.delta, column.delta, column.p, column.p_holm, column.effect, column.n)
        cells = [
            f'<td data-value="{"" if key is None else key}">{escape(text)}{picture}</td>'
            for key, text, picture in zip(
                keys[1:], texts[1:-2], ("", "", "", _interval_picture(column), "", "", "", ""), strict=True
            )
        ]
        clips = "".join(
            f'<button type="button" class="watch" data-clip="{escape(change.clip)}">'
            f"{escape(change_text(change, column))}</button>"
            for change in largest_changes(column, CHANGES)
        )
        kind = {"B better": "better", "B worse": "worse"}.get(column.verdict, "")
        rows.append(
            f'<tr class="{kind}"><th scope="row">{escape(texts[0])}</th>{"".join(cells)}'
            f"<td>{escape(texts[-2])}</td><td>{clips}</td></tr>"
        )
    remarks = (*comparison_footnotes(comparison), "Intervals are drawn with what is better to the right of zero.")
    notes = "".join(f"<p>{escape(one_line(remark))}</p>" for remark in remarks)
    return (
        f'{scrolling("", "Difference")}<table class="sortable" id="difference">'
        f'<caption class="unseen">B minus A, column by column, over the clips that both have</caption><thead><tr>{head}'
        f'</tr></thead><tbody>{"".join(rows)}</tbody></table></div><div class="notes">{notes}</div>'
    )


def _interval_picture(column: ColumnComparison) -> str:
    """The difference and its interval about zero, better to the right; as wide as the interval reaches."""
    if column.ci is None or column.delta is None:
        return ""
    sign = 1 if column.column.direction == "up" else -1
    reach = max(abs(end) for end in (*column.ci, column.delta)) or 1.0
    low, middle, high = (sign * SPAN * value / reach for value in (column.ci[0], column.delta, column.ci[1]))
    return (
        f'<svg class="interval" viewBox="{-SPAN - 4} -6 {2 * SPAN + 8} 12" aria-hidden="true">'
        f'<path d="M0 -6V6" stroke="currentColor" stroke-opacity=".4"/>'
        f'<path d="M{low:.1f} 0H{high:.1f}" stroke="currentColor" stroke-width="2"/>'
        f'<circle cx="{middle:.1f}" r="3.5"/></svg>'
    )


def values_of(run: Run, columns: Sequence[BoardColumn]) -> dict[str, list[float | None]]:
    """Clip -> one value per column, None where there is none."""
    values: dict[str, list[float | None]] = {clip: [None] * len(columns) for clip in run.identity.clips}
    places = {column.key: index for index, column in enumerate(columns)}
    for score in run.scores:
        for name, value in (score.values or {}).items():
            judge = run.judges.get((score.metric, score.protocol), ())
            index = places.get((score.metric, score.protocol, name, judge))
            if index is not None:
                values[score.clip][index] = value
    return values


def _errors(run: Run) -> dict[str, str]:
    """Clip -> why something about it failed."""
    errors = {clip: record.error.message for clip, record in run.generated.items() if record.error is not None}
    for score in run.scores:
        if score.error is not None and score.error.kind != NOT_APPLICABLE:
            errors.setdefault(score.clip, f"{score.metric}: {score.error.message}")
    return errors


def scrolling(attributes: str, label: str) -> str:
    """The start tag of a region that scrolls sideways, by keyboard as well."""
    return f'<div {attributes} class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'


def _sortable(heading: str, below: str = "", *, text: bool = False) -> str:
    small = f"<small>{escape(below)}</small>" if below else ""
    kind = ' class="text"' if text else ""
    return f'<th scope="col"{kind}><button type="button">{escape(heading)}{small}</button></th>'


def _cell(cell: Cell, column: BoardColumn) -> str:
    if cell.mean is None:
        text = "–" if cell.entry is None else "N/A"
        return f'<td data-value="">{text}{_marks(cell.notes)}</td>'
    assert cell.entry is not None
    text = _number(cell.mean, column)
    if cell.best:
        text = f"<strong>{text}</strong>"
    if cell.entry.ci95 is not None:
        low, high = (_number(value, column) for value in cell.entry.ci95)
        text += f' <span class="interval">{low} to {high}</span>'
    return f'<td data-value="{cell.mean}">{text}{_marks(cell.notes)}</td>'


def _number(value: float | None, column: BoardColumn) -> str:
    return "" if value is None else f"{value:.{column.decimals}f}"


def _marks(notes: Sequence[int]) -> str:
    return "".join(f"<sup>{note}</sup>" for note in notes)
