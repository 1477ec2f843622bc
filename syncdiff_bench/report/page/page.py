"""Runs as one self-contained HTML page: leaderboard, clips to watch side by side, per-clip values, plots.

Tables and images are plain HTML; `page.js` only sorts, filters, plays and plots. Nothing is loaded from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from html import escape as escaped
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.progress import Progress
from syncdiff_bench.report.comparison import SHOWN_CHANGES, change_text, comparison_table
from syncdiff_bench.report.leaderboard import Board, boards
from syncdiff_bench.report.page.material import (
    Material,
    changed_clips,
    notable_clips,
    picture_uri,
    values_of,
    video_uri,
)
from syncdiff_bench.report.page.strip import reference_row, strip_of
from syncdiff_bench.report.selection import EVERYTHING, REFERENCE, Choice
from syncdiff_bench.report.table import Cell, Heading, Note, Panel, Row, number
from syncdiff_bench.report.writers.html import escape, notes_html, panel_html, scrolling
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.records import NOT_APPLICABLE
from syncdiff_bench.significance.comparison import ColumnComparison, Comparison

SPAN = 60  # pixels to either side of zero in the picture of an interval

CHANGES_FIGURE = """<figure><div id="changes"></div>
<figcaption>Every clip: B minus A, what got worse on the left.</figcaption></figure>"""


def build_page(
    runs: Sequence[Run],
    *,
    choice: Choice = EVERYTHING,
    comparison: Comparison | None = None,
    clips: int = 12,
    data_root: Path | None = None,
    progress: Progress | None = None,
) -> str:
    """The document. choice: its rows and columns. clips: how many to embed with video, chosen by `notable_clips`.

    comparison: of the second run against the first; the page then says where they differ, and shows the clips that
    changed most. Raises UsageError where the runs are over several sets of clips: their values cannot share a page.
    """
    found = boards(runs, choice)
    if len(found) != 1:
        titles = "; ".join(board.table.title for board in found)
        raise UsageError(f"a page is of runs over the same clips, not of {titles}; write one page for each")
    board = found[0]
    ordered = [row.run for row in board.rows]
    material = Material(ordered, data_root)
    chosen = notable_clips(ordered, board.columns, clips) if comparison is None else changed_clips(comparison, clips)
    watch: dict[str, Any] = {}
    progress = progress or Progress()
    with progress.stage("report", len(chosen), 0):
        for clip_id in chosen:
            progress.working_on([clip_id])
            watch[clip_id] = _watchable(material, board, clip_id)
            progress.done()
    if comparison is None:
        return _document(board, watch, material.problem)
    names = {id(row.run): row.name for row in board.rows}
    keys = {(column.metric, column.protocol, column.column.name) for column in comparison.columns}
    shown = [index for index, column in enumerate(board.columns) if column.key[:3] in keys]
    pair = {"a": names[id(runs[0])], "b": names[id(runs[1])], "columns": shown}
    return _document(board, watch, material.problem, pair, _difference(pair, comparison))


def _watchable(material: Material, board: Board, clip_id: str) -> dict[str, Any]:
    """Videos and the mouth strip of one clip. absent: name -> why there is nothing to see of it."""
    clips, absent = material.shown(clip_id, [row.name for row in board.rows])
    reference, lacking = material.reference_or_reason(clip_id)
    if lacking and not material.problem:
        absent = {REFERENCE: lacking, **absent}
    able = [row.run for row in board.rows if row.name in clips]
    players = clips if reference is None else {REFERENCE: reference, **clips}
    strip: dict[str, Any] = {"spoken": [], "rows": {}}
    if shown := {**reference_row(reference, able), **clips}:
        try:
            made = strip_of(clip_id, shown, reference, area="mouth")
        except ClipError:  # without a known face, all of the frame
            made = strip_of(clip_id, shown, reference)
        strip = {"spoken": list(made.spoken), "rows": {name: picture_uri(frames) for name, frames in made.rows.items()}}
    return {
        "transcript": (reference.transcript if reference else None) or "",
        "videos": {name: video_uri(clip.media) for name, clip in players.items()},
        "absent": absent,
        "strip": strip,
    }


def _difference(pair: Mapping[str, Any], comparison: Comparison) -> str:
    return f"""<section aria-labelledby="difference-title">
<h2 id="difference-title">Difference</h2>
<p>A: {escape(pair["a"])}, B: {escape(pair["b"])}</p>
{difference_html(comparison)}
</section>
"""


def _document(
    board: Board, watch: dict[str, Any], problem: str, pair: Mapping[str, Any] | None = None, difference: str = ""
) -> str:
    """problem: why the dataset cannot be opened, "" where it can. pair: the names of A and B, and the columns compared.
    difference: the section on them.
    """
    data = {
        "columns": [
            {"label": f"{c.label} ({c.named})", "direction": c.direction, "decimals": c.decimals} for c in board.columns
        ],
        "methods": [row.name for row in board.rows],
        "values": {row.name: values_of(row.run, board.columns) for row in board.rows},
        "watch": watch,
        "pair": pair,
    }
    folder = files("syncdiff_bench.report.page")
    names = ("page.html", "page.css", "page.js")
    template, style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in names)
    # "<" never appears in the JSON, so no value of it can end the script element.
    embedded = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    without = "No reference and nothing of what is said, because the dataset cannot be opened"
    missing = f'<p class="failed" id="problem">{without}: {escape(problem)}</p>' if problem else ""
    title = escape(board.table.title if pair is None else f"{pair['b']} against {pair['a']}: {board.table.title}")
    changes = CHANGES_FIGURE if pair is not None else ""
    options = "".join(f'<option value="{escaped(clip)}">{escape(clip)}</option>' for clip in watch)
    return Template(template).substitute(
        title=title,
        style=style,
        script=script,
        leaderboard=leaderboard_html(board),
        difference=difference,
        missing=missing,
        options=options,
        strip=scrolling("Mouths", "strip"),
        changes=changes,
        clips=clips_html(board, watch),
        data=embedded,
    )


def leaderboard_html(board: Board) -> str:
    """One row per run, and the notes."""
    (panel,), caption = board.table.panels, f"Leaderboard of {board.table.title}"
    return panel_html(panel, caption, label="Leaderboard", name="leaderboard") + notes_html(board.table)


def clips_html(board: Board, watch: Container[str] = ()) -> str:
    """One row per clip and run: a value per column, and why something about it failed; a button shows its videos.

    watch: clips that have some.
    """
    rows = []
    for row in board.rows:
        values, errors = values_of(row.run, board.columns), _errors(row.run)
        for clip in row.run.identity.clips:
            reason = f' <span class="failed">{escape(errors[clip])}</span>' if clip in errors else ""
            cells = (
                Cell("" if value is None else number(value, column.decimals), value=value)
                for value, column in zip(values[clip], board.columns, strict=True)
            )
            data = {"method": row.name, "text": f"{clip} {row.run.speakers[clip]}".lower()}
            name = (_watch_button(clip, clip) if clip in watch else escape(clip)) + reason
            rows.append(Row((Cell(clip, html=name), Cell(row.name, value=row.name), *cells), data=data))
    headings = (
        Heading("Clip", align="left", names_row=True),
        Heading("Method", align="left"),
        *(Heading(column.heading, column.named) for column in board.columns),
    )
    caption = "Every clip and method: a value per metric, or why there is none"
    return panel_html(Panel(headings, (tuple(rows),)), caption, label="Values of every clip", name="clip-table")


def difference_html(comparison: Comparison) -> str:
    """One row per column compared, B against A; the clips that changed most are buttons that show them."""
    table = comparison_table(comparison, ("A", "B"))
    (panel,) = table.panels
    shown = replace(panel, groups=(tuple(map(_with_picture, panel.rows, comparison.columns)),))
    caption = "B minus A, column by column, over the clips that both have"
    drawn = Note("Intervals are drawn with what is better to the right of zero.")
    notes = notes_html(replace(table, notes=(*table.notes, drawn)))
    return panel_html(shown, caption, label="Difference", name="difference") + notes


def _with_picture(row: Row, column: ColumnComparison) -> Row:
    """The row with its interval drawn, and buttons for its clips."""
    cells = list(row.cells)
    cells[4] = replace(cells[4], html=escape(cells[4].text) + _interval_picture(column))
    changes = column.largest_changes(SHOWN_CHANGES)
    buttons = "".join(_watch_button(change.clip, change_text(change, column)) for change in changes)
    return replace(row, cells=(*cells[:-1], replace(cells[-1], html=buttons)))


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


def _watch_button(clip: str, text: str) -> str:
    return f'<button type="button" class="watch" data-clip="{escaped(clip)}">{escape(text)}</button>'


def _errors(run: Run) -> dict[str, str]:
    """Clip -> why something about it failed."""
    errors = {clip: record.error.message for clip, record in run.generated.items() if record.error is not None}
    for score in run.scores:
        if score.error is not None and score.error.kind != NOT_APPLICABLE:
            errors.setdefault(score.clip, f"{score.metric}: {score.error.message}")
    return errors
