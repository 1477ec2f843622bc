"""What a batch of videos comes to under some metrics: rows of scores, in whichever process (`workers.Work`).

A clip is decoded once for all metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from syncdiff_bench.caveats import Caveat, as_caveats
from syncdiff_bench.contracts import Metric, Pair, WeightsUsed
from syncdiff_bench.errors import BenchError, ClipError, NoBoxes, NotApplicable, WeightsError
from syncdiff_bench.faces.boxes import FaceBoxes
from syncdiff_bench.faces.detection import detecting
from syncdiff_bench.faults import FaultLog, contained
from syncdiff_bench.given import provenance_of
from syncdiff_bench.progress import Progress
from syncdiff_bench.runs.manifest import Identity
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
from syncdiff_bench.runs.sources import VideoSource, boxes_used
from syncdiff_bench.runs.workers import Emit, torch_threads

Task = tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]  # clips, and the metrics that each one lacks, by number


@dataclass(frozen=True)
class Prepared:
    """A metric that is ready in some process, and what its numbers rest on there."""

    metric: str
    protocol: str
    weights: tuple[WeightsUsed, ...]
    provenance: Mapping[str, str]


@dataclass(frozen=True)
class Measured:
    """The missing rows of a batch. clips: how many clips they are of."""

    rows: tuple[Score, ...]
    clips: int


def score_of(identity: Identity, clip_id: str, metric: Metric[Any], sha256: str | None, **outcome: Any) -> Score:
    return Score(identity.method, identity.dataset, clip_id, metric.name, metric.protocol, sha256=sha256, **outcome)


class Measuring:
    """A batch to `Generated` (what opening given videos told), `Prepared` and at last `Measured`.

    folder: the run directory. device: where faces are looked for.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        device: str,
        metrics: Sequence[Metric[Any]],
        source: VideoSource,
        progress: Progress,
    ) -> None:
        self.folder = folder
        self.faults = FaultLog(folder)
        self.identity = identity
        self.device = device
        self.metrics = metrics
        self.source = source
        self.progress = progress
        self.emit: Emit
        self.threads_before: int | None = None
        self._opened: dict[str, Pair | Failure] = {}
        self._prepared: dict[int, Failure | None] = {}
        self._early: list[Prepared] = []  # what is not emitted yet

    def __reduce__(self) -> Any:
        metrics = tuple(type(metric)(metric.options, metric.runtime) for metric in self.metrics)
        return Measuring, (self.folder, self.identity, self.device, metrics, self.source, Progress())

    def get_ready(self, task: Task) -> None:
        """Prepare the metrics that the clips of a batch lack; its first batch emits what that told."""
        self.emit = self._early.append
        for number in sorted(set().union(*task[1])):
            self._not_ready(self.metrics[number])

    def __call__(self, task: Task, emit: Emit) -> None:
        batch, lacking = task
        missing = {clip_id: {id(self.metrics[n]) for n in numbers} for clip_id, numbers in zip(*task, strict=True)}
        self.emit = emit
        while self._early:
            emit(self._early.pop(0))
        self.progress.working_on([clip_id for clip_id, numbers in zip(*task, strict=True) if numbers])
        rows: list[Score] = []
        with detecting(self.device, self.progress.looking_for_faces):
            for metric in self.metrics:
                wanted = [clip_id for clip_id in batch if id(metric) in missing[clip_id]]
                if wanted:
                    # Mates change the last digit of a score, so that a batch is measured whole or not at all.
                    found = self._measured(metric, batch if metric.batch_frames else wanted)
                    rows += [found[clip_id] for clip_id in wanted]
        for clip_id in batch:
            self._opened.pop(clip_id, None)
        emit(Measured(tuple(rows), sum(map(bool, lacking))))

    def _open(self, clip_id: str) -> Pair | Failure:
        """The pair of a clip, the same one for all metrics; why there is none."""
        if clip_id not in self._opened:
            failure = self.source.failures.get(clip_id)
            try:
                self._opened[clip_id] = failure or Pair(*self.source.pair(clip_id))
            except ClipError as error:
                self.faults.note(error, f"{self.source.dataset.name}, {clip_id}")
                self._opened[clip_id] = Failure.of(error, NOT_GENERATED)
            for line in self.source.told():
                self.emit(line)
        return self._opened[clip_id]

    def _row(self, clip_id: str, metric: Metric[Any], **outcome: Any) -> Score:
        return score_of(self.identity, clip_id, metric, self.source.digests.get(clip_id), **outcome)

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
            with contained():
                return _unmet_requirement(metric, pair, self.source.no_reference) or self._not_ready(metric) or pair
        except Exception as error:
            return self._failure(metric, clip_id, error)

    def _failure(self, metric: Metric[Any], clip_id: str, error: Exception) -> Failure:
        self.faults.note(error, f"{metric.name}, {clip_id}")
        return _failure(error)

    def _outcomes(self, metric: Metric[Any], pairs: Sequence[Pair]) -> Sequence[Any]:
        """Statistics of each pair, or the exception that it ended in."""
        for clip in (clip for pair in pairs for clip in (pair.generated, pair.target)):
            clip.asked_for.clear()
        self._one_thread()
        try:
            with contained():
                found = metric.measure_many(pairs) if pairs else []
            if len(found) == len(pairs):
                return found
            problem = f"{len(found)} results for {len(pairs)} clips"
        # A metric that breaks on a batch, or runs out of memory, still measures the clips one by one.
        except Exception as error:
            self.faults.note(error, f"{metric.name}, {len(pairs)} clips together")
            problem = Failure.of(error, "metric").message
        self.progress.note(f"{metric.name}: {len(pairs)} clips together failed ({problem}); measured one by one")
        return Metric.measure_many(metric, pairs)

    def _one_thread(self) -> None:
        """The last digit of a convolution depends on the number of threads: on a CPU it is one, on any machine."""
        if self.device == "cpu":
            before = torch_threads(1)
            self.threads_before = before if self.threads_before is None else self.threads_before

    def _scored(self, clip_id: str, metric: Metric[Any], pair: Pair, outcome: Any) -> Score:
        if isinstance(outcome, Exception):
            return self._row(clip_id, metric, error=self._failure(metric, clip_id, outcome))
        try:
            with contained():
                recorded = _plain(metric.stats_to_json(outcome))
                defined = metric.values(metric.stats_from_json(recorded))
                values = {column.name: finite_or_none(defined.get(column.name)) for column in metric.columns}
                caveats = (*as_caveats(metric.caveats(pair, outcome)), *_left_out(metric.left_out(outcome)))
            boxes = _boxes_used(pair)
            every = dict.fromkeys((*caveats, *(one for found in boxes for one in found.caveats)))
            seen = f"{boxes[0].source} {boxes[0].digest[:16]}" if boxes else ""
            return self._row(clip_id, metric, values=values, stats=recorded, boxes=seen, caveats=tuple(every))
        except Exception as error:
            return self._row(clip_id, metric, error=self._failure(metric, clip_id, error))

    def _not_ready(self, metric: Metric[Any]) -> Failure | None:
        """Prepare the metric on its first use; why it cannot be used, None where it can."""
        if id(metric) not in self._prepared:
            self._prepared[id(metric)] = self._prepare(metric)
        return self._prepared[id(metric)]

    def _prepare(self, metric: Metric[Any]) -> Failure | None:
        try:
            with contained():
                metric.prepare()
        except Exception as error:
            self.faults.note(error, f"{metric.name}, prepare")
            if isinstance(error, BenchError) and not isinstance(error, NotApplicable | WeightsError):
                raise
            return Failure.of(error, NOT_APPLICABLE)
        self.emit(Prepared(metric.name, metric.protocol, tuple(metric.weights_used()), provenance_of(metric)))
        return None


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
