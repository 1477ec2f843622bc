"""Stage two: every metric on every clip, one line of scores.jsonl each, failures included.

A clip is decoded once for all metrics. Lines are appended batch by batch (one clip each, unless a metric wants
several at once), and the file is put into plan order at the end, so that an interrupted run ends with the very
bytes of an undisturbed one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from syncdiff_bench.caveats import Caveat, as_caveats
from syncdiff_bench.contracts import Metric, Pair, WeightsUsed
from syncdiff_bench.errors import BenchError, ClipError, NoBoxes, NotApplicable, UsageError, WeightsError
from syncdiff_bench.faces.boxes import FaceBoxes
from syncdiff_bench.runs.directory import Key, RunDirectory
from syncdiff_bench.runs.progress import Progress
from syncdiff_bench.runs.records import (
    FRAMES_LEFT_OUT,
    NOT_APPLICABLE,
    NOT_GENERATED,
    Failure,
    Score,
    clip_failure,
    finite_or_none,
    one_line,
)
from syncdiff_bench.runs.sources import VideoSource, boxes_used, plan_batches


def score(
    run: RunDirectory,
    source: VideoSource,
    metrics: Sequence[Metric[Any]],
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> tuple[Score, ...]:
    """Score what is missing and return the scores of all clips x metrics, in plan order.

    run.json is written before the first line that rests on what `run.manifest["protocols"]` says of a metric, the
    digests of its weights among it.
    Raises UsageError where earlier lines rest on other weights.
    """
    progress = progress or Progress()
    stage = _Scoring(run, source, metrics, retry_failed, progress)
    clips = run.identity.clips
    todo = {clip_id for clip_id in clips if stage.missing(clip_id)}
    again = [clip_id for clip_id in clips if clip_id in todo and stage.measured_another(clip_id)]
    if again:
        progress.note(f"{run.path}: scored again: {len(again)} clips, whose videos are others now (first: {again[0]})")
    with progress.stage(f"score {run.identity.method}", len(clips), len(clips) - len(todo)):
        for batch in stage.batches(clips, todo):
            working = [clip_id for clip_id in batch if clip_id in todo]
            if working:
                progress.working_on(working)
                rows = stage.measured(batch)
                if stage.news:
                    run.save()
                    stage.news = False
                run.add_scores(rows)
                progress.clips_done(len(working))
    if stage.news:
        run.save()
    ordered = tuple(run.scores[key] for clip_id in clips for key in stage.keys(clip_id))
    run.settle_scores(ordered)
    return ordered


class _Scoring:
    def __init__(
        self,
        run: RunDirectory,
        source: VideoSource,
        metrics: Sequence[Metric[Any]],
        retry_failed: bool,
        progress: Progress,
    ) -> None:
        self.run = run
        self.source = source
        self.metrics = metrics
        self.have = run.scores
        self.news = True  # run.json may lack what its manifest says of the metrics
        self.retry_failed = retry_failed
        self.progress = progress
        self._opened: dict[str, Pair | Failure] = {}
        self._prepared: dict[int, Failure | None] = {}

    def keys(self, clip_id: str) -> list[Key]:
        return [(clip_id, metric.name, metric.protocol) for metric in self.metrics]

    def missing(self, clip_id: str) -> list[Metric[Any]]:
        """The metrics that still have to measure this clip."""
        failure = self.source.failures.get(clip_id)
        pairs = zip(self.metrics, self.keys(clip_id), strict=True)
        sha256 = self.source.digests.get(clip_id)
        return [metric for metric, key in pairs if not self._final(self.have.get(key), failure, sha256)]

    def measured_another(self, clip_id: str) -> bool:
        """Whether there are scores of another video of this clip."""
        sha256 = self.source.digests.get(clip_id)
        rows = (self.have.get(key) for key in self.keys(clip_id))
        return sha256 is not None and any(row is not None and row.sha256 not in (None, sha256) for row in rows)

    def _final(self, row: Score | None, failure: Failure | None, sha256: str | None) -> bool:
        if row is None or row.sha256 != sha256:
            return False
        if row.error is None:
            return failure is None
        if failure is not None or row.error.kind == NOT_GENERATED:
            return row.error == failure
        # What was not applicable may be by now (weights fetched); finding out costs little.
        return row.error.kind != NOT_APPLICABLE and not self.retry_failed

    def batches(self, clips: Sequence[str], todo: Set[str]) -> Iterator[list[str]]:
        """All clips in order, several together where a metric wants that; none is decoded that is not in `todo`."""
        budget = max((metric.batch_frames for metric in self.metrics), default=0)
        return plan_batches(clips if todo else (), budget, lambda clip_id: self._frames(clip_id, clip_id in todo))

    def _frames(self, clip_id: str, wanted: bool) -> int:
        """How many frames the video of a clip has; 0 without one."""
        record = self.source.records.get(clip_id)
        if record is None and wanted:
            self._open(clip_id)
            record = self.source.records.get(clip_id)
        return 0 if record is None else record.frames or 0

    def measured(self, batch: Sequence[str]) -> list[Score]:
        """The missing rows of a batch."""
        missing = {clip_id: self.missing(clip_id) for clip_id in batch}
        rows: list[Score] = []
        for metric in self.metrics:
            wanted = [clip_id for clip_id in batch if metric in missing[clip_id]]
            if wanted:
                # Mates change the last digit of a score, so that a batch is measured whole or not at all.
                found = self._measured(metric, batch if metric.batch_frames else wanted)
                rows += [found[clip_id] for clip_id in wanted]
        for clip_id in batch:
            self._opened.pop(clip_id, None)
        return rows

    def _open(self, clip_id: str) -> Pair | Failure:
        """The pair of a clip, the same one for all metrics; why there is none."""
        if clip_id not in self._opened:
            failure = self.source.failures.get(clip_id)
            try:
                self._opened[clip_id] = failure or Pair(*self.source.pair(clip_id))
            except ClipError as error:
                self._opened[clip_id] = Failure.of(error, NOT_GENERATED)
        return self._opened[clip_id]

    def _row(self, clip_id: str, metric: Metric[Any], **outcome: Any) -> Score:
        identity = self.run.identity
        sha256 = self.source.digests.get(clip_id)
        return Score(identity.method, identity.dataset, clip_id, metric.name, metric.protocol, sha256=sha256, **outcome)

    def _measured(self, metric: Metric[Any], clip_ids: Sequence[str]) -> dict[str, Score]:
        ready: dict[str, Pair] = {}
        rows: dict[str, Score] = {}
        for clip_id in clip_ids:
            pair = self._ready(metric, clip_id)
            if isinstance(pair, Failure):
                rows[clip_id] = self._row(clip_id, metric, error=pair)
            else:
                ready[clip_id] = pair
        for clip_id, outcome in zip(ready, self._outcomes(metric, list(ready.values())), strict=True):
            rows[clip_id] = self._scored(clip_id, metric, ready[clip_id], outcome)
        return rows

    def _ready(self, metric: Metric[Any], clip_id: str) -> Pair | Failure:
        """The pair of a clip; why this metric has nothing to measure there."""
        pair = self._open(clip_id)
        if isinstance(pair, Failure):
            return pair
        try:
            return _unmet_requirement(metric, pair, self.source.no_reference) or self._not_ready(metric) or pair
        except Exception as error:
            return _failure(error)

    def _outcomes(self, metric: Metric[Any], pairs: Sequence[Pair]) -> Sequence[Any]:
        """Statistics of each pair, or the exception that it ended in."""
        for clip in (clip for pair in pairs for clip in (pair.generated, pair.target)):
            clip.asked_for.clear()
        try:
            found = metric.measure_many(pairs) if pairs else []
            if len(found) == len(pairs):
                return found
            problem = f"{len(found)} results for {len(pairs)} clips"
        # A metric that breaks on a batch, or runs out of memory, still measures the clips one by one.
        except Exception as error:
            problem = Failure.of(error, "metric").message
        self.progress.note(f"{metric.name}: {len(pairs)} clips together failed ({problem}); measured one by one")
        return Metric.measure_many(metric, pairs)

    def _scored(self, clip_id: str, metric: Metric[Any], pair: Pair, outcome: Any) -> Score:
        if isinstance(outcome, Exception):
            return self._row(clip_id, metric, error=_failure(outcome))
        try:
            recorded = _plain(metric.stats_to_json(outcome))
            defined = metric.values(metric.stats_from_json(recorded))
            values = {column.name: finite_or_none(defined.get(column.name)) for column in metric.columns}
            caveats = (*as_caveats(metric.caveats(pair, outcome)), *_left_out(metric.left_out(outcome)))
            boxes = _boxes_used(pair)
            every = dict.fromkeys((*caveats, *(one for found in boxes for one in found.caveats)))
            seen = f"{boxes[0].source} {boxes[0].digest[:16]}" if boxes else ""
            return self._row(clip_id, metric, values=values, stats=recorded, boxes=seen, caveats=tuple(every))
        except Exception as error:
            return self._row(clip_id, metric, error=_failure(error))

    def _not_ready(self, metric: Metric[Any]) -> Failure | None:
        """Prepare the metric on its first use; why it cannot be used, None where it can."""
        if id(metric) not in self._prepared:
            self._prepared[id(metric)] = self._prepare(metric)
        return self._prepared[id(metric)]

    def _prepare(self, metric: Metric[Any]) -> Failure | None:
        try:
            metric.prepare()
        except Exception as error:
            if isinstance(error, BenchError) and not isinstance(error, NotApplicable | WeightsError):
                raise
            return Failure.of(error, NOT_APPLICABLE)
        self._enter_weights(metric)
        return None

    def _enter_weights(self, metric: Metric[Any]) -> None:
        used, key = metric.weights_used(), (metric.name, metric.protocol)
        entry = next(one for one in self.run.manifest["protocols"] if (one["metric"], one["protocol"]) == key)
        recorded = [WeightsUsed(**weights) for weights in entry["weights"]]
        rests_on_them = any(row.error is None and row.key[1:] == key for row in self.have.values())
        if rests_on_them and recorded != list(used):
            old, new = (", ".join(f"{w.name} {w.sha256[:8]}" for w in ws) or "none" for ws in (recorded, used))
            raise UsageError(
                f"{self.run.path} was scored by {metric.name} with other weights ({old} -> {new}); "
                "choose another --out, or `score` it with --fresh"
            )
        entry["weights"] = [one.to_json() for one in used]
        entry["provenance"] = dict(metric.provenance())
        self.news = True


def _unmet_requirement(metric: Metric[Any], pair: Pair, no_reference: str) -> Failure | None:
    # The audio comes last: only asking for it decodes the video.
    if "reference" in metric.requires and pair.reference is None:
        return Failure(NOT_APPLICABLE, no_reference)
    if "transcript" in metric.requires and pair.target.transcript is None:
        if pair.target.transcript_note:
            return Failure("transcript", pair.target.transcript_note)
        return Failure(NOT_APPLICABLE, "the clip has no transcript")
    if "audio" in metric.requires and pair.generated.audio.size == 0:
        return Failure(NOT_APPLICABLE, "the clip has no audio track")
    return None


def _boxes_used(pair: Pair) -> list[FaceBoxes]:
    """The face boxes that a metric asked for: of the reference, of the video itself."""
    found = map(boxes_used, dict.fromkeys((pair.target, pair.generated)))
    return [boxes for boxes in found if boxes is not None]


def _failure(error: Exception) -> Failure:
    """What an exception says about one clip. Raises those that are about the whole run."""
    if isinstance(error, NoBoxes):
        return Failure(NOT_APPLICABLE, one_line(error.reason))
    if isinstance(error, NotApplicable | WeightsError):
        return Failure.of(error, NOT_APPLICABLE)
    return clip_failure(error, "metric")


def _left_out(frames: int) -> tuple[Caveat, ...]:
    sentence = "{sum} frames equal their reference, have no value and are left out"
    return (Caveat(FRAMES_LEFT_OUT, sentence, amount=frames),) if frames else ()


def _plain(value: Any) -> Any:
    """Statistics as JSON holds them; numpy scalars and tuples become Python numbers and lists.

    Raises ClipError `not-finite` for a number that JSON does not know.
    """
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        raise ClipError("not-finite", f"the statistics hold {value}; the frames cannot be measured")
    return value
