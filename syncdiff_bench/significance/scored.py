"""One side of a comparison: the statistics of every clip, from a run directory or a baseline file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncdiff_bench.errors import UsageError
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.journal import write_chosen
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.records import SCHEMA

Key = tuple[str, str]  # metric, protocol
Stats = Mapping[str, Any]


@dataclass(frozen=True)
class MetricScores:
    """What one metric found.

    options: of the metric, as run.json records them. weights: the digests behind the numbers.
    stats: clip -> sufficient statistics. failed: clip -> why it has none (not-applicable clips are in neither).
    """

    options: Mapping[str, Any]
    weights: tuple[Mapping[str, str], ...]
    stats: Mapping[str, Stats]
    failed: Mapping[str, str]


@dataclass(frozen=True)
class Scored:
    """A scored method.

    source: the folder or file, as the user named it. speakers: clip -> what its statistics cluster on.
    tolerances: "metric/protocol/column" -> the change for the worse that a gate lets pass (baselines only).
    """

    source: str
    identity: Identity
    metrics: Mapping[Key, MetricScores]
    speakers: Mapping[str, str]
    tolerances: Mapping[str, float] = field(default_factory=dict)


def from_run(run: Run) -> Scored:
    """Raises UsageError for a run that has not finished: half of its clips would be missing."""
    if not run.finished:
        raise UsageError(f"{run.path} has not finished; run the same command again, it resumes")
    metrics: dict[Key, MetricScores] = {}
    for entry in run.manifest["protocols"]:
        key = (entry["metric"], entry["protocol"])
        rows = [score for score in run.scores if (score.metric, score.protocol) == key]
        metrics[key] = MetricScores(
            options=entry["options"],
            weights=tuple(entry["weights"]),
            stats={row.clip: row.stats for row in rows if row.stats is not None},
            failed={row.clip: row.error.message for row in rows if row.failed and row.error is not None},
        )
    return Scored(str(run.path), run.identity, metrics, run.speakers)


def write_baseline(scored: Scored, path: Path, tolerances: Mapping[str, float]) -> None:
    """A baseline file: all that a later `check` compares with, in one JSON file that diffs line by line."""
    document = {
        "schema": SCHEMA,
        **scored.identity.to_json(),
        "tolerances": dict(tolerances),
        "speakers": dict(scored.speakers),
        "metrics": [
            {
                "metric": metric,
                "protocol": protocol,
                "options": dict(found.options),
                "weights": [dict(one) for one in found.weights],
                "stats": dict(found.stats),
                "failed": dict(found.failed),
            }
            for (metric, protocol), found in scored.metrics.items()
        ],
    }
    document["dataset"] = {**document["dataset"], "root": None}  # a path of one machine says nothing on another
    write_chosen(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "--baseline")


def read_baseline(path: Path) -> Scored:
    """Raises UsageError naming the file where it is missing, is not JSON, or is not a baseline."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"baseline {path} cannot be read ({error.strerror}); write one with --update") from None
    except ValueError as error:
        raise UsageError(f"baseline {path} is not JSON ({error}); write a new one with --update") from None
    try:
        if document["schema"] != SCHEMA:
            raise UsageError(f"baseline {path} has schema {document['schema']!r}, this version reads {SCHEMA}")
        metrics = {
            (entry["metric"], entry["protocol"]): MetricScores(
                entry["options"], tuple(entry["weights"]), entry["stats"], entry["failed"]
            )
            for entry in document["metrics"]
        }
        tolerances = {name: float(value) for name, value in document["tolerances"].items()}
        return Scored(str(path), Identity.from_json(document), metrics, document["speakers"], tolerances)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(f"{path} is not a baseline ({error!r}); write a new one with --update") from None
