"""Stage one: the method's videos, resumable clip by clip.

Batches are planned from the full list of clips, never from what is left, and a batch with an unfinished
clip is generated whole: a clip sees the same batch mates whether or not the run was interrupted, so it gets
the same bytes. Several ranks get whole batches each, for the same reason.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from syncdiff_bench.caveats import Caveat, as_caveats
from syncdiff_bench.contracts import SAMPLES_PER_FRAME, Clip, Dataset, Media, Method, Runtime
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.media.fitting import LENGTH, tolerated
from syncdiff_bench.options import option_names
from syncdiff_bench.runs.directory import RunDirectory
from syncdiff_bench.runs.progress import Progress
from syncdiff_bench.runs.records import NOT_GENERATED, OUT_OF_MEMORY, Failure, Generated, clip_failure, one_line
from syncdiff_bench.runs.sources import (
    SOURCE_CHANGED,
    VIDEO_CHANGED,
    open_clip,
    plan_batches,
    record,
    unfinished_clips,
)

Sources = Mapping[str, str | None]


def generate(
    run: RunDirectory,
    method: Method,
    dataset: Dataset,
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> None:
    """Generate what is missing, so that `run.generated` has a line of every clip.

    A clip that cannot be decoded, or that the method fails on, is noted and the others go on. Of several ranks each
    generates its share of the batches, and all wait for the slowest.
    Raises UsageError where nothing can go on (disk full), WeightsError where the method's weights are no
    good, BenchError where another rank died.
    """
    progress, ranks = progress or Progress(), run.ranks
    sources = _source_digests(run, method)
    # The first rank decides: by the time another one looks, videos may be there that were missing.
    why = unfinished_clips(run, sources=sources, retry_failed=retry_failed) if ranks.first else {}
    if why:
        # Until it ends again, a run that gets new videos is not finished.
        run.manifest["finished"] = None
        run.save()
    for reason in (SOURCE_CHANGED, VIDEO_CHANGED):
        again = [clip_id for clip_id, one in why.items() if one == reason]
        if again:
            progress.note(f"{run.path}: made again: {reason.format(n=len(again), first=again[0])}")
    todo = set(ranks.agreed(list(why)))
    batches = [batch for batch in plan_batches(run.identity.clips, _batch_size(method)) if todo.intersection(batch)]
    mine = ranks.share(batches)
    n_clips, title = len(run.identity.clips), f"generate {run.identity.method}"
    if ranks.count > 1:
        todo &= {clip_id for batch in mine for clip_id in batch}
        n_clips, title = len(todo), f"{title} (rank {ranks.index} of {ranks.count})"
        if ranks.first and 0 < len(batches) < ranks.count:
            progress.note(f"{len(batches)} batches for {ranks.count} ranks: the others have nothing to do")
    # A method with an __init__ of its own need not have kept the runtime.
    method.runtime = replace(getattr(method, "runtime", Runtime()), folder=run.path)
    stage = _Generation(run, method, dataset, sources, progress)
    with progress.stage(title, n_clips, n_clips - len(todo)):
        for batch in mine:
            stage.batch(batch, todo.intersection(batch))
    ranks.wait()
    if ranks.first:
        run.settle_generated()


def _source_digests(run: RunDirectory, method: Method) -> Sources:
    """Clip -> sha256 of the file that its video is made from, None where that is missing; of `Method.given_videos`."""
    folder = method.given_videos()
    if folder is None:
        return {}
    found: dict[str, str | None] = {}
    for clip_id in run.identity.clips:
        try:
            found[clip_id] = run.files.sha256(folder.find(clip_id))
        except ClipError:
            found[clip_id] = None
    return found


def out_of_memory(error: BaseException) -> bool:
    """Whether the error says that RAM or the memory of a GPU is used up."""
    if isinstance(error, MemoryError):
        return True
    if "torch" not in sys.modules or not isinstance(error, Exception):
        return False
    from accelerate.utils.memory import should_reduce_batch_size

    return bool(should_reduce_batch_size(error))


def clear_memory() -> None:
    """Give back what a failed attempt left behind, in Python and in torch's caches."""
    import gc

    gc.collect()
    if "torch" in sys.modules:
        from accelerate.utils.memory import clear_device_cache

        clear_device_cache()


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
        sources: Sources,
        progress: Progress,
    ) -> None:
        self.run = run
        self.method = method
        self.dataset = dataset
        self.sources = sources
        self.progress = progress
        # What a failure taught: how many clips fit into memory together, and how to say so.
        self.at_once: int | None = None
        self.memory_notes: tuple[str, ...] = ()

    def batch(self, batch: Sequence[str], wanted: set[str]) -> None:
        """Generate a planned batch whole, and keep the wanted clips of it."""
        self.progress.working_on([clip_id for clip_id in batch if clip_id in wanted])
        clips = self._decoded(batch, wanted)
        self._in_parts(clips, {clip.id: clip for clip in clips if clip.id in wanted})

    def _in_parts(self, clips: Sequence[Clip], left: Mapping[str, Clip]) -> None:
        """At most `at_once` clips together; the result is the same, a clip does not depend on its batch mates."""
        size = self.at_once or len(clips)
        for start in range(0, len(clips), max(1, size)):
            part = clips[start : start + size]
            wanted = {clip.id: clip for clip in part if clip.id in left}
            if wanted:
                self._together(part, wanted)

    def _together(self, clips: Sequence[Clip], left: dict[str, Clip]) -> None:
        self.progress.working_on(list(left), sum(len(clip.frames) for clip in clips))
        failure = self._attempt(clips, left)
        if failure is not None and failure.kind == OUT_OF_MEMORY and len(clips) > 1 and left:
            self._learn_memory(len(clips))
            self._in_parts(clips, left)
            return
        if failure is not None and len(clips) > 1:
            for clip in list(left.values()):
                self._together([clip], {clip.id: clip})
            return
        for clip in left.values():
            nothing = Failure("no-output", f"{clip.id}: {self.method.name} yielded no frames for this clip")
            self._fail(clip, failure or nothing)

    def _learn_memory(self, clips: int) -> None:
        self.at_once = half = (clips + 1) // 2
        advice = f"; --set batch={half} plans for it" if "batch" in option_names(self.method.Options) else ""
        note = f"out of memory with {clips} clips at once, made {half} at a time{advice}"
        self.memory_notes = (note,)
        self.progress.note(f"{self.method.name}: {note}")
        clear_memory()

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

    def _attempt(self, clips: Sequence[Clip], left: dict[str, Clip]) -> Failure | None:
        """Run the method; take finished clips out of `left`. The failure is that of the method as a whole."""
        stream = self._yields(clips)
        while True:
            try:
                clip_id, frames = next(stream)
            except StopIteration:
                return None
            except Exception as error:
                if out_of_memory(error):
                    return self._out_of_memory(clips, error)
                return clip_failure(error, NOT_GENERATED)
            clip = left.pop(clip_id, None) if isinstance(clip_id, str) else None
            if clip is not None:
                self._finish(clip, frames)

    def _out_of_memory(self, clips: Sequence[Clip], error: Exception) -> Failure:
        frames = max(len(clip.frames) for clip in clips)
        return Failure(
            OUT_OF_MEMORY,
            f"{clips[0].id}: {frames} frames do not fit into the memory of {self.run.manifest['hardware']['device']}"
            f" even alone; give a --device with more ({one_line(str(error))[:200]})",
        )

    def _yields(self, clips: Sequence[Clip]) -> Iterator[tuple[str, Any]]:
        # A generator of our own, so that a method that is none (returns a list, raises at once) fails in
        # `next` too.
        yield from self.method.generate(clips, seed=self.run.identity.seed, progress=self.progress.frames_done)

    def _finish(self, clip: Clip, frames: Any) -> None:
        from syncdiff_bench.media.writing import write_video

        if isinstance(frames, ClipError):
            self._fail(clip, Failure.of(frames, NOT_GENERATED))
            return
        try:
            noticed = (*as_caveats(self.method.caveats(clip.id)), *self._notes(clip.id))
        except Exception as error:
            failure = clip_failure(error, "caveats")
            self._fail(clip, replace(failure, message=f"{clip.id}: caveats of {self.method.name}: {failure.message}"))
            return
        problem = _frames_problem(clip, frames, shorter=any(one.kind == LENGTH for one in noticed))
        if problem:
            self._fail(clip, Failure("wrong-output", f"{clip.id}: {self.method.name} made {problem}"))
            return
        path = self.run.video_path(clip.id)
        if path.is_dir():
            self._fail(clip, Failure("encode", f"{path} is a folder; move it away and give --retry-failed"))
            return
        audio = clip.audio[: len(frames) * SAMPLES_PER_FRAME]
        try:
            write_video(path, Media(frames, audio), encoding=self.run.identity.encoding)
        except Exception as error:
            self._fail(clip, clip_failure(error, "encode"))
            return
        made = self.run.files.sha256(path)
        self._record(record(clip, len(frames), notes=self.memory_notes, caveats=noticed, sha256=made))

    def _notes(self, clip_id: str) -> Iterator[Caveat]:
        """What a method of an earlier contract says in `notes`, which `caveats` took the place of."""
        notes = getattr(self.method, "notes", None)
        return (Caveat("note", note) for note in (notes(clip_id) if callable(notes) else ()))

    def _fail(self, clip: Clip, failure: Failure) -> None:
        self._record(record(clip, None, error=failure))

    def _record(self, line: Generated) -> None:
        self.run.add_generated(replace(line, source=self.sources.get(line.clip)))
        self.progress.clips_done()


def _frames_problem(clip: Clip, frames: Any, *, shorter: bool) -> str:
    """What is wrong with the frames, "" for nothing. shorter: their method says that some are missing at the end."""
    if not isinstance(frames, np.ndarray):
        return f"a {type(frames).__name__}, expected a numpy array of frames"
    wanted = len(clip.frames)
    fewest = wanted - tolerated(wanted) if shorter else wanted
    whole = frames.ndim == 4 and frames.shape[1:] == clip.frames.shape[1:] and frames.dtype == np.uint8
    if not whole or not fewest <= len(frames) <= wanted:
        return f"frames {frames.shape} {frames.dtype}, expected {clip.frames.shape} uint8"
    return ""
