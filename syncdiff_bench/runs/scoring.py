"""Stage two: every metric on every clip, one line of scores.jsonl each, failures included.

Lines are appended batch by batch (one clip each, unless a metric wants several at once), and the file is put into plan
order at the end, so that an interrupted run, or one of several processes, ends with the very bytes of an undisturbed
one. What a batch comes to is `measuring`.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from syncdiff_bench.contracts import Metric, WeightsUsed
from syncdiff_bench.errors import UsageError
from syncdiff_bench.given import own_state
from syncdiff_bench.progress import Progress
from syncdiff_bench.runs.batches import header_length, plan_batches
from syncdiff_bench.runs.directory import Key, RunDirectory
from syncdiff_bench.runs.measuring import Measured, Measuring, Prepared, Task, score_of
from syncdiff_bench.runs.records import NOT_APPLICABLE, NOT_GENERATED, Failure, Generated, Score, lost_to_a_worker
from syncdiff_bench.runs.sources import VideoSource
from syncdiff_bench.runs.workers import Crew, torch_threads


def score(
    run: RunDirectory,
    source: VideoSource,
    metrics: Sequence[Metric[Any]],
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
    crew: Crew | None = None,
    own: Set[str] | None = None,
) -> None:
    """Score what is missing of this process's share, so that `run.scores` has a line of each of its clips x metrics.

    crew: processes beside this one.
    own: of a shard, the clips that it generated. It scores the batches that hold one of them; of a batch that others
        still generate clips of, only what metrics measure clip by clip. None for every shards-th batch.
    run.json is written before the first line that rests on what `run.manifest["protocols"]` says of a metric, the
    digests of its weights among it.
    Raises UsageError where earlier lines rest on other weights, BenchError where another rank died.
    """
    progress, ranks = progress or Progress(), run.ranks
    stage = _Scoring(run, source, metrics, retry_failed, progress)
    planned = stage.batches(run.identity.clips) if any(map(stage.missing, run.identity.clips)) else []
    # The first rank decides: by the time another one looks, there may be videos and scores of other shards.
    tasks = ranks.agreed([stage.task(batch, own) for batch in (planned if own else ranks.of_shard(planned))])
    todo = [clip_id for task in tasks for clip_id, lacking in zip(*task, strict=True) if lacking]
    again = list(filter(stage.measured_another, todo))
    if again:
        progress.note(f"{run.path}: scored again: {len(again)} clips, whose videos are others now (first: {again[0]})")
    n_clips = len(todo) if ranks.part else len(run.identity.clips)
    mine = ranks.share([task for task in tasks if any(task[1])])
    if ranks.count > 1:
        n_clips = sum(sum(map(bool, lacking)) for _, lacking in mine)
    done = 0 if ranks.part else n_clips - len(todo)
    with progress.stage(f"score {run.identity.method}{ranks.told}", n_clips, done):
        device = next((metric.runtime.device for metric in metrics), "cpu")
        work = Measuring(run.path, run.identity, device, metrics, source, progress)
        shared = device == "cpu" or (crew and crew.workers)
        most = None if shared and not any(own_state("metric", metric) for metric in metrics) else 1
        try:
            (crew or Crew()).each(mine, work, stage.keep, stage.lost, most=most)
        finally:
            if work.threads_before is not None:
                torch_threads(work.threads_before)
    if stage.news:
        run.save()
    ranks.wait()
    if run.whole:
        run.merge_parts()
        source.know(run.generated)


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

    def batches(self, clips: Sequence[str]) -> list[list[str]]:
        """All clips in order, several together where a metric wants that; mates change the last digit of a score."""
        budget = max((metric.batch_frames for metric in self.metrics), default=0)
        return list(plan_batches(clips, budget, header_length(self.source.dataset)))

    def task(self, batch: Sequence[str], own: Set[str] | None) -> Task:
        """A batch, and the metrics that each clip of it lacks, by their numbers; of a shard as `score` says."""
        together = own is None or (own & set(batch) and not self.source.absent & set(batch))
        clips = batch if together or own is None else [clip_id for clip_id in batch if clip_id in own]
        asked = {id(one): n for n, one in enumerate(self.metrics) if together or not one.batch_frames}
        lacking = [[asked[id(one)] for one in self.missing(clip_id) if id(one) in asked] for clip_id in clips]
        return tuple(clips), tuple(map(tuple, lacking))

    def keep(self, _task: Task, item: Generated | Prepared | Measured) -> None:
        """A line that came out, or what a metric rests on, which comes before the first line that does."""
        if isinstance(item, Generated):
            if self.run.generated.get(item.clip) != item:
                self.run.add_generated(item)
        elif isinstance(item, Prepared):
            self._enter_weights(item)
        else:
            if self.news:
                self.run.save()
                self.news = False
            self.run.add_scores(item.rows)
            self.progress.done(item.clips)

    def lost(self, task: Task, reason: str) -> None:
        rows, clips = [], [clip_id for clip_id, lacking in zip(*task, strict=True) if lacking]
        self.progress.note(f"a worker died ({reason}); {len(clips)} clips fail (first: {clips[0]}), the others go on")
        for clip_id, lacking in zip(*task, strict=True):
            error = lost_to_a_worker(clip_id, reason)
            sha256 = self.source.digests.get(clip_id)
            rows += [score_of(self.run.identity, clip_id, self.metrics[n], sha256, error=error) for n in lacking]
        self.keep(task, Measured(tuple(rows), len(clips)))

    def _enter_weights(self, of: Prepared) -> None:
        key = (of.metric, of.protocol)
        entry = next(one for one in self.run.manifest["protocols"] if (one["metric"], one["protocol"]) == key)
        recorded = [WeightsUsed(**weights) for weights in entry["weights"]]
        rests_on_them = any(row.error is None and row.key[1:] == key for row in self.have.values())
        if self.run.ranks.shards > 1 and not recorded:
            rests_on_them = False  # lines of other shards, which are compared when they are put together
        if rests_on_them and recorded != list(of.weights):
            old, new = (", ".join(f"{w.name} {w.sha256[:8]}" for w in ws) or "none" for ws in (recorded, of.weights))
            raise UsageError(
                f"{self.run.path} was scored by {of.metric} with other weights ({old} -> {new}); "
                "choose another --out, or `score` it with --fresh"
            )
        entry["weights"] = [one.to_json() for one in of.weights]
        entry["provenance"] = dict(of.provenance)
        self.news = True
