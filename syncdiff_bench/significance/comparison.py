"""Two scored methods side by side, column by column, over the clips that both have."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench import plugins
from syncdiff_bench.contracts import Column, Metric
from syncdiff_bench.errors import UsageError
from syncdiff_bench.faults import blamed
from syncdiff_bench.runs.manifest import Identity, decoders_differ
from syncdiff_bench.runs.records import finite_or_none
from syncdiff_bench.runs.summary import ClipStatistics, column_values
from syncdiff_bench.significance.scored import Key, Scored
from syncdiff_bench.statistics.resampling import RESAMPLES, holm, smallest_p
from syncdiff_bench.statistics.student import Interval, StandardError, smallest_effect
from syncdiff_bench.statistics.trainings import DifferenceTest, difference_tests

LEVEL = 0.05  # of significance
PairVerdict = Literal["B better", "B worse", "no difference shown", "too few speakers", "frames left out", ""]


@dataclass(frozen=True, slots=True)
class ClipChange:
    """A clip's own value on both sides."""

    clip: str
    a: float
    b: float

    @property
    def delta(self) -> float:
        return self.b - self.a


@dataclass(frozen=True)
class ClipValues:
    """Values (N,) of N clips on both sides, NaN where there is none."""

    clips: Sequence[str]
    a: NDArray[np.float64]
    b: NDArray[np.float64]

    def changes(self) -> list[ClipChange]:
        values = zip(self.clips, self.a.tolist(), self.b.tolist(), strict=True)
        return [ClipChange(name, a, b) for name, a, b in values if math.isfinite(a) and math.isfinite(b)]

    @property
    def effect(self) -> float | None:
        """Mean of the differences over their standard deviation; None where they do not vary."""
        deltas = np.sort(self.b - self.a)  # NaN at the end
        deltas = deltas[np.isfinite(deltas)]
        if len(deltas) < 2 or deltas.std(ddof=1) == 0:
            return None
        return float(deltas.mean() / deltas.std(ddof=1))


@dataclass(frozen=True)
class ColumnComparison:
    """B against A in one column.

    a, b: aggregates over the `n` clips that both sides have; delta: b - a.
    ci: interval of delta at `confidence`.
    p: two-sided; by permutation over speakers of one training, by Student's t of several.
    p_holm: the same after Holm's correction over all columns compared.
    trainings: how many models of A and of B p rests on.
    error: standard error of delta, None where there is no interval.
    undecided: why there is no p and no verdict: "too few speakers", "frames left out"; "" where there may be one.
    effect: mean of the per-clip differences over their standard deviation (Cohen's d_z), None where they do not vary.
    values: every clip with a value on both sides, and its values there.
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
    values: ClipValues | None = field(default=None, compare=False, repr=False)
    undecided: PairVerdict = ""
    trainings: tuple[int, int] = (1, 1)
    error: StandardError | None = None

    @property
    def name(self) -> str:
        return f"{self.metric}/{self.protocol}/{self.column.name}"

    @property
    def delta(self) -> float | None:
        return None if self.a is None or self.b is None else self.b - self.a

    @property
    def changes(self) -> tuple[ClipChange, ...]:
        """Every clip with a value on both sides, those that got worse first."""
        changes, sign = self.values.changes() if self.values else [], 1 if self.column.direction == "up" else -1
        return tuple(sorted(changes, key=lambda change: (sign * change.delta, change.clip)))

    def largest_changes(self, n: int) -> list[ClipChange]:
        """The clips whose own value moved most, in either direction; unchanged ones are left out."""
        moved = (change for change in (self.values.changes() if self.values else ()) if change.delta != 0)
        return nsmallest(n, moved, key=lambda change: (-abs(change.delta), change.clip))

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

    def could_see(self, columns: int = 1) -> float | None:
        """The smallest true difference that would be significant in 80 % of such comparisons of `columns` columns, the
        worst of Holm's levels for each; None where nothing decides, whatever the difference.
        """
        if self.error is None or self.undecided:
            return None
        return smallest_effect(self.error, level=LEVEL / columns)

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
        with blamed(f"{key[0]} of {a.source} against {b.source}", "score both again, or mend the plugin"):
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
    paired = _paired(a, b)
    missing: dict[str, list[str]] = {}
    for key in (key for key in a.metrics if key in b.metrics):
        for one, other in ((a, b), (b, a)):
            mine, theirs = one.metrics[key], other.metrics[key]
            lacking = _places(one, mine.stats, paired).keys() - _places(other, theirs.stats, paired).keys()
            if lacking:
                failed = len(lacking & _places(other, theirs.failed, paired).keys())
                note = (
                    f"{len(lacking)} clips of {one.source} are left out: {other.source} has no value ({failed} failed)"
                )
                missing.setdefault(note, []).append(f"{key[0]} ({key[1]})")
    return notes + [f"{', '.join(sorted(names))}: {note}" for note, names in missing.items()]


def _trainings(side: Scored, rows: Collection[str]) -> list[int | None]:
    if not side.draws:
        return [None] * len(rows)
    return [side.draws[row][1].training if row in side.draws else None for row in rows]


def paired_trainings(a: Collection[int | None], b: Collection[int | None]) -> bool:
    """Whether a training of one side is compared with that of the same seed alone: they share initialisation and
    batches. Else every training of one is compared with every one of the other.
    """
    common = len({*a} & {*b})
    return common > 1 or (common == 1 and 1 in (len(a), len(b)))


def _paired(a: Scored, b: Scored) -> bool:
    mine, theirs = (set(_trainings(side, side.speakers)) for side in (a, b))
    return paired_trainings(mine, theirs)


def _places(side: Scored, rows: Collection[str], paired: bool) -> Mapping[str, Sequence[str]]:
    """What is compared with what: name -> its rows, several where trainings are not paired."""
    if not side.draws:
        return dict(zip(rows, zip(rows, strict=True), strict=True))
    found: dict[str, list[str]] = {}
    for row in rows:
        name = row
        if row in side.draws and not paired:
            clip, draw = side.draws[row]
            name = f"{clip} {replace(draw, training=None)}"
        found.setdefault(name, []).append(row)
    return found


def _columns(key: Key, a: Scored, b: Scored, confidence: float, resamples: int) -> list[ColumnComparison]:
    metric = load_recorded(a, key)
    paired = _paired(a, b)
    places = [_places(side, side.metrics[key].stats, paired) for side in (a, b)]
    common = sorted(places[0].keys() & places[1].keys())
    stats = [
        {row: metric.stats_from_json(side.metrics[key].stats[row]) for name in common for row in of[name]}
        for side, of in zip((a, b), places, strict=True)
    ]
    # Both sides by the speakers of A: of one place they are the same.
    speaker = {name: a.speakers.get(places[0][name][0], name) for name in common}
    trainings_of = [_trainings(side, found) for side, found in zip((a, b), stats, strict=True)]
    of_clips = [ClipStatistics(metric, list(found.values())) for found in stats]
    tests = [DifferenceTest(None, None, None)] * len(metric.columns)
    if common:
        (one, value), (other, _) = (
            found.resampled((speaker[name] for name in common for _ in of[name]), trainings)
            for of, found, trainings in zip(places, of_clips, trainings_of, strict=True)
        )

        def difference(drawn: Any, others: Any) -> np.ndarray:
            change: np.ndarray = value(others) - value(drawn)
            return change

        tests = difference_tests(one, other, difference, paired=paired, confidence=confidence, resamples=resamples)
    means = [found.together() for found in of_clips]
    change_of_all = means[1] - means[0]
    if any(metric.left_out(one) for found in stats for one in found.values()):
        of_all = [column_values(metric, [metric.with_left_out(one) for one in found.values()]) for found in stats]
        change_of_all = of_all[1] - of_all[0]
    clusters, trainings = len(set(speaker.values())), (len(set(trainings_of[0])), len(set(trainings_of[1])))
    own = [
        _values_of_places(common, of, list(found), values.each())
        for of, found, values in zip(places, stats, of_clips, strict=True)
    ]
    found = []
    for i, (column, test) in enumerate(zip(metric.columns, tests, strict=True)):
        values = ClipValues(common, own[0][:, i], own[1][:, i])
        undecided = _undecided(float(means[1][i] - means[0][i]), float(change_of_all[i]), clusters, max(trainings))
        found.append(
            ColumnComparison(
                metric=key[0],
                protocol=key[1],
                column=column,
                a=finite_or_none(float(means[0][i])),
                b=finite_or_none(float(means[1][i])),
                ci=test.ci,
                confidence=confidence,
                p=None if undecided else test.p,
                effect=values.effect,
                n=len(common),
                clusters=clusters,
                values=values,
                undecided=undecided,
                trainings=trainings,
                error=test.error,
            )
        )
    return found


def _undecided(delta: float, delta_of_all: float, clusters: int, trainings: int) -> PairVerdict:
    """Why a difference decides nothing. delta_of_all: with the frames that were left out for being perfect."""
    if np.isnan(delta) or not clusters:
        return ""
    if delta * delta_of_all < 0:
        return "frames left out"
    return "too few speakers" if trainings == 1 and smallest_p(clusters) >= LEVEL else ""


def load_recorded(side: Scored, key: Key) -> Metric[Any]:
    """The metric with the options it was scored with; it only aggregates, so it is never prepared.

    Raises UsageError where there is no such metric, or it has no such options.
    """
    try:
        return plugins.load_metric(key[0], side.metrics[key].options)
    except UsageError as error:
        raise UsageError(f"{side.source} was scored by what is not here: {error}; score it again") from None


def _values_of_places(
    names: Sequence[str], places: Mapping[str, Sequence[str]], rows: Sequence[str], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(names, columns): of each place the mean of those of its rows that have a value, NaN where none has one.

    values: (rows, columns).
    """
    if len(rows) == len(names):
        return values  # rows come place by place
    number = {row: n for n, row in enumerate(rows)}
    return np.array([_mean_of_defined(values[[number[row] for row in places[name]]]) for name in names])


def _mean_of_defined(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.isfinite(rows).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = np.nansum(rows, axis=0) / counts
    return mean
