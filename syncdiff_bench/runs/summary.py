"""Stage three: one entry per column over all clips of a run, with confidence interval and failures."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from syncdiff_bench.contracts import Column, Metric
from syncdiff_bench.runs.records import NOT_APPLICABLE, Score
from syncdiff_bench.runs.scoring import finite_or_none
from syncdiff_bench.statistics.intervals import Interval, bootstrap_t

RESAMPLES = 1000
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class ColumnSummary:
    """One entry of `summary` in run.json.

    mean: over all scored clips, None where undefined or not applicable.
    ci95: 95 % interval, None with fewer than two speakers.
    n: clips scored. failed: clips that should have been and were not; not-applicable ones are neither.
    weights: the digests behind the number. reason: why the column is n/a for the whole run, else None.
    boxes: source -> clips of the face boxes behind it ({} for none), None in a run that did not record them.
    """

    metric: str
    protocol: str
    column: str
    label: str
    mean: float | None
    ci95: Interval | None
    n: int
    failed: int
    direction: str
    unit: str
    decimals: int
    weights: tuple[Mapping[str, str], ...]
    reason: str | None
    boxes: Mapping[str, int] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> ColumnSummary:
        """Raises KeyError or TypeError for an entry that is not one."""
        interval = entry["ci95"]
        return cls(
            **{
                **entry,
                "ci95": None if interval is None else (interval[0], interval[1]),
                "weights": tuple(entry["weights"]),
            }
        )


def summarise(
    scores: Iterable[Score],
    metrics: Sequence[Metric[Any]],
    speakers: Mapping[str, str],
    weights: Mapping[tuple[str, str], Sequence[Mapping[str, str]]],
) -> tuple[ColumnSummary, ...]:
    """Entries in the order of metrics and their columns.

    speakers: clip -> cluster of the bootstrap. weights: (metric, protocol) -> digests.
    """
    by_metric: dict[tuple[str, str], list[Score]] = {}
    for row in scores:
        by_metric.setdefault((row.metric, row.protocol), []).append(row)
    entries: list[ColumnSummary] = []
    for metric in metrics:
        key = (metric.name, metric.protocol)
        entries += _columns(metric, by_metric.get(key, []), speakers, tuple(weights.get(key, ())))
    return tuple(entries)


def _columns(
    metric: Metric[Any],
    rows: Sequence[Score],
    speakers: Mapping[str, str],
    weights: tuple[Mapping[str, str], ...],
) -> Iterable[ColumnSummary]:
    scored = [row for row in rows if row.stats is not None]
    stats = [metric.stats_from_json(row.stats) for row in scored if row.stats is not None]
    means = aggregate(metric, stats)
    clusters = [speakers.get(row.clip, row.clip) for row in scored]
    intervals = bootstrap(metric, stats, clusters) if any(v is not None for v in means.values()) else {}

    def summary(column: Column) -> ColumnSummary:
        return ColumnSummary(
            metric=metric.name,
            protocol=metric.protocol,
            column=column.name,
            label=column.label,
            mean=means[column.name],
            ci95=intervals.get(column.name),
            n=len(scored),
            failed=sum(row.failed for row in rows),
            direction=column.direction,
            unit=column.unit,
            decimals=column.decimals,
            weights=weights,
            reason=_reason(rows),
            boxes=boxes_behind(rows)["sources"],
        )

    return map(summary, metric.columns)


def boxes_behind(rows: Iterable[Score]) -> dict[str, Any]:
    """Of one metric: `sources`, source -> clips of the face boxes that it looked at, and the `sha256` over all of them.

    >>> boxes_behind([Score("m", "d", "c", "psnr", "full")])
    {'sources': {}, 'sha256': None}
    """
    used = [(row.clip, *row.boxes.rsplit(" ", 1)) for row in rows if row.boxes]
    digest = hashlib.sha256("".join(f"{clip} {boxes}\n" for clip, _, boxes in used).encode()).hexdigest()
    return {"sources": dict(sorted(Counter(one[1] for one in used).items())), "sha256": digest if used else None}


def aggregate(metric: Metric[Any], stats: Sequence[Any]) -> dict[str, float | None]:
    """Column -> value over these statistics; None where undefined or where there are none."""
    values = metric.aggregate(stats) if stats else {}
    return {column.name: finite_or_none(values.get(column.name)) for column in metric.columns}


def bootstrap(
    metric: Metric[Any],
    stats: Sequence[Any],
    clusters: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = BOOTSTRAP_SEED,
) -> dict[str, Interval | None]:
    """95 % intervals of the aggregate, resampling whole clusters with replacement.

    Clips of one speaker resemble each other, so drawing single clips would make the interval too narrow.
    clusters: of each of `stats`. With fewer than two clusters there is no interval.
    """
    groups: dict[str, list[Any]] = {}
    for one, cluster in zip(stats, clusters, strict=True):
        groups.setdefault(cluster, []).append(one)
    names = [column.name for column in metric.columns]
    if len(groups) < 2:
        return dict.fromkeys(names)
    members = list(groups.values())
    rng = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(resamples):
        drawn = [one for index in rng.integers(len(members), size=len(members)) for one in members[index]]
        for name, value in aggregate(metric, drawn).items():
            if value is not None:
                draws[name].append(value)
    means = aggregate(metric, stats)
    found: dict[str, Interval | None] = {}
    for column in metric.columns:
        mean, values = means[column.name], draws[column.name]
        interval = None if mean is None else bootstrap_t(mean, values, resamples, len(members))
        found[column.name] = interval and within(interval, column.bounds)
    return found


def within(interval: Interval, bounds: tuple[float | None, float | None]) -> Interval:
    """What of an interval can be: Student's t knows no bounds.

    >>> within((0.98, 1.02), (-1, 1))
    (0.98, 1)
    """
    (low, high), (least, greatest) = interval, bounds
    return low if least is None else max(low, least), high if greatest is None else min(high, greatest)


def _reason(rows: Sequence[Score]) -> str | None:
    """Why nothing was scored, where nothing was: the reason of the first clip that was not applicable."""
    if any(row.stats is not None for row in rows):
        return None
    reasons = [row.error.message for row in rows if row.error and row.error.kind == NOT_APPLICABLE]
    return reasons[0] if reasons else None
