"""Stage one: the method's videos, resumable clip by clip.

A batch with an unfinished clip is generated whole: a clip sees the same batch mates (`batches`) whether or not the run
was interrupted, so it gets the same bytes. Several processes get whole batches each, for the same reason.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from syncdiff_bench.caveats import Caveat, as_caveats
from syncdiff_bench.contracts import SAMPLES_PER_FRAME, Clip, Dataset, Media, Method, Runtime
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces.detection import detecting
from syncdiff_bench.faults import FaultLog, contained
from syncdiff_bench.given import own_state
from syncdiff_bench.journals import Journal
from syncdiff_bench.media.fitting import LENGTH, tolerated
from syncdiff_bench.options import option_names
from syncdiff_bench.plugins import DatasetSpec, dataset_spec, load_dataset
from syncdiff_bench.progress import Progress
from syncdiff_bench.runs.batches import generation_batches, header_length
from syncdiff_bench.runs.directory import RunDirectory
from syncdiff_bench.runs.layout import TIMINGS, part_file, video_name
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.records import (
    NOT_GENERATED,
    OUT_OF_MEMORY,
    Failure,
    Generated,
    clip_failure,
    lost_to_a_worker,
    one_line,
)
from syncdiff_bench.runs.sources import SOURCE_CHANGED, VIDEO_CHANGED, open_clip, record, unfinished_clips
from syncdiff_bench.runs.timing import LOST, Stopwatch, Timed
from syncdiff_bench.runs.workers import Crew, Emit
from syncdiff_bench.weights.digests import sha256_of

Sources = Mapping[str, str | None]
Task = tuple[tuple[str, ...], tuple[str, ...]]  # a planned batch, and the clips of it that are wanted


def generate(
    run: RunDirectory,
    method: Method,
    dataset: Dataset,
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
    crew: Crew | None = None,
) -> frozenset[str]:
    """Generate what is missing of this process's share of the clips, all of them unless there are shards.

    A clip that cannot be decoded, or that the method fails on, is noted and the others go on. Of several ranks each
    generates its share of the batches, and all wait for the slowest.
    crew: processes beside this one, on a CPU.
    Returns the clips of this launch: its shard, or all.
    Raises UsageError where nothing can go on (disk full), WeightsError where the method's weights are no
    good, BenchError where another rank died.
    """
    progress, ranks = progress or Progress(), run.ranks
    cpu = method_device(method) == "cpu"
    sources, unusable = _sources(run, method)
    planned = ranks.of_shard(planned_batches(run.identity.clips, method, dataset))
    ours = frozenset(clip_id for batch in planned for clip_id in batch)
    # The first rank decides: by the time another one looks, videos may be there that were missing.
    why = unfinished_clips(run, sources=sources, retry_failed=retry_failed) if ranks.first else {}
    why = {clip_id: reason for clip_id, reason in why.items() if clip_id in ours}
    if why:
        # Until it ends again, a run that gets new videos is not finished.
        run.manifest["finished"] = None
        run.save()
    for reason in (SOURCE_CHANGED, VIDEO_CHANGED):
        again = [clip_id for clip_id, one in why.items() if one == reason]
        if again:
            progress.note(f"{run.path}: made again: {reason.format(n=len(again), first=again[0])}")
    todo = set(ranks.agreed(list(why)))
    batches = [batch for batch in planned if todo.intersection(batch)]
    mine = ranks.share(batches)
    n_clips, title = len(ours), f"generate {run.identity.method}{ranks.told}"
    if ranks.count > 1:
        todo &= {clip_id for batch in mine for clip_id in batch}
        n_clips = len(todo)
        if ranks.first and 0 < len(batches) < ranks.count:
            progress.note(
                f"{len(batches)} batches for {ranks.count} ranks: the others have nothing to do"
                + ("; --set batch=N makes smaller ones" if "batch" in option_names(method.Options) else "")
            )
    # A method with an __init__ of its own need not have kept the runtime.
    method.runtime = replace(getattr(method, "runtime", Runtime()), folder=run.path)
    work = Generation(run.path, run.identity, run.manifest["hardware"]["device"], method, dataset, sources, progress)
    crew, timings = crew or Crew(), Journal(part_file(run.path, TIMINGS, ranks.part), LOST)
    # Of ranks and shards on a CPU nobody knows whether they share it.
    work.watch = Stopwatch(method_device(method), None if cpu and ranks.part else lambda: crew.pids)
    with progress.stage(title, n_clips, n_clips - len(todo)):
        left = set(todo)

        def keep(_task: Task, line: Generated | Timed) -> None:
            if isinstance(line, Timed):
                timings.append([line.to_row()])
                return
            left.discard(line.clip)
            if line.sha256 is not None:
                run.files.remember(run.video_path(line.clip), line.sha256)
            run.add_generated(line)
            progress.done()

        def lost(task: Task, reason: str) -> None:
            gone = [clip_id for clip_id in task[1] if clip_id in left]
            progress.note(f"a worker died ({reason}); {len(gone)} clips fail (first: {gone[0]}), the others go on")
            for clip_id in gone:
                keep(task, Generated(clip_id, error=lost_to_a_worker(clip_id, reason)))

        for clip_id in sorted(todo & unusable.keys(), key=run.identity.clips.index):
            keep(((), ()), Generated(clip_id, error=unusable[clip_id], source=sources[clip_id]))
        batches = [batch for batch in mine if left.intersection(batch)]
        tasks = [(tuple(batch), tuple(clip_id for clip_id in batch if clip_id in left)) for batch in batches]
        alone = not cpu or not method.any_threads or bool(own_state("method", method))
        crew.each(tasks, work, keep, lost, most=1 if alone else None)
    ranks.wait()
    if run.whole:
        run.merge_parts()
        run.settle_generated()
    return ours


def planned_batches(clips: Sequence[str], method: Method, dataset: Dataset) -> list[list[str]]:
    """The batches that a method generates clips in. Raises UsageError for a size that it cannot have."""
    size = method.batch_size
    if not isinstance(size, int) or size < 1:
        raise UsageError(f"method {method.name!r} asks for batches of {size!r}; its batch_size must be at least 1")
    return generation_batches(clips, size, header_length(dataset), cpu=method_device(method) == "cpu")


def method_device(method: Method) -> str:
    return getattr(method, "runtime", Runtime()).device


def _sources(run: RunDirectory, method: Method) -> tuple[Sources, Mapping[str, Failure]]:
    """Clip -> sha256 of the file that its video is made from, None where that is missing; of `Method.given_videos`.

    And the clips that share a file with another one, each with why that cannot be.
    """
    folder = method.given_videos()
    found = {} if folder is None else folder.find_all(run.identity.clips)
    wrong = {clip: one for clip, one in found.items() if isinstance(one, ClipError)}
    digests = {clip: None if isinstance(one, ClipError) else run.files.sha256(one) for clip, one in found.items()}
    return digests, {clip: Failure.of(one, one.kind) for clip, one in wrong.items() if one.kind == "ambiguous"}


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


class Generation:
    """A batch of clips to lines of generation.jsonl, the videos written; in whichever process (`workers.Work`).

    folder: the run directory. device: for messages. A task is a planned batch, and which clips of it are wanted.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        device: str,
        method: Method,
        dataset: Dataset,
        sources: Sources,
        progress: Progress,
    ) -> None:
        self.folder = folder
        self.identity = identity
        self.device = device
        self.method = method
        self.dataset = dataset
        self.sources = sources
        self.progress = progress
        self.emit: Emit
        # What a failure taught: how many clips fit into memory together, and how to say so.
        self.at_once: int | None = None
        self.faults = FaultLog(folder)
        self.memory_notes: tuple[str, ...] = ()
        self.watch = Stopwatch(method_device(method), None)

    def __reduce__(self) -> Any:
        method = (type(self.method), self.method.options, self.method.runtime)
        dataset = dataset_spec(self.dataset)
        return _generation_anew, (self.folder, self.identity, self.device, method, dataset, self.sources)

    def get_ready(self, task: Task) -> None:
        """Nothing: a method loads with its first clip."""

    def __call__(self, task: Task, emit: Emit) -> None:
        """Generate a planned batch whole, and keep the wanted clips of it."""
        batch, wanted = task[0], set(task[1])
        self.emit = emit
        self.progress.working_on(task[1])
        with detecting(self.device, self._looking_for_faces):
            clips = self._decoded(batch, wanted)
            self._in_parts(clips, {clip.id: clip for clip in clips if clip.id in wanted})

    def _looking_for_faces(self, clip_id: str, done: int, total: int) -> None:
        self.watch.looking(done, total)
        self.progress.looking_for_faces(clip_id, done, total)

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
                    self.faults.note(error, f"{self.dataset.name}, {clip_id}")
                    self._record(Generated(clip_id, error=Failure.of(error, "undecodable")))
        return clips

    def _attempt(self, clips: Sequence[Clip], left: dict[str, Clip]) -> Failure | None:
        """Run the method; take finished clips out of `left`. The failure is that of the method as a whole."""
        stream, made = self._yields(clips), dict[str, int]()
        self.watch.begin()
        while True:
            try:
                with contained(), self.watch.running():
                    clip_id, frames = next(stream)
            except StopIteration:
                if len(made) == len(clips) and not self.sources:
                    self.emit(self.watch.end(made))
                return None
            except Exception as error:
                if out_of_memory(error):
                    return self._out_of_memory(clips, error)
                self.faults.note(error, f"{self.method.name}, {', '.join(clip.id for clip in clips)}")
                return clip_failure(error, NOT_GENERATED)
            if isinstance(frames, np.ndarray) and isinstance(clip_id, str):
                made[clip_id] = len(frames)
            clip = left.pop(clip_id, None) if isinstance(clip_id, str) else None
            if clip is not None:
                self._finish(clip, frames)

    def _out_of_memory(self, clips: Sequence[Clip], error: Exception) -> Failure:
        frames = max(len(clip.frames) for clip in clips)
        return Failure(
            OUT_OF_MEMORY,
            f"{clips[0].id}: {frames} frames do not fit into the memory of {self.device}"
            f" even alone; give a --device with more ({one_line(str(error))[:200]})",
        )

    def _yields(self, clips: Sequence[Clip]) -> Iterator[tuple[str, Any]]:
        # A generator of our own, so that a method that is none (returns a list, raises at once) fails in
        # `next` too.
        yield from self.method.generate(clips, seed=self.identity.seed, progress=self.progress.frames_done)

    def _finish(self, clip: Clip, frames: Any) -> None:
        from syncdiff_bench.media.writing import write_video

        if isinstance(frames, ClipError):
            self._fail(clip, Failure.of(frames, NOT_GENERATED))
            return
        try:
            with contained():
                noticed = (*as_caveats(self.method.caveats(clip.id)), *self._notes(clip.id))
        except Exception as error:
            self.faults.note(error, f"{self.method.name}, caveats of {clip.id}")
            failure = clip_failure(error, "caveats")
            self._fail(clip, replace(failure, message=f"{clip.id}: caveats of {self.method.name}: {failure.message}"))
            return
        problem = frames_problem(clip, frames, shorter=any(one.kind == LENGTH for one in noticed))
        if problem:
            self._fail(clip, Failure("wrong-output", f"{clip.id}: {self.method.name} made {problem}"))
            return
        path = self.folder / "videos" / video_name(clip.id)
        if path.is_dir():
            self._fail(clip, Failure("encode", f"{path} is a folder; move it away and give --retry-failed"))
            return
        audio = clip.audio[: len(frames) * SAMPLES_PER_FRAME]
        try:
            write_video(path, Media(frames, audio), encoding=self.identity.encoding)
        except Exception as error:
            self._fail(clip, clip_failure(error, "encode"))
            return
        made = sha256_of(path)
        self._record(record(clip, len(frames), notes=self.memory_notes, caveats=noticed, sha256=made))

    def _notes(self, clip_id: str) -> Iterator[Caveat]:
        """What a method of an earlier contract says in `notes`, which `caveats` took the place of."""
        notes = getattr(self.method, "notes", None)
        return (Caveat("note", note) for note in (notes(clip_id) if callable(notes) else ()))

    def _fail(self, clip: Clip, failure: Failure) -> None:
        self._record(record(clip, None, error=failure))

    def _record(self, line: Generated) -> None:
        self.emit(replace(line, source=self.sources.get(line.clip)))


def _generation_anew(
    folder: Path, identity: Identity, device: str, method: tuple[Any, ...], dataset: DatasetSpec, sources: Sources
) -> Generation:
    cls, options, runtime = method
    made: Method = cls(options, runtime)
    return Generation(folder, identity, device, made, load_dataset(*dataset), sources, Progress())


def frames_problem(clip: Clip, frames: Any, *, shorter: bool) -> str:
    """What is wrong with the frames, "" for nothing. shorter: their method says that some are missing at the end."""
    if not isinstance(frames, np.ndarray):
        return f"a {type(frames).__name__}, expected a numpy array of frames"
    wanted = len(clip.frames)
    fewest = wanted - tolerated(wanted) if shorter else wanted
    whole = frames.ndim == 4 and frames.shape[1:] == clip.frames.shape[1:] and frames.dtype == np.uint8
    if not whole or not fewest <= len(frames) <= wanted:
        return f"frames {frames.shape} {frames.dtype}, expected {clip.frames.shape} uint8"
    return ""
