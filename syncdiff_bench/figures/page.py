"""Runs as one self-contained HTML page: leaderboard, clips to watch side by side, per-clip values, plots.

Tables and pictures are plain HTML; `page.js` only sorts, filters, plays and plots. Nothing is loaded from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from syncdiff_bench.errors import BenchError, ClipError, UsageError
from syncdiff_bench.figures.material import Material
from syncdiff_bench.figures.notable import notable_clips
from syncdiff_bench.figures.playback import picture_uri, video_uri
from syncdiff_bench.figures.strip import reference_row, strip_of
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.leaderboard import REFERENCE, Board, BoardColumn, Cell, boards
from syncdiff_bench.runs.progress import Progress
from syncdiff_bench.runs.records import NOT_APPLICABLE


def build_page(
    runs: Sequence[Run], *, clips: int = 12, data_root: Path | None = None, progress: Progress | None = None
) -> str:
    """The document. clips: how many to embed with video, chosen by `notable_clips`.

    Raises UsageError where the runs are over several sets of clips: their values cannot share a page.
    """
    found = boards(runs)
    if len(found) != 1:
        titles = "; ".join(board.title for board in found)
        raise UsageError(f"these runs are over different clips ({titles}); write one page for each")
    board = found[0]
    ordered = [row.run for row in board.rows]
    material = Material(ordered, data_root)
    chosen = notable_clips(ordered, board.columns, clips)
    watch: dict[str, Any] = {}
    progress = progress or Progress()
    with progress.stage("report", len(chosen), 0):
        for clip_id in chosen:
            progress.working_on([clip_id])
            watch[clip_id] = _watchable(material, board, clip_id)
            progress.clips_done()
    return _document(board, watch, material.problem)


def _watchable(material: Material, board: Board, clip_id: str) -> dict[str, Any]:
    """Videos and the mouth strip of one clip. absent: name -> why there is nothing to see of it."""
    absent: dict[str, str] = {}
    reference, clips, able = None, {}, []
    if not material.problem:
        try:
            reference = material.reference(clip_id)
        except BenchError as error:
            absent[REFERENCE] = str(error)
    for row in board.rows:
        try:
            clips[row.name] = material.generated(row.run, clip_id)
            able.append(row.run)
        except ClipError as error:
            absent[row.name] = str(error)
    players = clips if reference is None else {REFERENCE: reference, **clips}
    strip: dict[str, Any] = {"spoken": [], "rows": {}}
    if shown := {**reference_row(reference, able), **clips}:
        made = strip_of(clip_id, shown, reference, area="mouth")
        strip = {"spoken": list(made.spoken), "rows": {row.name: picture_uri(row.frames) for row in made.rows}}
    return {
        "transcript": (reference.transcript if reference else None) or "",
        "videos": {name: video_uri(clip.media) for name, clip in players.items()},
        "absent": absent,
        "strip": strip,
    }


def _document(board: Board, watch: dict[str, Any], problem: str) -> str:
    """problem: why the dataset cannot be opened, "" where it can."""
    data = {
        "columns": [
            {"label": f"{c.label} ({c.protocol})", "direction": c.direction, "decimals": c.decimals}
            for c in board.columns
        ],
        "methods": [row.name for row in board.rows],
        "values": {row.name: _values(row.run, board.columns) for row in board.rows},
        "watch": watch,
    }
    folder = files("syncdiff_bench.figures")
    style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    # "<" never appears in the JSON, so no value of it can end the script element.
    embedded = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    without = "No reference and nothing of what is said, because the dataset cannot be opened"
    missing = f'<p class="failed" id="problem">{without}: {escape(problem)}</p>' if problem else ""
    options = "".join(f'<option value="{escape(clip)}">{escape(clip)}</option>' for clip in watch)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(board.title)}</title>
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#clips">Skip to the clips</a>
<header><h1>{escape(board.title)}</h1></header>
<main>
<section aria-labelledby="board-title">
<h2 id="board-title">Leaderboard</h2>
{_leaderboard(board)}
</section>
<section aria-labelledby="watch-title">
<h2 id="watch-title">Side by side</h2>
{missing}
<p><label>Clip <select id="clip">{options}</select></label> <span id="transcript"></span></p>
<ul id="absent" class="failed"></ul>
<div id="players" class="players"></div>
<p class="controls">
<button type="button" id="play">Play</button>
<button type="button" id="back" aria-label="One frame back">&#9664;&#xFE0E;</button>
<button type="button" id="forward" aria-label="One frame forward">&#9654;&#xFE0E;</button>
<label>Position <input type="range" id="seek" min="0" max="1" step="0.04" value="0"></label>
<label>Speed <select id="speed"><option>1</option><option>0.5</option><option>0.25</option></select></label>
<label>Sound <select id="sound"></select></label>
</p>
<h3>Mouths</h3>
{_scrolling('id="strip"', "Mouths")}</div>
</section>
<section aria-labelledby="plots-title">
<h2 id="plots-title">Plots</h2>
<p><label>Metric <select id="metric-x"></select></label> <label>against <select id="metric-y"></select></label></p>
<ul id="legend" class="legend" aria-label="Methods"></ul>
<div class="plots"><figure><div id="distribution"></div>
<figcaption>Every clip, and the median of each method.</figcaption></figure>
<figure><div id="scatter"></div><figcaption>One point per clip and method.</figcaption></figure></div>
<h3>Worst clips</h3>
{_scrolling('id="worst"', "Worst clips")}</div>
</section>
<section aria-labelledby="clips-title" id="clips">
<h2 id="clips-title">Clips</h2>
<p><label>Filter <input type="search" id="filter" placeholder="clip or speaker"></label>
<label>Method <select id="method"><option value="">all</option></select></label> <output id="shown"></output></p>
{_clip_table(board)}
</section>
</main>
<script type="application/json" id="data">{embedded}</script>
<script>
{script}</script>
</body>
</html>
"""


def _leaderboard(board: Board) -> str:
    head = "".join(_sortable(column.heading, column.protocol) for column in board.columns)
    rows = []
    for row in board.rows:
        cells = "".join(_cell(cell, column) for cell, column in zip(row.cells, board.columns, strict=True))
        rank = "" if row.rank is None else str(row.rank)
        kind = ' class="bound"' if row.run.identity.topline else ""
        rows.append(
            f'<tr{kind}><td data-value="{rank}">{rank}</td><th scope="row">{escape(row.name)}{_marks(row.notes)}</th>'
            f'{cells}<td data-value="{row.n}">{row.n} ({row.failed})</td></tr>'
        )
    notes = "".join(f"<li>{escape(note)}</li>" for note in board.notes)
    remarks = "".join(f"<p>{escape(remark)}</p>" for remark in board.remarks)
    return (
        f'{_scrolling("", "Leaderboard")}<table class="sortable" id="leaderboard">'
        f'<caption class="unseen">Leaderboard of {escape(board.title)}</caption><thead><tr>'
        f"{_sortable('#')}{_sortable('Method')}{head}{_sortable('n (failed)')}</tr></thead>"
        f'<tbody>{"".join(rows)}</tbody></table></div><ol class="notes">{notes}</ol><div class="notes">{remarks}</div>'
    )


def _clip_table(board: Board) -> str:
    head = "".join(_sortable(column.heading, column.protocol) for column in board.columns)
    rows = []
    for row in board.rows:
        speakers, values, name = row.run.speakers, _values(row.run, board.columns), escape(row.name)
        errors = _errors(row.run)
        for clip in row.run.identity.clips:
            cells = "".join(
                f'<td data-value="{"" if value is None else value}">{_number(value, column)}</td>'
                for value, column in zip(values[clip], board.columns, strict=True)
            )
            reason = f' <span class="failed">{escape(errors[clip])}</span>' if clip in errors else ""
            rows.append(
                f'<tr data-method="{name}" data-text="{escape(f"{clip} {speakers[clip]}".lower())}">'
                f'<th scope="row">{escape(clip)}{reason}</th><td data-value="{name}">{name}</td>'
                f"{cells}</tr>"
            )
    return (
        f'{_scrolling("", "Values of every clip")}<table class="sortable" id="clip-table">'
        '<caption class="unseen">Every clip and method: a value per metric, or why there is none</caption><thead><tr>'
        f"{_sortable('Clip')}{_sortable('Method')}{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _values(run: Run, columns: Sequence[BoardColumn]) -> dict[str, list[float | None]]:
    """Clip -> one value per column, None where there is none."""
    values: dict[str, list[float | None]] = {clip: [None] * len(columns) for clip in run.identity.clips}
    places = {column.key: index for index, column in enumerate(columns)}
    for score in run.scores:
        for name, value in (score.values or {}).items():
            index = places.get((score.metric, score.protocol, name))
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


def _scrolling(attributes: str, label: str) -> str:
    """The start tag of a region that scrolls sideways, by keyboard as well."""
    return f'<div {attributes} class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'


def _sortable(heading: str, below: str = "") -> str:
    small = f"<small>{escape(below)}</small>" if below else ""
    return f'<th scope="col"><button type="button">{escape(heading)}{small}</button></th>'


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
