"""The end of the page: data, methods, weights, versions and boxes behind the numbers, and what to know of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from syncdiff_bench.report.leaderboard import Board, BoardRow
from syncdiff_bench.report.writers.html import escape

Facts = Mapping[str, str]  # name -> what it is, plain text


def made_from_html(board: Board) -> str:
    """Data, methods, metrics and versions as boxes of facts; then every caveat, and whose it is."""
    runs = [row.run for row in board.rows]
    parts = [
        _boxes("Data", [(board.table.title, _data(board))]),
        _boxes("Methods", [(row.name, _method(row)) for row in board.rows]),
        _boxes("Metrics", _metrics(board)),
        _boxes("Versions", _grouped(board, [_versions(run.manifest) for run in runs])),
    ]
    caveats: dict[str, list[str]] = {}
    for row in board.rows:
        for one in row.run.caveats:
            caveats.setdefault(one.text, []).append(row.name)
    items = [f"{escape(_whose(names, board))}: {escape(text)}" for text, names in caveats.items()]
    told = "".join(f"<li>{item}</li>\n" for item in items)
    parts.append(f"<h3>What to know</h3>\n<ul>\n{told}</ul>\n" if items else "")
    return "".join(parts)


def _data(board: Board) -> Facts:
    first = board.rows[0].run
    identity = first.identity
    boxes = dict.fromkeys(row.run.identity.boxes for row in board.rows if row.run.identity.boxes)
    return {
        "data set": identity.dataset,
        "split": identity.split,
        "clips": f"{len(identity.clips)} of {len(set(first.speakers.values()))} speakers",
        "fingerprint of the files": identity.fingerprint,
        "options": _options(identity.dataset_options),
        "face boxes": ", ".join(boxes),
    }


def _method(row: BoardRow) -> Facts:
    identity, manifest = row.run.identity, row.run.manifest
    hardware = manifest["hardware"]
    return {
        "method": identity.method + (", a bound that does not compete" if identity.topline else ""),
        "options": _options(identity.options),
        "weights": _weights(one.to_json() for one in identity.weights),
        "seed": str(identity.seed),
        "video": identity.encoding,
        "trained against": ", ".join(sorted(identity.trained_against)),
        "made on": ", ".join(str(hardware[key]) for key in ("device", "cpu", "system") if hardware.get(key)),
        "finished": manifest["finished"] or "not yet",
    }


def _metrics(board: Board) -> list[tuple[str, Facts]]:
    """Each with the weights, versions and boxes behind its numbers, once where they are the same in several runs."""
    labels: dict[tuple[str, str], list[str]] = {}
    for column in board.columns:
        labels.setdefault((column.metric, column.protocol), []).append(column.label)
    found = []
    for (metric, protocol), columns in labels.items():
        sources = []
        for row in board.rows:
            entries = [e for e in row.run.manifest["protocols"] if (e["metric"], e["protocol"]) == (metric, protocol)]
            sources.append(_judged(entries[0]) if entries else {})
        title = f"{', '.join(dict.fromkeys(columns))}: {metric} ({protocol})"
        found += [(f"{title}{name and f', {name}'}", facts) for name, facts in _grouped(board, sources, alike="")]
    return found


def _judged(entry: Mapping[str, Any]) -> Facts:
    boxes = entry.get("boxes") or {}
    counted = ", ".join(f"{source}: {n} clips" for source, n in boxes.get("sources", {}).items())
    return {
        "as in": entry.get("source", ""),
        "options": _options(entry["options"]),
        "weights": _weights(entry["weights"]),
        "versions": ", ".join(f"{key} {value}" for key, value in (entry.get("provenance") or {}).items()),
        "face boxes": counted and f"{counted} (sha256 {boxes['sha256']})",
    }


def _versions(manifest: Mapping[str, Any]) -> Facts:
    return {name: str(version) for name, version in manifest["versions"].items()}


def _grouped(board: Board, facts: Sequence[Facts], alike: str = "all methods") -> list[tuple[str, Facts]]:
    """Facts of rows, those that are the same once, with whose they are. alike: where it is everybody's."""
    groups: list[tuple[Facts, list[str]]] = []
    for row, known in zip(board.rows, facts, strict=True):
        names = next((names for other, names in groups if other == known), None)
        if names is None and known:
            groups.append((known, [row.name]))
        elif names is not None:
            names.append(row.name)
    return [(alike if len(groups) == 1 else ", ".join(names), known) for known, names in groups]


def _whose(names: Sequence[str], board: Board) -> str:
    return "all methods" if len(names) == len(board.rows) > 1 else ", ".join(dict.fromkeys(names))


def _options(options: Mapping[str, Any]) -> str:
    """Those that are set."""
    return ", ".join(f"{key}={json.dumps(value, default=str)}" for key, value in options.items() if value is not None)


def _weights(weights: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(f"{one['name']} (sha256 {one['sha256']})" for one in weights)


def _boxes(heading: str, boxes: Sequence[tuple[str, Facts]]) -> str:
    """What is not known is left out."""
    made = []
    for title, facts in boxes:
        lines = "".join(f"<dt>{escape(key)}</dt><dd>{escape(text)}</dd>" for key, text in facts.items() if text)
        made.append(f'<div class="fact"><h4>{escape(title)}</h4><dl>{lines}</dl></div>')
    return f'<h3>{heading}</h3>\n<div class="facts">\n' + "\n".join(made) + "\n</div>\n" if made else ""
