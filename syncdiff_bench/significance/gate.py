"""The CI gate: has a run become worse than its baseline?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import options_to_json
from syncdiff_bench.significance.comparison import ColumnComparison, Comparison, compare, load_recorded, other_boxes
from syncdiff_bench.significance.scored import Key, Scored
from syncdiff_bench.statistics.resampling import RESAMPLES

FALSE_ALARMS = 0.05  # of all columns together, on runs in which nothing changed

GateStatus = Literal["ok", "better", "worse", "regression", "undecided", "no value"]


@dataclass(frozen=True)
class ColumnVerdict:
    """One column of the gate.

    status: "regression" where the change for the worse exceeds `tolerance` and its interval excludes zero;
    "worse" and "better" where the interval excludes zero and the tolerance is not exceeded, or the change is welcome;
    "undecided" where the worse side left frames out for being perfect;
    "no value" where the baseline has one and the run has none.
    """

    column: ColumnComparison
    tolerance: float
    status: GateStatus


@dataclass(frozen=True)
class GateReport:
    """What the gate found. lost: (metric/protocol, clip, why) of what the baseline has and could not be scored now."""

    comparison: Comparison
    verdicts: tuple[ColumnVerdict, ...]
    lost: tuple[tuple[str, str, str], ...]

    @property
    def passed(self) -> bool:
        return not self.lost and all(verdict.status not in ("regression", "no value") for verdict in self.verdicts)


def check(run: Scored, baseline: Scored, *, resamples: int = RESAMPLES, any_boxes: bool = False) -> GateReport:
    """Judge a run. Intervals are at 1 - 5 % / columns, so that all columns together raise few false alarms.

    Raises UsageError, naming what differs, where the two are not comparable: method, dataset, clips, seed, encoding,
    or a metric's protocol or weights. The method's own options and weights may differ: they are what is on trial.
    """
    refused = _refusals(run, baseline, any_boxes=any_boxes)
    if refused:
        raise UsageError(
            f"{run.source} cannot be checked against {baseline.source}: {'; '.join(refused)}; run it as the baseline "
            "was run, or write a new baseline with --update"
        )
    columns = sum(len(load_recorded(baseline, key).columns) for key in baseline.metrics)
    confidence = 1 - FALSE_ALARMS / columns
    sides = ("baseline", "now")
    comparison = compare(baseline, run, confidence=confidence, resamples=resamples, any_boxes=any_boxes, names=sides)
    verdicts = tuple(_verdict(column, baseline) for column in comparison.columns)
    return GateReport(comparison, verdicts, _lost(run, baseline))


def default_tolerances(scored: Scored) -> dict[str, float]:
    """One unit of the last printed digit, per column: a change that no table would show is not a regression."""
    return {
        f"{key[0]}/{key[1]}/{column.name}": 10.0**-column.decimals
        for key in scored.metrics
        for column in load_recorded(scored, key).columns
    }


def _refusals(run: Scored, baseline: Scored, *, any_boxes: bool) -> list[str]:
    # Of the method only the name counts.
    trial = replace(run.identity, options=baseline.identity.options, weights=baseline.identity.weights)
    if any_boxes:
        trial = replace(trial, boxes=None)
    refused = baseline.identity.differences(trial)
    refused += [] if any_boxes else other_boxes(baseline, run)
    for key, scores in baseline.metrics.items():
        label = f"{key[0]} ({key[1]})"
        if key not in run.metrics:
            refused.append(f"{label} was not scored")
        elif not run.metrics[key].same_network(scores):
            refused.append(f"{label} was judged by other weights or versions")
        elif _options(run, key) != _options(baseline, key):
            refused.append(f"{label} has other options")
    return refused


def _options(side: Scored, key: Key) -> dict[str, Any]:
    """As recorded, with the defaults of the options that were added since."""
    return {**options_to_json(load_recorded(side, key).options), **side.metrics[key].options}


def _verdict(column: ColumnComparison, baseline: Scored) -> ColumnVerdict:
    tolerance = baseline.tolerances.get(column.name, 10.0**-column.column.decimals)
    worse_by = column.worse_by
    if worse_by is None:
        # Undefined on both sides (PSNR of ground truth) is no change, and a value where there was none no loss.
        return ColumnVerdict(column, tolerance, "ok" if column.a is None else "no value")
    # One speaker gives no interval: there the tolerance alone decides.
    excluded = worse_by != 0 if column.ci is None else not column.ci[0] <= 0 <= column.ci[1]
    if not excluded:
        return ColumnVerdict(column, tolerance, "ok")
    if worse_by < 0:
        return ColumnVerdict(column, tolerance, "better")
    if column.undecided == "frames left out":
        return ColumnVerdict(column, tolerance, "undecided")
    return ColumnVerdict(column, tolerance, "regression" if worse_by > tolerance else "worse")


def _lost(run: Scored, baseline: Scored) -> tuple[tuple[str, str, str], ...]:
    lost = []
    for key, scores in baseline.metrics.items():
        for clip in scores.stats:
            if clip not in run.metrics[key].stats:
                reason = run.metrics[key].failed.get(clip, "not applicable")
                lost.append((f"{key[0]}/{key[1]}", clip, reason))
    return tuple(lost)
