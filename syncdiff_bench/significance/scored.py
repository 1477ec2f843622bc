"""One side of a comparison: the statistics of every clip, from a run directory, its draws, or a baseline file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from syncdiff_bench.caveats import Counted, recorded
from syncdiff_bench.documents import read_json
from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import write_whole
from syncdiff_bench.origins import box_sources, network_behind
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.draws import Draw
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.records import SCHEMA
from syncdiff_bench.runs.schema import BaselineRecord

Key = tuple[str, str]  # metric, protocol
Stats = Mapping[str, Any]
T = TypeVar("T")

KEYS = ("options", "weights", "provenance", "boxes", "stats", "failed")  # of a metric, in a baseline file


@dataclass(frozen=True)
class MetricScores:
    """What one metric found.

    options: of the metric, as run.json records them.
    weights: the digests behind the numbers.
    provenance: the versions behind the numbers; None in a baseline of a version that did not record them.
    stats: clip -> sufficient statistics.
    failed: clip -> why it has no statistics; clips to which the metric does not apply are in neither.
    boxes: sources of the face boxes that it looked at ("dlib-hog-20.0.1"), None where that was not recorded.
    """

    options: Mapping[str, Any]
    weights: tuple[Mapping[str, str], ...]
    stats: Mapping[str, Stats]
    failed: Mapping[str, str]
    provenance: Mapping[str, str] | None = None
    boxes: tuple[str, ...] | None = None

    def same_network(self, other: MetricScores) -> bool:
        """Whether weights and, as far as they are known, versions are the same."""
        known = self.provenance is not None and other.provenance is not None
        mine, theirs = (network_behind(one.weights, (one.provenance or {}) if known else {}) for one in (self, other))
        return mine == theirs


@dataclass(frozen=True)
class Scored:
    """A scored method.

    source: the folder or file, as the user named it.
    speakers: clip -> what its statistics cluster on.
    tolerances: "metric/protocol/column" -> the change for the worse that a gate lets pass (baselines only).
    caveats: what a reader should know before believing its numbers.
    versions: as in run.json, empty of a baseline.
    draws: of several runs in one (`pooled`): name of a row of statistics -> its clip, and the draw that made it. Empty
        where a row is a clip.
    """

    source: str
    identity: Identity
    metrics: Mapping[Key, MetricScores]
    speakers: Mapping[str, str]
    tolerances: Mapping[str, float] = field(default_factory=dict)
    caveats: tuple[Counted, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    draws: Mapping[str, tuple[str, Draw]] = field(default_factory=dict)


def from_run(run: Run) -> Scored:
    """Raises UsageError for a run that has not finished: half of its clips would be missing."""
    if not run.finished:
        raise UsageError(f"{run.path} has not finished; run the same command again, it resumes")
    entries = {(entry["metric"], entry["protocol"]): entry for entry in run.manifest["protocols"]}
    stats: dict[Key, dict[str, Stats]] = {key: {} for key in entries}
    failed: dict[Key, dict[str, str]] = {key: {} for key in entries}
    for row in run.scores:
        key = (row.metric, row.protocol)
        if key in entries and row.stats is not None:
            stats[key][row.clip] = row.stats
        elif key in entries and row.failed and row.error is not None:
            failed[key][row.clip] = row.error.message
    metrics: dict[Key, MetricScores] = {}
    for key, entry in entries.items():
        metrics[key] = MetricScores(
            options=entry["options"],
            weights=tuple(entry["weights"]),
            stats=stats[key],
            failed=failed[key],
            provenance=entry.get("provenance"),
            boxes=None if "boxes" not in entry else box_sources(entry["boxes"]["sources"], run.identity.boxes or ""),
        )
    return Scored(
        str(run.path), run.identity, metrics, run.speakers, caveats=run.caveats, versions=run.manifest["versions"]
    )


def from_draws(runs: Mapping[Draw, Run]) -> Scored:
    """Runs that differ in their draw alone, as one side (`pooled`); one run as `from_run` has it.

    Raises UsageError for others, and as `from_run`.
    """
    if len(runs) == 1:
        return from_run(*runs.values())
    require_alike(runs)
    side = pooled({draw: from_run(run) for draw, run in runs.items()})
    draw, first = next(iter(runs.items()))
    return replace(side, source=str(first.path.parents[len(draw.folder.parts) - 1]))


def require_pairs(a: Mapping[Draw, Run], b: Mapping[Draw, Run]) -> None:
    """Several draws are compared seed by seed. Raises UsageError where that cannot be."""
    mine, theirs = ({run.identity.seed for run in side.values()} for side in (a, b))
    if max(len(a), len(b)) > 1 and (len(a) == 1 or len(b) == 1 or not mine & theirs):
        raise UsageError(f"seeds {sorted(mine)} and {sorted(theirs)} do not pair: {one_of_each(a, b)}")


def one_of_each(a: Mapping[Draw, Run], b: Mapping[Draw, Run]) -> str:
    """The first runs of both, as a mend."""
    return f"give {next(iter(a.values())).path} and {next(iter(b.values())).path}"


def require_alike(runs: Mapping[Draw, Run]) -> None:
    """Raises UsageError where runs do not differ in their draw, or in more, or were scored differently.

    Other trainings are other models: weights, and options that are texts and may name the model, differ there.
    """
    first = next(iter(runs.values()))
    firsts: dict[int | None, Run] = {}  # of each training
    seen: set[tuple[int | None, int]] = set()
    for draw, run in runs.items():
        identity, other = run.identity, firsts.setdefault(draw.training, run)
        if (draw.training, identity.seed) in seen:
            raise UsageError(f"{run.path} has a seed twice ({identity.seed}); remove one of the two")
        seen.add((draw.training, identity.seed))
        if run.manifest["protocols"] != first.manifest["protocols"]:
            raise UsageError(f"{run.path} was scored otherwise than {first.path}; delete its scores.jsonl and go on")
        if other is run:  # the first of its training
            other = first
            texts = {name: value for name, value in first.identity.options.items() if isinstance(value, str)}
            own = {name: value for name, value in identity.options.items() if not isinstance(value, str)}
            identity = replace(identity, weights=first.identity.weights, options={**own, **texts})
        found = [one for one in other.identity.differences(identity) if not one.startswith("seed ")]
        if found:
            raise UsageError(f"{run.path} is another run than {other.path} ({'; '.join(found)}); remove one")


def pooled(sides: Mapping[Draw, Scored]) -> Scored:
    """Draw -> what it scored, as one side: a clip counts once per draw, as "CLIP training 1 seed 0"."""
    first = next(iter(sides.values()))

    def every(metric: Callable[[MetricScores], Mapping[str, T]], key: Key) -> dict[str, T]:
        return _by_draw({draw: metric(side.metrics[key]) for draw, side in sides.items() if key in side.metrics})

    metrics = {
        key: replace(scores, stats=every(lambda one: one.stats, key), failed=every(lambda one: one.failed, key))
        for key, scores in first.metrics.items()
    }
    speakers = _by_draw({draw: side.speakers for draw, side in sides.items()})
    draws = _by_draw({draw: {clip: (clip, draw) for clip in side.speakers} for draw, side in sides.items()})
    caveats = {one.text: one for side in sides.values() for one in side.caveats}
    return replace(first, metrics=metrics, speakers=speakers, draws=draws, caveats=tuple(caveats.values()))


def _by_draw(found: Mapping[Draw, Mapping[str, T]]) -> dict[str, T]:
    return {f"{clip} {draw}": value for draw, values in found.items() for clip, value in values.items()}


def write_baseline(scored: Scored, path: Path, tolerances: Mapping[str, float]) -> None:
    """A baseline file: all that a later `check` compares with, in one JSON file that diffs line by line."""
    document = {
        "schema": SCHEMA,
        **scored.identity.to_json(),
        "tolerances": dict(tolerances),
        "speakers": dict(scored.speakers),
        "caveats": [one.to_json() for one in scored.caveats],
        "metrics": [
            {
                "metric": metric,
                "protocol": protocol,
                **{key: getattr(found, key) for key in KEYS},
            }
            for (metric, protocol), found in scored.metrics.items()
        ],
    }
    document["dataset"] = {**document["dataset"], "root": None}  # a path of one machine says nothing on another
    write_whole(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "--baseline")


def read_baseline(path: Path) -> Scored:
    """Raises UsageError naming the file where it is missing, is not JSON, or is not a baseline."""
    document = read_json(path, "is not a baseline", "write one with --update", BaselineRecord, schema=SCHEMA)
    metrics = {
        (entry["metric"], entry["protocol"]): MetricScores(
            *(entry["options"], tuple(entry["weights"]), entry["stats"], entry["failed"]),
            provenance=entry.get("provenance"),
            boxes=None if entry.get("boxes") is None else tuple(entry["boxes"]),
        )
        for entry in document["metrics"]
    }
    caveats = recorded({"summary": [], **document})
    identity = Identity.from_json(document)
    return Scored(str(path), identity, metrics, document["speakers"], document["tolerances"], caveats)
