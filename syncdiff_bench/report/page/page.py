"""Runs as one self-contained HTML page: leaderboard, clips to watch side by side, per-clip values, plots.

Tables and pictures are plain HTML; `page.js` only sorts, filters, plays and plots. Nothing is loaded from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from syncdiff_bench.errors import BenchError, ClipError, UsageError
from syncdiff_bench.report.leaderboard import REFERENCE, Board, boards
from syncdiff_bench.report.page.material import Material
from syncdiff_bench.report.page.notable import changed_clips, notable_clips
from syncdiff_bench.report.page.page_tables import clip_table, difference_table, leaderboard, scrolling, values_of
from syncdiff_bench.report.page.playback import picture_uri, video_uri
from syncdiff_bench.report.page.strip import reference_row, strip_of
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.progress import Progress
from syncdiff_bench.significance.comparison import Comparison

CHANGES_FIGURE = """<figure><div id="changes"></div>
<figcaption>Every clip: B minus A, what got worse on the left.</figcaption></figure>"""


def build_page(
    runs: Sequence[Run],
    *,
    comparison: Comparison | None = None,
    clips: int = 12,
    data_root: Path | None = None,
    progress: Progress | None = None,
) -> str:
    """The document. clips: how many to embed with video, chosen by `notable_clips`.

    comparison: of the second run against the first; the page then says where they differ, and shows the clips that
    changed most. Raises UsageError where the runs are over several sets of clips: their values cannot share a page.
    """
    found = boards(runs)
    if len(found) != 1:
        titles = "; ".join(board.title for board in found)
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
            progress.clips_done()
    if comparison is None:
        return _document(board, watch, material.problem)
    names = {id(row.run): row.name for row in board.rows}
    pair = {"a": names[id(runs[0])], "b": names[id(runs[1])], "columns": _compared(board, comparison)}
    return _document(board, watch, material.problem, pair, _difference(pair, comparison))


def _compared(board: Board, comparison: Comparison) -> list[int]:
    """Which columns of the board were compared."""
    keys = {(column.metric, column.protocol, column.column.name) for column in comparison.columns}
    return [index for index, column in enumerate(board.columns) if column.key[:3] in keys]


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
        try:
            made = strip_of(clip_id, shown, reference, area="mouth")
        except ClipError:  # where nobody knows where the face is, there is all of it
            made = strip_of(clip_id, shown, reference)
        strip = {"spoken": list(made.spoken), "rows": {row.name: picture_uri(row.frames) for row in made.rows}}
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
{difference_table(comparison)}
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
    style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    # "<" never appears in the JSON, so no value of it can end the script element.
    embedded = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    without = "No reference and nothing of what is said, because the dataset cannot be opened"
    missing = f'<p class="failed" id="problem">{without}: {escape(problem)}</p>' if problem else ""
    title = escape(board.title if pair is None else f"{pair['b']} against {pair['a']}: {board.title}")
    changes = CHANGES_FIGURE if pair is not None else ""
    options = "".join(f'<option value="{escape(clip)}">{escape(clip)}</option>' for clip in watch)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#clips">Skip to the clips</a>
<header><h1>{title}</h1></header>
<main>
<section aria-labelledby="board-title">
<h2 id="board-title">Leaderboard</h2>
{leaderboard(board)}
</section>
{difference}<section aria-labelledby="watch-title">
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
{scrolling('id="strip"', "Mouths")}</div>
</section>
<section aria-labelledby="plots-title">
<h2 id="plots-title">Plots</h2>
<p><label>Metric <select id="metric-x"></select></label> <label>against <select id="metric-y"></select></label></p>
<ul id="legend" class="legend" aria-label="Methods"></ul>
<div class="plots"><figure><div id="distribution"></div>
<figcaption>Every clip, and the median of each method.</figcaption></figure>
<figure><div id="scatter"></div><figcaption>One point per clip and method.</figcaption></figure>{changes}</div>
<h3>Worst clips</h3>
{scrolling('id="worst"', "Worst clips")}</div>
</section>
<section aria-labelledby="clips-title" id="clips">
<h2 id="clips-title">Clips</h2>
<p><label>Filter <input type="search" id="filter" placeholder="clip or speaker"></label>
<label>Method <select id="method"><option value="">all</option></select></label> <output id="shown"></output></p>
{clip_table(board)}
</section>
</main>
<script type="application/json" id="data">{embedded}</script>
<script>
{script}</script>
</body>
</html>
"""
