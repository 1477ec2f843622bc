"""Two scored methods side by side, column by column, over the clips that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from syncdiff_bench import plugins
from syncdiff_bench.contracts import Column, Metric
from syncdiff_bench.errors import UsageError
from syncdiff_bench.runs.manifest import Identity, decoders_differ
from syncdiff_bench.runs.records import finite_or_none
from syncdiff_bench.runs.summary import column_values
from syncdiff_bench.significance.scored import Key, MetricScores, Scored
from syncdiff_bench.statistics.resampling import (
    RESAMPLES,
    Cluster,
    Interval,
    difference_intervals,
    holm,
    permutation_p_values,
    smallest_p,
)

LEVEL = 0.05  # of significance
PairVerdict = Literal["B better", "B worse", "no difference shown", "too few speakers", "frames left out", ""]


@dataclass(frozen=True)
class ClipChange:
    """A clip's own value on both sides."""

    clip: str
    a: float
    b: float

    @property
    def delta(self) -> float:
        return self.b - self.a


@dataclass(frozen=True)
class ColumnComparison:
    """B against A in one column.

    a, b: aggregates over the `n` clips that both sides have; delta: b - a.
    ci: interval of delta at `confidence`.
    p: two-sided permutation p.
    p_holm: the same after Holm's correction over all columns compared.
    undecided: why there is no p and no verdict: "too few speakers", "frames left out"; "" where there may be one.
    effect: mean of the per-clip differences over their standard deviation (Cohen's d_z), None where they do not vary.
    changes: every clip with a value on both sides, those that got worse first.
    """

    metric: str
    protocol: str
    column: Column
    a: float | None
    b: float | None
    ci: Interval | None
    p: float | None
    n: int
    clusters: int
    confidence: float = 0.95
    p_holm: float | None = None
    effect: float | None = None
    changes: tuple[ClipChange, ...] = ()
    undecided: PairVerdict = ""

    @property
    def name(self) -> str:
        return f"{self.metric}/{self.protocol}/{self.column.name}"

    @property
    def delta(self) -> float | None:
        return None if self.a is None or self.b is None else self.b - self.a

    @property
    def worse_by(self) -> float | None:
        """How much worse B is; negative where it is better."""
        if self.delta is None:
            return None
        return -self.delta if self.column.direction == "up" else self.delta

    @property
    def significant(self) -> bool:
        """After Holm's correction, at 5 %."""
        return self.p_holm is not None and self.p_holm < LEVEL

    @property
    def verdict(self) -> PairVerdict:
        """What the difference says, in words; "" where a side has no value."""
        if self.worse_by is None or self.undecided:
            return self.undecided
        if not self.significant or not self.worse_by:
            return "no difference shown"
        return "B worse" if self.worse_by > 0 else "B better"


@dataclass(frozen=True)
class Comparison:
    """notes: what differs between the two sides besides the method, and what could not be compared."""

    a: Scored
    b: Scored
    columns: tuple[ColumnComparison, ...]
    notes: tuple[str, ...]


def compare(
    a: Scored,
    b: Scored,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    any_boxes: bool = False,
    names: tuple[str, str] = ("A", "B"),
) -> Comparison:
    """Compare all metrics that both sides have, over the clips that both sides have.

    any_boxes: also where they looked at other face boxes, which is then a note.
    names: what the notes call the two sides, as the headings of the table do.
    Raises UsageError where the datasets or face boxes differ, or no metric or no clip is common to both.
    """
    for what in ("dataset", "split", "fingerprint"):
        mine, theirs = getattr(a.identity, what), getattr(b.identity, what)
        if mine != theirs:
            raise UsageError(f"{a.source} and {b.source} are of different data: {what} {mine[:20]}, {theirs[:20]}")
    if not set(a.identity.clips) & set(b.identity.clips):
        raise UsageError(f"{a.source} and {b.source} have no clip in common; run both over the same clips")
    common = [key for key in a.metrics if key in b.metrics]
    if not common:
        raise UsageError(f"{a.source} and {b.source} share no metric with the same protocol; score both alike")
    boxes = other_boxes(a, b)
    if boxes and not any_boxes:
        raise UsageError(
            f"{a.source} and {b.source} do not look at the same face boxes: {'; '.join(boxes)}; "
            "give both the same --boxes, or compare with --any-boxes"
        )
    notes = [*_notes(a.identity, b.identity), *boxes, *_left_out(a, b), *_caveats(a, b, names)]
    notes += [decoders] if (decoders := decoders_differ(a.versions, b.versions)) else []
    columns: list[ColumnComparison] = []
    for key in common:
        if not a.metrics[key].same_network(b.metrics[key]):
            notes.append(f"{key[0]} ({key[1]}) was judged by different weights or versions and is left out")
            continue
        columns += _columns(key, a, b, confidence, resamples)
    return Comparison(a, b, corrected(columns), tuple(notes))


def corrected(columns: Sequence[ColumnComparison]) -> tuple[ColumnComparison, ...]:
    """With Holm's correction over all of them."""
    p_values = holm([column.p for column in columns])
    return tuple(replace(column, p_holm=p) for column, p in zip(columns, p_values, strict=True))


def other_boxes(a: Scored, b: Scored) -> list[str]:
    """Columns that looked at faces of other sources, in words; what is not recorded is not known to differ."""
    found: dict[str, list[str]] = {}
    for key in (key for key in a.metrics if key in b.metrics):
        mine, theirs = a.metrics[key].boxes, b.metrics[key].boxes
        if mine is not None and theirs is not None and mine != theirs:
            sides = [", ".join(one) or "boxes of the data" for one in (mine, theirs)]
            found.setdefault(" against ".join(sides), []).append(f"{key[0]} ({key[1]})")
    return [f"{', '.join(names)}: {what}" for what, names in found.items()]


def _notes(a: Identity, b: Identity) -> list[str]:
    facts = [("seed", a.seed, b.seed), ("encoding", a.encoding, b.encoding)]
    notes = [f"{what} {mine} against {theirs}" for what, mine, theirs in facts if mine != theirs]
    for name in sorted((a.dataset_options.keys() | b.dataset_options.keys()) - {"boxes"}):  # `other_boxes` tells
        mine, theirs = (side.dataset_options.get(name, "the default") for side in (a, b))
        if mine != theirs:
            notes.append(f"--dataset-set {name}: {mine} against {theirs}")
    return notes


def _caveats(a: Scored, b: Scored, names: tuple[str, str]) -> list[str]:
    """What a reader should know before believing either side."""
    sides: dict[str, list[str]] = {}
    for name, side in zip(names, (a, b), strict=True):
        for one in side.caveats:
            sides.setdefault(one.text, []).append(name)
    return [f"{' and '.join(found)}: {text}" for text, found in sides.items()]


def _left_out(a: Scored, b: Scored) -> list[str]:
    """What one side has and the other has not: the numbers compared are over the rest."""
    notes = []
    for one, other in ((a, b), (b, a)):
        only = [f"{name} ({protocol})" for name, protocol in one.metrics if (name, protocol) not in other.metrics]
        if only:
            notes.append(f"only {one.source} was scored with {', '.join(only)}")
    missing: dict[str, list[str]] = {}
    for key in (key for key in a.metrics if key in b.metrics):
        for one, other in ((a, b), (b, a)):
            lacking = one.metrics[key].stats.keys() - other.metrics[key].stats.keys()
            if lacking:
                failed = len(lacking & other.metrics[key].failed.keys())
                note = (
                    f"{len(lacking)} clips of {one.source} are left out: {other.source} has no value ({failed} failed)"
                )
                missing.setdefault(note, []).append(f"{key[0]} ({key[1]})")
    return notes + [f"{', '.join(sorted(names))}: {note}" for note, names in missing.items()]


def _columns(key: Key, a: Scored, b: Scored, confidence: float, resamples: int) -> list[ColumnComparison]:
    mine, theirs = a.metrics[key], b.metrics[key]
    metric = load_recorded(key, mine)
    clips = sorted(mine.stats.keys() & theirs.stats.keys())
    stats_a = {clip: metric.stats_from_json(mine.stats[clip]) for clip in clips}
    stats_b = {clip: metric.stats_from_json(theirs.stats[clip]) for clip in clips}
    clusters = _clusters(clips, a.speakers, stats_a, stats_b)
    means_a, means_b = column_values(metric, list(stats_a.values())), column_values(metric, list(stats_b.values()))

    def difference(one: Sequence[Any], other: Sequence[Any]) -> np.ndarray:
        change: np.ndarray = column_values(metric, other) - column_values(metric, one)
        return change

    if clips:
        intervals = difference_intervals(clusters, difference, confidence=confidence, resamples=resamples)
        p_values = permutation_p_values(clusters, difference, resamples=resamples)
    else:
        intervals, p_values = [None] * len(metric.columns), [None] * len(metric.columns)
    every = [[metric.with_left_out(one) for one in stats.values()] for stats in (stats_a, stats_b)]
    means_of_all = difference(*every)
    found = []
    for i, column in enumerate(metric.columns):
        changes = _changes(metric, column, stats_a, stats_b)
        undecided = _undecided(float(means_b[i] - means_a[i]), float(means_of_all[i]), len(clusters))
        found.append(
            ColumnComparison(
                metric=key[0],
                protocol=key[1],
                column=column,
                a=finite_or_none(float(means_a[i])),
                b=finite_or_none(float(means_b[i])),
                ci=intervals[i],
                confidence=confidence,
                p=None if undecided else p_values[i],
                effect=_effect(changes),
                n=len(clips),
                clusters=len(clusters),
                changes=changes,
                undecided=undecided,
            )
        )
    return found


def _undecided(delta: float, delta_of_all: float, clusters: int) -> PairVerdict:
    """Why a difference decides nothing. delta_of_all: with the frames that were left out for being perfect."""
    if np.isnan(delta) or not clusters:
        return ""
    if delta * delta_of_all < 0:
        return "frames left out"
    return "too few speakers" if smallest_p(clusters) >= LEVEL else ""


def load_recorded(key: Key, scores: MetricScores) -> Metric[Any]:
    """The metric with the options it was scored with; it only aggregates, so it is never prepared."""
    return plugins.load_metric(key[0], scores.options)


def _clusters(
    clips: Sequence[str], speakers: Mapping[str, str], a: Mapping[str, object], b: Mapping[str, object]
) -> list[Cluster]:
    groups: dict[str, tuple[list[object], list[object]]] = {}
    for clip in clips:
        mine, theirs = groups.setdefault(speakers.get(clip, clip), ([], []))
        mine.append(a[clip])
        theirs.append(b[clip])
    return list(groups.values())


def _changes(metric: Metric[Any], column: Column, a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[ClipChange, ...]:
    changes = []
    for clip in a:
        before = finite_or_none(metric.values(a[clip]).get(column.name))
        after = finite_or_none(metric.values(b[clip]).get(column.name))
        if before is not None and after is not None:
            changes.append(ClipChange(clip, before, after))
    sign = 1 if column.direction == "up" else -1
    return tuple(sorted(changes, key=lambda change: (sign * change.delta, change.clip)))


def _effect(changes: Sequence[ClipChange]) -> float | None:
    deltas = np.array([change.delta for change in changes])
    if len(deltas) < 2 or deltas.std(ddof=1) == 0:
        return None
    return float(deltas.mean() / deltas.std(ddof=1))
