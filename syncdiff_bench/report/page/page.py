"""Runs as one self-contained HTML page: which is better and how sure that is, clips side by side, every number.

Tables and images are plain HTML; the scripts sort, filter, play and plot. Nothing is loaded from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from syncdiff_bench.characters import one_line
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.progress import Progress
from syncdiff_bench.report.comparison import SHOWN_CHANGES, change_text, comparison_table
from syncdiff_bench.report.leaderboard import Board, BoardColumn, boards, entries_of
from syncdiff_bench.report.page.made_from import made_from_html
from syncdiff_bench.report.page.material import (
    ClipScores,
    Material,
    changed_clips,
    notable_among,
    picture_uri,
    scores_of_clips,
    video_base64,
)
from syncdiff_bench.report.page.strip import GROUND_TRUTH, reference_row, strip_of
from syncdiff_bench.report.page.verdicts import Verdict, headline, of_pair, verdicts_of
from syncdiff_bench.report.selection import EVERYTHING, REFERENCE, Choice, row_names
from syncdiff_bench.report.table import Note, Row
from syncdiff_bench.report.writers.html import escape, notes_html, panel_html, scrolling
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.significance.comparison import ColumnComparison, Comparison

SPAN = 60  # pixels to either side of zero in the picture of an interval
DIGITS = 6  # significant ones of a clip's value
SCRIPTS = ("page.js", "plots.js", "players.js", "clips.js")  # one script, in this order

CHANGES_FIGURE = """
<figure><figcaption>Every clip: B minus A, what got worse on the left</figcaption>
<div id="changes" class="plot"></div></figure>"""


@dataclass(frozen=True)
class Sides:
    """The two runs of a comparison. a, b: their rows on the board. columns: those of the board that are compared."""

    comparison: Comparison
    a: int
    b: int
    columns: tuple[int, ...]


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
    The scores are read as they pass (`load_run` with lines="passing"), twice.
    """
    found = boards(runs, choice)
    if len(found) != 1:
        titles = "; ".join(board.table.title for board in found)
        raise UsageError(f"a page is of runs over the same clips, not of {titles}; write one page for each")
    board = titled(found[0])
    ordered = [row.run for row in board.rows]
    material = Material(ordered, data_root)
    scores = [scores_of_clips(run, board.columns) for run in ordered]
    sides = None if comparison is None else _sides(board, runs, comparison)
    order = ordered[0].identity.clips
    number = {clip: index for index, clip in enumerate(order)}
    chosen = changed_clips(comparison, clips) if comparison else notable_among(scores, board.columns, order, clips)
    watch: dict[int, Any] = {}
    progress = progress or Progress()
    with progress.stage("report", len(chosen), 0):
        for clip_id in chosen:
            progress.working_on([clip_id])
            watch[number[clip_id]] = _watchable(material, board, clip_id)
            progress.done()
    return _document(board, scores, watch, material.problem, sides)


def titled(board: Board) -> Board:
    """The board with methods by their titles."""
    names = row_names([row.run for row in board.rows], titled=True)
    called = {row.name: name for row, name in zip(board.rows, names, strict=True)}
    panels = []
    for panel in board.table.panels:
        place = next(index for index, heading in enumerate(panel.headings) if heading.names_row)
        groups = tuple(tuple(_called(row, place, called) for row in group) for group in panel.groups)
        panels.append(replace(panel, groups=groups))
    table = replace(board.table, panels=tuple(panels), unranked=tuple(called[name] for name in board.table.unranked))
    rows = tuple(replace(row, name=called[row.name]) for row in board.rows)
    return replace(board, rows=rows, table=table)


def _called(row: Row, place: int, names: Mapping[str, str]) -> Row:
    cells = list(row.cells)
    cells[place] = replace(cells[place], text=names[cells[place].text])
    return replace(row, cells=tuple(cells))


def _sides(board: Board, runs: Sequence[Run], comparison: Comparison) -> Sides:
    """runs: A and B, as they are on the board."""
    keys = {(column.metric, column.protocol, column.column.name) for column in comparison.columns}
    columns = tuple(index for index, column in enumerate(board.columns) if column.key[:3] in keys)
    a, b = (next(i for i, row in enumerate(board.rows) if row.run is run) for run in runs)
    return Sides(comparison, a, b, columns)


def _watchable(material: Material, board: Board, clip_id: str) -> dict[str, Any]:
    """Videos and the mouth strip of one clip, each with the name that stands by it.

    Where a run is ground truth, the reference would be shown twice and is left out.
    absent: name and why there is nothing to see of it.
    """
    clips, absent = material.shown(clip_id, [row.name for row in board.rows])
    reference, lacking = material.reference_or_reason(clip_id)
    if lacking and not material.problem:
        absent = {REFERENCE: lacking, **absent}
    able = [row.run for row in board.rows if row.name in clips]
    shows_truth = any(run.identity.method == GROUND_TRUTH for run in able)
    players = clips if reference is None or shows_truth else {REFERENCE: reference, **clips}
    strip: dict[str, Any] = {"spoken": [], "rows": []}
    if shown := {**reference_row(reference, able), **clips}:
        try:
            made = strip_of(clip_id, shown, reference, area="mouth")
        except ClipError:  # without a known face, all of the frame
            made = strip_of(clip_id, shown, reference)
        rows = [[one_line(name), picture_uri(frames)] for name, frames in made.rows.items()]
        strip = {"spoken": list(map(one_line, made.spoken)), "rows": rows}
    return {
        "transcript": one_line((reference.transcript if reference else None) or ""),
        "videos": [[one_line(name), video_base64(clip.media)] for name, clip in players.items()],
        "absent": [[one_line(name), one_line(why)] for name, why in absent.items()],
        "strip": strip,
    }


def _document(
    board: Board, scores: Sequence[ClipScores], watch: Mapping[int, Any], problem: str, sides: Sides | None
) -> str:
    """problem: why the dataset cannot be opened, "" where it can. watch: number of a clip -> what there is to see."""
    summaries = [entries_of(row.run, board.columns) for row in board.rows]
    verdicts = verdicts_of(board, summaries) if sides is None else _verdicts_between(board, sides)
    names = [row.name for row in board.rows]
    pair = None if sides is None else (names[sides.a], names[sides.b])
    folder = files("syncdiff_bench.report.page")
    template, style, *scripts = (
        folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *SCRIPTS)
    )
    script = "\n".join(scripts)
    without = "No reference and nothing of what is said, because the dataset cannot be opened"
    first = verdicts[0] if verdicts else Verdict("Nothing was scored.")
    clips = board.rows[0].run.identity.clips
    return Template(template).substitute(
        policy=_policy(style, script),
        title=escape(board.table.title if pair is None else f"{pair[1]} against {pair[0]}: {board.table.title}"),
        style=style,
        script=script,
        headline=escape(headline(verdicts, "Which is better?")),
        metrics="\n".join(_choice(index, column) for index, column in enumerate(board.columns)),
        lead=escape(first.lead),
        sure=escape(first.sure),
        missing=f'<p class="failed" id="problem">{without}: {escape(problem)}</p>' if problem else "",
        options="".join(f'<option value="{index}">{escape(clips[index])}</option>' for index in watch),
        values=scrolling("Values of this clip", "values"),
        strip=scrolling("Mouths", "strip"),
        leaderboard=leaderboard_html(board),
        difference="" if sides is None or pair is None else _difference(pair, sides.comparison, clips),
        changes=CHANGES_FIGURE if sides is not None else "",
        clips=scrolling("Values of every clip", "clip-values"),
        made=made_from_html(board),
        data=_embedded(_data(board, scores, watch, verdicts, sides)),
    )


def _verdicts_between(board: Board, sides: Sides) -> tuple[Verdict, ...]:
    names = (board.rows[sides.a].name, board.rows[sides.b].name)
    by_name = {(one.metric, one.protocol, one.column.name): one for one in sides.comparison.columns}
    tests = sum(one.p is not None for one in sides.comparison.columns)
    return tuple(
        of_pair(by_name[column.key[:3]], column, names, tests)
        if index in sides.columns
        else Verdict(f"{column.label} is not compared: only one side has it, or other weights scored it.")
        for index, column in enumerate(board.columns)
    )


def _data(
    board: Board,
    scores: Sequence[ClipScores],
    watch: Mapping[int, Any],
    verdicts: Sequence[Verdict],
    sides: Sides | None,
) -> dict[str, Any]:
    """What the scripts read. Clips, methods and columns are numbers there, in the order of their lists."""
    run = board.rows[0].run
    clips = run.identity.clips
    number = {clip: index for index, clip in enumerate(clips)}
    methods = []
    for row, own in zip(board.rows, scores, strict=True):
        entries = entries_of(row.run, board.columns)
        methods.append(
            {
                "name": one_line(row.name),
                "bound": row.run.identity.topline,
                "summary": [e and {"mean": e.mean, "ci": e.ci95, "n": e.n, "failed": e.failed} for e in entries],
                "values": [[None if v is None else float(f"{v:.{DIGITS}g}") for v in values] for values in own.values],
                "failed": {number[clip]: one_line(why) for clip, why in own.errors.items()},
            }
        )
    columns = [
        {
            "label": one_line(column.label),
            "protocol": one_line(column.named),
            "unit": one_line(column.unit),
            "direction": column.direction,
            "decimals": column.decimals,
            "lead": one_line(verdict.lead),
            "sure": one_line(verdict.sure),
        }
        for column, verdict in zip(board.columns, verdicts, strict=True)
    ]
    return {
        "clips": [one_line(clip) for clip in clips],
        "speakers": [one_line(run.speakers[clip]) for clip in clips],
        "columns": columns,
        "methods": methods,
        "watch": watch,
        "pair": sides and {"a": sides.a, "b": sides.b, "columns": sides.columns},
    }


def _embedded(data: Mapping[str, Any]) -> str:
    """ "<" never appears in the JSON, so no value of it can end the script element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _policy(style: str, script: str) -> str:
    """What the page may do: run its own script, in its own style, and show what is in it. Nothing may be loaded."""

    def digest(text: str) -> str:  # of the element, which begins with the end of a line
        return base64.b64encode(hashlib.sha256(f"\n{text}".encode()).digest()).decode("ascii")

    own = f"script-src 'sha256-{digest(script)}'; style-src 'sha256-{digest(style)}'"
    return f"default-src 'none'; {own}; img-src data:; media-src blob:; base-uri 'none'; form-action 'none'"


def _choice(index: int, column: BoardColumn) -> str:
    checked = "" if index else " checked"
    button = f'<input type="radio" name="metric" value="{index}"{checked}>'
    return f"<label>{button}{escape(column.heading)} <small>{escape(column.named)}</small></label>"


def _difference(pair: tuple[str, str], comparison: Comparison, clips: Sequence[str]) -> str:
    return f"""<section aria-labelledby="difference-title">
<h2 id="difference-title">Difference</h2>
<p>A: {escape(pair[0])}, B: {escape(pair[1])}</p>
{difference_html(comparison, clips)}
</section>
"""


def leaderboard_html(board: Board) -> str:
    """One row per run, and the notes."""
    (panel,), caption = board.table.panels, f"Leaderboard of {board.table.title}"
    return panel_html(panel, caption, label="Leaderboard", name="leaderboard") + notes_html(board.table)


def difference_html(comparison: Comparison, clips: Sequence[str]) -> str:
    """One row per column compared, B against A; the clips that changed most are buttons that show them.

    clips: of the page, in its order.
    """
    table = comparison_table(comparison, ("A", "B"))
    (panel,) = table.panels
    number = {clip: index for index, clip in enumerate(clips)}
    rows = tuple(_with_picture(row, column, number) for row, column in zip(panel.rows, comparison.columns, strict=True))
    caption = "B minus A, column by column, over the clips that both have"
    drawn = Note("Intervals are drawn with what is better to the right of zero.")
    notes = notes_html(replace(table, notes=(*table.notes, drawn)))
    return panel_html(replace(panel, groups=(rows,)), caption, label="Difference", name="difference") + notes


def _with_picture(row: Row, column: ColumnComparison, number: Mapping[str, int]) -> Row:
    """The row with its interval drawn, and buttons for its clips."""
    cells = list(row.cells)
    cells[4] = replace(cells[4], html=escape(cells[4].text) + _interval_picture(column))
    changes = column.largest_changes(SHOWN_CHANGES)
    buttons = "".join(_watch_button(number[change.clip], change_text(change, column)) for change in changes)
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


def _watch_button(clip: int, text: str) -> str:
    """clip: its number."""
    return f'<button type="button" class="watch" data-clip="{clip}">{escape(text)}</button>'
