"""One run as a card to pass on: JSON with every number and digest, an SVG to show, YAML for a model card of the Hub."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from xml.sax.saxutils import escape

from syncdiff_bench.characters import json_text, printable
from syncdiff_bench.report.leaderboard import Board, boards
from syncdiff_bench.report.selection import row_names
from syncdiff_bench.runs.directory import Run

SCHEMA = 1
WIDTH, LINE, EDGE = 640, 22, 20  # of the SVG, in px
NOTE_LINE, NOTE_LETTERS = 15, 96
# Where the columns of the SVG begin (the last two: end), in px.
PROTOCOL, VALUE, COUNT = 130, 500, WIDTH - EDGE
STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1b1b1b }
  .title { font-size: 18px; font-weight: 600 } .note { font-size: 11px } .soft { fill: #5a5a5a }
  .number { font-variant-numeric: tabular-nums; text-anchor: end } rect { fill: #fff; stroke: #c8c8c8 }
  @media (prefers-color-scheme: dark) {
    text { fill: #ececec } .soft { fill: #b4b4b4 } rect { fill: #1e1e1e; stroke: #555 }
  }
"""


@dataclass(frozen=True)
class Card:
    """name: of its files, without a suffix. json, svg, yaml: their texts."""

    name: str
    json: str
    svg: str
    yaml: str


def cards(runs: Sequence[Run]) -> tuple[Card, ...]:
    """One card per run, in their order."""
    return tuple(_card(run, name, slug) for run, (name, slug) in zip(runs, _named(runs), strict=True))


def _named(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What each run is called, and the same as the name of a file; no two are equal on any file system."""
    named: list[tuple[str, str]] = []
    for name in row_names(runs):
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "run"
        taken = {slug.lower() for _, slug in named}
        tries = (plain if n == 1 else f"{plain}-{n}" for n in range(1, len(runs) + 2))
        named.append((name, next(slug for slug in tries if slug.lower() not in taken)))
    return named


def _card(run: Run, name: str, slug: str) -> Card:
    (board,) = boards([run])
    text = json_text(_portable(card_record(run, board))) + "\n"
    return Card(slug, text, _svg(board, name), _model_card(json.loads(text), name))


def card_record(run: Run, board: Board) -> dict[str, Any]:
    """What the JSON holds: everything that a number of the run means, without the lines of its clips."""
    manifest, identity = run.manifest, run.identity
    dataset = {key: value for key, value in manifest["dataset"].items() if key not in ("clips", "root")}
    method = {key: manifest["method"].get(key) for key in ("name", "title", "options", "weights")}
    keys = ("metric", "protocol", "column", "mean", "ci95", "n", "failed", "direction", "unit", "weights", "reason")
    return {
        "schema": SCHEMA,
        "method": method,
        "dataset": {**dataset, "clips": len(identity.clips), "speakers": len(set(run.speakers.values()))},
        "finished": manifest["finished"],
        "seed": identity.seed,
        "encoding": identity.encoding,
        "results": [
            {**{key: record.get(key) for key in keys}, "caveats": [one["text"] for one in record["caveats"]]}
            for record in board.table.records
        ],
        "protocols": manifest["protocols"],
        "versions": manifest["versions"],
        "hardware": manifest["hardware"],
    }


def _portable(value: Any) -> Any:
    """The same without the folders of this machine: an absolute path becomes its last part."""
    if isinstance(value, dict):
        return {key: _portable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(one) for one in value]
    return PurePath(value).name if isinstance(value, str) and PurePath(value).is_absolute() else value


# ---------------------------------------------------------------------------------------------------- svg


def _svg(board: Board, name: str) -> str:
    """The row of a leaderboard, one line per column, and the notes below it."""
    ((row,),) = board.table.panels[0].groups
    values, count = row.cells[2:-1], row.cells[-1]
    lines = [
        _text(EDGE, 34, name, "title"),
        _text(EDGE, 34 + LINE, f"{board.table.title}; n (failed): {count.text}", "soft"),
    ]
    y = 34 + 2 * LINE + 10
    for column, cell in zip(board.columns, values, strict=True):
        lines += [
            _text(EDGE, y, column.heading),
            _text(EDGE + PROTOCOL, y, f"{column.metric} · {column.named}", "soft"),
            _text(VALUE, y, "".join((cell.text, *cell.marks)), "number"),
            _text(COUNT, y, cell.interval.strip(), "number soft"),
        ]
        y += LINE
    for note in board.table.notes:
        for part in textwrap.wrap(f"{note.mark} {note.text}".strip(), NOTE_LETTERS):
            lines.append(_text(EDGE, y, part, "note soft"))
            y += NOTE_LINE
    frame = f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{y + 5}" rx="8"/>'
    size = f'width="{WIDTH}" height="{y + 6}" viewBox="0 0 {WIDTH} {y + 6}"'
    label = escape(printable(f"{name}: {board.table.title}"), {'"': "&quot;"})
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">'
    return "\n".join([head, f"<style>{STYLE}</style>", frame, *lines, "</svg>", ""])


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{style}>{escape(printable(text))}</text>'


# --------------------------------------------------------------------------------------------------- yaml


def _model_card(record: dict[str, Any], name: str) -> str:
    """The head of a README.md on the Hub (huggingface_hub, `EvalResult`): one result per number that there is."""
    from huggingface_hub import EvalResult, ModelCardData

    dataset = record["dataset"]
    results = [
        EvalResult(
            task_type="audio-driven-talking-head",
            task_name="Audio-driven talking head",
            dataset_type=dataset["name"],
            dataset_name=dataset["name"],
            dataset_split=dataset["split"],
            dataset_revision=dataset["fingerprint"],
            metric_type=one["column"],
            metric_name=f"{one['column']} ({one['metric']}, {one['protocol']})",
            metric_config=one["protocol"],
            metric_value=one["mean"],
            metric_args={key: one[key] for key in ("ci95", "n", "failed", "weights", "caveats") if one[key]},
        )
        for one in record["results"]
        if one["mean"] is not None
    ]
    data = ModelCardData(model_name=name, tags=["talking-head", "syncdiff-bench"], eval_results=results or None)
    return f"---\n{data.to_yaml()}\n---\n"
