"""Stage one: the method's videos, resumable clip by clip.

Batches are planned from the full list of clips, never from what is left, and a batch with an unfinished
clip is generated whole: a clip sees the same batch mates whether or not the run was interrupted, so it gets
the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from syncdiff_bench.contracts import Clip, Dataset, Media, Method
from syncdiff_bench.errors import BenchError, ClipError, UsageError
from syncdiff_bench.runs.directory import RunDirectory
from syncdiff_bench.runs.journal import Journal
from syncdiff_bench.runs.progress import Progress
from syncdiff_bench.runs.records import NOT_GENERATED, Failure, Generated


def plan_batches(clip_ids: Sequence[str], batch_size: int) -> Iterator[tuple[str, ...]]:
    """Consecutive batches; the last one may be smaller.

    >>> list(plan_batches(["a", "b", "c"], 2))
    [('a', 'b'), ('c',)]
    """
    for start in range(0, len(clip_ids), batch_size):
        yield tuple(clip_ids[start : start + batch_size])


def open_clip(dataset: Dataset, clip_id: str) -> Clip:
    """The clip, decoded. What it caches lives no longer than the returned object.

    Raises ClipError where its files are missing or cannot be decoded.
    """
    try:
        clip = replace(dataset.clip(clip_id))
        _ = clip.media
    except BenchError:
        raise
    except Exception as error:
        failure = Failure.of(error, "undecodable")
        raise ClipError(failure.kind, f"{clip_id}: cannot be decoded ({failure.message})") from error
    return clip


def boxes_source(clip: Clip) -> str:
    """ "file", "centred", or "unreadable" where the file of face boxes is damaged."""
    try:
        return clip.face_boxes.source
    except ClipError:
        return "unreadable"


def unfinished_clips(run: RunDirectory, records: dict[str, Generated], *, retry_failed: bool = False) -> list[str]:
    """The clips still to generate, in plan order. A recorded failure is final unless `retry_failed`."""

    def finished(clip_id: str) -> bool:
        record = records.get(clip_id)
        if record is None:
            return False
        if record.error is not None:
            return not retry_failed
        return run.video_path(clip_id).is_file()

    return [clip_id for clip_id in run.identity.clips if not finished(clip_id)]


def generate(
    run: RunDirectory,
    method: Method,
    dataset: Dataset,
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> dict[str, Generated]:
    """Generate what is missing and return the record of every clip.

    A clip that cannot be decoded, or that the method fails on, is recorded and the others go on.
    Raises UsageError where nothing can go on (disk full), WeightsError where the method's weights are no
    good.
    """
    progress = progress or Progress()
    journal, records = run.generation_journal()
    todo = unfinished_clips(run, records, retry_failed=retry_failed)
    n_clips = len(run.identity.clips)
    stage = _Generation(run, method, dataset, journal, records=records, progress=progress)
    with progress.stage(f"generate {run.identity.method}", n_clips, n_clips - len(todo)):
        wanted = set(todo)
        for batch in plan_batches(run.identity.clips, _batch_size(method)):
            if not wanted.isdisjoint(batch):
                stage.batch(batch, wanted.intersection(batch))
    return records


def _batch_size(method: Method) -> int:
    size = method.batch_size
    if not isinstance(size, int) or size < 1:
        raise UsageError(f"method {method.name!r} asks for batches of {size!r}; its batch_size must be at least 1")
    return size


class _Generation:
    def __init__(
        self,
        run: RunDirectory,
        method: Method,
        dataset: Dataset,
        journal: Journal,
        *,
        records: dict[str, Generated],
        progress: Progress,
    ) -> None:
        self.run = run
        self.method = method
        self.dataset = dataset
        self.journal = journal
        self.records = records
        self.progress = progress

    def batch(self, batch: Sequence[str], wanted: set[str]) -> None:
        """Generate a planned batch whole, and keep the wanted clips of it."""
        self.progress.working_on([clip_id for clip_id in batch if clip_id in wanted])
        clips = self._decoded(batch, wanted)
        left = {clip.id: clip for clip in clips if clip.id in wanted}
        if not left:
            return
        self.progress.working_on(list(left), sum(len(clip.frames) for clip in clips))
        failure = self._attempt(clips, left)
        if failure is not None and len(clips) > 1:
            self._one_by_one(left)
            return
        for clip in list(left.values()):
            self._fail(clip, failure or self._nothing_yielded(clip))

    def _decoded(self, batch: Sequence[str], wanted: set[str]) -> list[Clip]:
        # A clip that cannot be decoded is left out every time, so its mates always see the same batch.
        clips = []
        for clip_id in batch:
            try:
                clips.append(open_clip(self.dataset, clip_id))
            except ClipError as error:
                if clip_id in wanted:
                    self._record(Generated(clip_id, error=Failure.of(error, "undecodable")))
        return clips

    def _one_by_one(self, left: dict[str, Clip]) -> None:
        for clip in list(left.values()):
            self.progress.working_on([clip.id], len(clip.frames))
            alone = {clip.id: clip}
            failure = self._attempt([clip], alone)
            if alone:
                self._fail(clip, failure or self._nothing_yielded(clip))

    def _attempt(self, clips: Sequence[Clip], left: dict[str, Clip]) -> Failure | None:
        """Run the method; take finished clips out of `left`. The failure is that of the method as a whole."""
        stream = self._yields(clips)
        while True:
            try:
                clip_id, frames = next(stream)
            except StopIteration:
                return None
            # It speaks for the whole run: no clip can be generated with these weights or options.
            except BenchError as error:
                if not isinstance(error, ClipError):
                    raise
                return Failure.of(error, NOT_GENERATED)
            except Exception as error:
                return Failure.of(error, NOT_GENERATED)
            clip = left.pop(clip_id, None) if isinstance(clip_id, str) else None
            if clip is not None:
                self._finish(clip, frames)

    def _yields(self, clips: Sequence[Clip]) -> Iterator[tuple[str, Any]]:
        # A generator of our own, so that a method that is none (returns a list, raises at once) fails in
        # `next` too.
        yield from self.method.generate(clips, seed=self.run.identity.seed, progress=self.progress.frames_done)

    def _finish(self, clip: Clip, frames: Any) -> None:
        from syncdiff_bench.media.writing import write_video

        if isinstance(frames, ClipError):
            self._fail(clip, Failure.of(frames, NOT_GENERATED))
            return
        problem = _frames_problem(clip, frames)
        if problem:
            self._fail(clip, Failure("wrong-output", f"{clip.id}: {self.method.name} made {problem}"))
            return
        path = self.run.video_path(clip.id)
        try:
            write_video(path, Media(frames, clip.audio), encoding=self.run.identity.encoding)
        except BenchError as error:
            if not isinstance(error, ClipError):
                raise
            self._fail(clip, Failure.of(error, "encode"))
            return
        except Exception as error:
            self._fail(clip, Failure.of(error, "encode"))
            return
        self._record(Generated(clip.id, len(frames), clip.media.notes, boxes_source(clip), speaker=clip.speaker))

    def _fail(self, clip: Clip, failure: Failure) -> None:
        notes, boxes = clip.media.notes, boxes_source(clip)
        self._record(Generated(clip.id, None, notes, boxes, speaker=clip.speaker, error=failure))

    def _record(self, record: Generated) -> None:
        self.journal.append([record.to_row()])
        self.records[record.clip] = record
        self.progress.clips_done()

    def _nothing_yielded(self, clip: Clip) -> Failure:
        return Failure("no-output", f"{clip.id}: {self.method.name} yielded no frames for this clip")


def _frames_problem(clip: Clip, frames: Any) -> str:
    if not isinstance(frames, np.ndarray):
        return f"a {type(frames).__name__}, expected a numpy array of frames"
    if frames.shape != clip.frames.shape or frames.dtype != np.uint8:
        return f"frames {frames.shape} {frames.dtype}, expected {clip.frames.shape} uint8"
    return ""
