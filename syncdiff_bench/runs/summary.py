"""Stage three: columns over all clips of a run, with interval and failures; the caveats of a run, counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.caveats import UNRECORDED, Caveat, Counted, counted
from syncdiff_bench.contracts import AdditiveMetric, Metric
from syncdiff_bench.faces.boxes import BOX_CAVEATS
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.records import FRAMES_LEFT_OUT, NOT_APPLICABLE, Generated, Score, finite_or_none
from syncdiff_bench.statistics.student import Interval
from syncdiff_bench.statistics.trainings import Grid, grid_of, grid_of_sums, value_intervals

FEW_SPEAKERS = 5  # of fewer, the smallest p that signs can give is above .05, and intervals rest on three differences
RESAMPLES = 1000


@dataclass(frozen=True)
class ColumnSummary:
    """One entry of `summary` in run.json.

    mean: over all scored clips, None where undefined or not applicable.
    ci95: 95 % interval over trainings and speakers, None with fewer than two speakers.
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
        """Of a `schema.SummaryRecord`."""
        known = {one.name: entry[one.name] for one in fields(cls) if one.name in entry}
        interval = known["ci95"]
        ends = None if interval is None else (interval[0], interval[1])
        return cls(**{**known, "ci95": ends, "weights": tuple(known["weights"])})


def in_words(entries: Iterable[ColumnSummary]) -> dict[str, str]:
    """ "psnr[face96]" -> "22.43, 1 failed", or why there is none."""
    words = {}
    for one in entries:
        value = "N/A" if one.mean is None else f"{one.mean:.{one.decimals}f}"
        failed = f", {one.failed} failed" if one.failed else ""
        words[f"{one.column}[{one.protocol}]"] = f"n/a: {one.reason}" if one.reason else f"{value}{failed}"
    return words


def summarise(
    trainings: Sequence[Iterable[Score]],
    metrics: Sequence[Metric[Any]],
    speakers: Mapping[str, str],
    weights: Mapping[tuple[str, str], Sequence[Mapping[str, str]]],
) -> tuple[ColumnSummary, ...]:
    """Entries in the order of metrics and their columns.

    trainings: the scores of each model of the row; of a run, one. speakers: clip -> cluster of the bootstrap.
    weights: (metric, protocol) -> digests.
    """
    by_metric: dict[tuple[str, str], list[tuple[int, Score]]] = {}
    for training, scores in enumerate(trainings):
        for row in scores:
            by_metric.setdefault((row.metric, row.protocol), []).append((training, row))
    entries: list[ColumnSummary] = []
    for metric in metrics:
        key = (metric.name, metric.protocol)
        entries += _columns(metric, by_metric.get(key, []), speakers, tuple(weights.get(key, ())))
    return tuple(entries)


def _columns(
    metric: Metric[Any],
    of_trainings: Sequence[tuple[int, Score]],
    speakers: Mapping[str, str],
    weights: tuple[Mapping[str, str], ...],
) -> Iterable[ColumnSummary]:
    rows = [row for _, row in of_trainings]
    scored = [row for row in rows if row.stats is not None]
    stats = [metric.stats_from_json(row.stats) for row in scored if row.stats is not None]
    means = [finite_or_none(value) for value in column_values(metric, stats)]
    clusters = [speakers.get(row.clip, row.clip) for row in scored]
    trainings = [training for training, row in of_trainings if row.stats is not None]
    defined = any(value is not None for value in means)
    intervals = bootstrap(metric, stats, clusters, trainings) if defined else [None] * len(means)
    for column, mean, interval in zip(metric.columns, means, intervals, strict=True):
        yield ColumnSummary(
            metric=metric.name,
            protocol=metric.protocol,
            column=column.name,
            label=column.label,
            mean=mean,
            ci95=interval,
            n=len(scored),
            failed=sum(row.failed for row in rows),
            direction=column.direction,
            unit=column.unit,
            decimals=column.decimals,
            weights=weights,
            reason=_reason(rows),
            boxes=boxes_behind(rows)["sources"],
        )


def boxes_behind(rows: Iterable[Score]) -> dict[str, Any]:
    """Of one metric: `sources`, source -> clips of the face boxes that it looked at, and the `sha256` over all of them.

    >>> boxes_behind([Score("m", "d", "c", "psnr", "full")])
    {'sources': {}, 'sha256': None}
    """
    used = [(row.clip, row.boxes.rpartition(" ")) for row in rows if row.boxes]
    digest = hashlib.sha256("".join(f"{clip} {boxes}\n" for clip, (_, _, boxes) in used).encode()).hexdigest()
    return {"sources": dict(sorted(Counter(one[0] for _, one in used).items())), "sha256": digest if used else None}


def column_values(metric: Metric[Any], stats: Sequence[Any]) -> NDArray[np.float64]:
    """Aggregate of each column over these statistics; NaN where undefined or where there are none."""
    values = metric.aggregate(stats) if stats else {}
    found = [values.get(column.name) for column in metric.columns]
    return np.array([np.nan if value is None else value for value in found], dtype=float)


class ClipStatistics:
    """Statistics of clips under one metric; what they add to its sums, where it has some, is looked up once."""

    def __init__(self, metric: Metric[Any], stats: Sequence[Any]) -> None:
        self.metric = metric
        self.stats = stats
        self._of_sums: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
        # A subclass with an `aggregate` of its own is what that says.
        if isinstance(metric, AdditiveMetric) and type(metric).aggregate is AdditiveMetric.aggregate and stats:
            self._of_sums = partial(_columns_of_sums, metric)
            self._summands = np.array([metric.summands(one) for one in stats], dtype=float)  # (clips, K)

    def together(self) -> NDArray[np.float64]:
        """`column_values`."""
        if self._of_sums is None:
            return column_values(self.metric, self.stats)
        return self._of_sums(self._summands.cumsum(axis=0)[-1])

    def each(self) -> NDArray[np.float64]:
        """(clips, columns) of single clips, NaN where undefined."""
        if self._of_sums is not None:
            return self._of_sums(self._summands.T).T
        names = [column.name for column in self.metric.columns]
        values = map(self.metric.values, self.stats)
        rows = [[np.nan if (found := of.get(name)) is None else found for name in names] for of in values]
        return np.array(rows, dtype=float).reshape(-1, len(names))

    def resampled(
        self, clusters: Iterable[str], trainings: Iterable[Hashable]
    ) -> tuple[Grid, Callable[[Any], NDArray[np.float64]]]:
        """A grid of these statistics for `statistics.trainings`, and the columns of what is drawn of it.

        clusters, trainings: of each of `stats`. Sums of cells where the metric adds up, else lists of statistics.
        """
        if self._of_sums is None:
            return grid_of(self.stats, clusters, trainings), partial(column_values, self.metric)
        return grid_of_sums(self._summands, clusters, trainings), self._of_sums


def _columns_of_sums(metric: AdditiveMetric[Any], sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(columns, ...) of sums (K, ...); NaN where undefined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values = metric.of_sums(*sums)
    found = np.array([values[column.name] for column in metric.columns])
    return np.where(np.isfinite(found), found, np.nan)


def bootstrap(
    metric: Metric[Any],
    stats: Sequence[Any],
    clusters: Sequence[str],
    trainings: Sequence[int] = (),
    *,
    resamples: int = RESAMPLES,
) -> list[Interval | None]:
    """95 % interval of each column's aggregate, within the bounds of the column.

    clusters, trainings: of each of `stats`; by default one training. With fewer than two clusters there is no interval.
    """
    of_clips = ClipStatistics(metric, stats)
    grid, value = of_clips.resampled(clusters, trainings or [0] * len(stats))
    # In the order of the clips: a sum depends on it in the last digit.
    found = value_intervals(of_clips.together(), grid, value, resamples=resamples)
    pairs = zip(found, metric.columns, strict=True)
    return [interval and within(interval, column.bounds) for interval, column in pairs]


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


def run_caveats(
    identity: Identity,
    records: Mapping[str, Generated],
    scores: Sequence[Score],
    speakers: Mapping[str, str],
    protocols: Sequence[Mapping[str, Any]] = (),
) -> tuple[Counted, ...]:
    """records, speakers: by clip. scores: none before the run is scored. protocols: of run.json."""
    clips, total = identity.clips, len(identity.clips)
    known = {clip: records[clip] for clip in clips if clip in records}
    found = [Counted(one.kind, one.sentence, example=one.detail) for one in identity.caveats]
    found += _unpublished(one.to_json() for one in identity.weights)
    # Every column that looks at a face says the same of it, and so may the method: once is enough.
    of_faces: dict[str, list[Caveat]] = {}
    for row in scores:
        of_faces.setdefault(row.clip, []).extend(one for one in row.caveats if one.kind in BOX_CAVEATS)
    noticed = {clip: dict.fromkeys((*_of_record(one), *of_faces.get(clip, ()))) for clip, one in known.items()}
    found += counted(noticed, total)
    found += _mixed_boxes(known.values(), scores)
    for entry in protocols:
        judges = _unpublished(entry["weights"])
        found += [replace(one, metric=entry["metric"], protocol=entry["protocol"]) for one in judges]
    for metric, protocol in dict.fromkeys((row.metric, row.protocol) for row in scores):
        rows = [row for row in scores if (row.metric, row.protocol) == (metric, protocol)]
        own = {row.clip: [one for one in row.caveats if one.kind not in BOX_CAVEATS] for row in rows}
        found += counted(own, total, metric=metric, protocol=protocol)
        found += _left_out(rows, metric, protocol)
        found += _fewer_speakers(rows, clips, speakers)
    return (*found, *few_speakers(speakers[clip] for clip in clips))


def _unpublished(weights: Iterable[Mapping[str, Any]]) -> list[Counted]:
    """A file under the name of a published one that it is not."""
    return [
        Counted("unpublished-weights", f"{one['name']} is sha256 {one['sha256'][:12]}, not the published file")
        for one in weights
        if not one.get("published", True)
    ]


def _of_record(record: Generated) -> tuple[Caveat, ...]:
    return (UNRECORDED,) if record.caveats is None else record.caveats


def boxes_of_run(records: Iterable[Generated], scores: Sequence[Score]) -> dict[str, int]:
    """Source of face boxes -> clips whose boxes a method or a metric asked for."""
    used = {(record.clip, record.boxes) for record in records if record.boxes is not None}
    used |= {(row.clip, row.boxes.rpartition(" ")[0]) for row in scores if row.boxes}
    return dict(sorted(Counter(source for _, source in used).items()))


def _mixed_boxes(records: Iterable[Generated], scores: Sequence[Score]) -> Iterable[Counted]:
    sources = boxes_of_run(records, scores)
    if len(sources) > 1:
        each = ", ".join(f"{source} ({clips} clips)" for source, clips in sources.items())
        yield Counted("mixed-boxes", f"face boxes of several sources: {each}")


def _left_out(rows: Sequence[Score], metric: str, protocol: str) -> Iterable[Counted]:
    """A column over a part of the clips; of one over none, its cells say why."""
    missing = [row.error for row in rows if row.stats is None and row.error is not None]
    if len(missing) == len(rows):
        return
    why = Counter("failed" if error.kind != NOT_APPLICABLE else f"n/a, {error.message}" for error in missing)
    if undefined := sum(_undefined(rows)):
        why["without a value"] = undefined
    if not why:
        return
    reasons = "; ".join(f"{n} {reason}" for reason, n in why.most_common())
    sentence = f"over {len(rows) - why.total()} of {len(rows)} clips ({reasons})"
    yield Counted("subset", sentence, total=len(rows), metric=metric, protocol=protocol)


def _undefined(rows: Sequence[Score]) -> Iterable[bool]:
    """Whether a measured clip lacks a value that another clip has; not where a caveat says so of its frames."""
    defined = {name for row in rows for name, value in (row.values or {}).items() if value is not None}
    for row in rows:
        lacking = any(value is None and name in defined for name, value in (row.values or {}).items())
        yield lacking and not any(one.kind == FRAMES_LEFT_OUT for one in row.caveats)


def _fewer_speakers(rows: Sequence[Score], clips: Iterable[str], speakers: Mapping[str, str]) -> Iterable[Counted]:
    """A column over few speakers in a run of more."""
    measured = {speakers[row.clip] for row in rows if row.stats is not None}
    if measured and len({speakers[clip] for clip in clips}) >= FEW_SPEAKERS:
        yield from (replace(one, metric=rows[0].metric, protocol=rows[0].protocol) for one in few_speakers(measured))


def few_speakers(speakers: Iterable[str]) -> tuple[Counted, ...]:
    """What to say where intervals and tests cannot decide anything, nothing elsewhere."""
    n = len(set(speakers))
    if n >= FEW_SPEAKERS:
        return ()
    who = "1 speaker" if n == 1 else f"{n} speakers"
    return (Counted("few-speakers", f"{who}: with fewer than {FEW_SPEAKERS} neither intervals nor tests decide"),)
