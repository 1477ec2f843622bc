"""Making what is missing, step by step, alone or together with other processes on the same folder.

A step is the training of one model with one seed, or one run of a job; it is done when its result is on disk. First
comes the first training of every job with its runs, then the second: whatever is there early compares all rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from filelock import SoftFileLease

from syncdiff_bench.errors import BenchError
from syncdiff_bench.estimates.times import Times
from syncdiff_bench.reproduction.launching import launch, processes_for
from syncdiff_bench.reproduction.leases import Leases, require
from syncdiff_bench.reproduction.models import Model
from syncdiff_bench.reproduction.planning import steps_done, training_family
from syncdiff_bench.reproduction.rows import Replicate, in_rounds, split_to_make
from syncdiff_bench.runs.draws import Draw

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Dataset
    from syncdiff_bench.progress import Progress

POLL = 5.0  # seconds between two looks at what others do


@dataclass(frozen=True)
class Step:
    """A piece of work for one process.

    key: of its lease.
    needs: keys of steps that have to be done before.
    done: looks at the disk.
    work: does what is missing; raises BenchError where that cannot be, and whatever a plugin raises.
    """

    key: str
    needs: Sequence[str]
    done: Callable[[], bool]
    work: Callable[[SoftFileLease], None]


def steps_of(replicates: Sequence[Replicate], leases: Leases, times: Times, progress: Progress) -> list[Step]:
    """What there is to do, in an order in which it can be done: each run after the training of its model.

    replicates: of which something can be made (`planning.blanks`); there is nothing to do for those that are done.
    """
    steps: dict[str, Step] = {}
    for one in in_rounds(one for one in replicates if not one.done):
        trainings = [_training(model, leases, times) for model in one.missing_models()]
        runs = [_run(one, draw, [step.key for step in trainings], leases, times, progress) for draw in one.draws]
        steps |= {step.key: step for step in (*trainings, *runs) if step.key not in steps}
    return list(steps.values())


def _training(model: Model, leases: Leases, times: Times) -> Step:
    needs = [f"train-{needed.name}" for needed in model.needs.values() if needed.found() is None]
    work = partial(train_model, model, leases, times)
    return Step(f"train-{model.name}", needs, lambda: model.found() is not None, work)


def _run(
    replicate: Replicate, draw: Draw, needs: Sequence[str], leases: Leases, times: Times, progress: Progress
) -> Step:
    job, work = replicate.job, partial(make_run, replicate, draw, leases, times, progress)
    return Step(job.step(draw), needs, lambda: job.state(draw).done, work)


def make(
    steps: Sequence[Step], leases: Leases, say: Callable[[str], None] = lambda _text: None, *, poll: float = POLL
) -> tuple[dict[str, str], dict[str, str]]:
    """Do every step that no other process does; (failed: key -> why, elsewhere: key -> who is still at it).

    A step that fails costs those that need it, and no other, whatever it raises; Ctrl-C ends the whole. Waits for
    other processes only where a step of its own needs theirs, and where it cannot see whether they live.
    say: told what begins and what fails.
    """
    leases.clear()
    failed: dict[str, str] = {}
    moved_at = time.monotonic()
    while todo := [step for step in steps if step.key not in failed and not _done(step, failed)]:
        open_keys = {step.key for step in todo}
        moved = False
        for step in todo:
            broken = [key for key in step.needs if key in failed]
            if broken:
                failed[step.key] = f"needs {broken[0]}, which failed"
                moved = True
            elif not open_keys.intersection(step.needs) and _attempt(step, leases, failed, say):
                moved = True
                break  # from the first on again: what needs it comes next, and so does what a dead process left
        if moved:
            moved_at = time.monotonic()
            continue
        others = [step.key for step in todo if not open_keys.intersection(step.needs)]
        unsure = any(map(leases.far, others)) and time.monotonic() - moved_at < leases.stale + 2 * poll
        if len(others) == len(todo) and not unsure:
            return failed, {key: leases.holder(key) for key in others}
        time.sleep(poll)
    return failed, {}


def _done(step: Step, failed: dict[str, str]) -> bool:
    try:
        return step.done()
    except Exception as error:
        failed[step.key] = _reason(error)
        return True


def _reason(error: Exception) -> str:
    """One line; what nobody raised on purpose is named by its type."""
    text = " ".join(str(error).split())
    if isinstance(error, BenchError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _attempt(step: Step, leases: Leases, failed: dict[str, str], say: Callable[[str], None]) -> bool:
    """False where another process has it."""
    with leases.taken(step.key) as lease:
        if lease is None:
            return False
        if _done(step, failed):  # another process finished it in between
            return True
        say(step.key)
        try:
            step.work(lease)
        except Exception as error:  # whatever a plugin, a library or the device raises is this step's failure alone
            failed[step.key] = _reason(error)
            say(f"{step.key} failed: {failed[step.key]}")
        else:
            if not _done(step, failed):
                failed.setdefault(step.key, "its work ended without a result")
    return True


# ------------------------------------------------------------------------------------------------ steps


def train_model(model: Model, leases: Leases, times: Times, lease: SoftFileLease) -> None:
    """Its data drawn, its caches filled, trained to the end, on all GPUs that can share
    a step. Each part goes on where it was broken off."""
    from syncdiff_bench.estimates.training import fitting_batch
    from syncdiff_bench.plugins import load_dataset
    from syncdiff_bench.training.loader import load_task
    from syncdiff_bench.training.loop import train
    from syncdiff_bench.views import require_boxes

    plan, root = model.plan(), model.request.data_root
    dataset = load_dataset(plan.dataset, root)
    for key, default in (("split", "train"), ("validation_split", "val")):
        _make_split(dataset, str(plan.data.get(key, default)), leases)
    task = load_task(plan, root, model.cache, times.device)
    require_boxes(task.data.dataset, task.boxed_clips())
    for cache in task.caches():
        with leases.taken(f"cache-{cache.folder.parent.name}-{cache.folder.name}", wait=True):
            for _ in cache.fill():
                pass
    require(lease)
    out, processes = model.folder.parent, processes_for(plan.settings, times.device)
    family = training_family(model, processes)
    with times.timed(f"train-{model.name}", "train", family, plan.settings.steps - steps_done(out)):
        if processes > 1:
            launch([*model.arguments(model.overrides()), "--device", times.device], processes, out)
        else:
            train(task, plan.settings, out, cpu=times.device == "cpu", fitting_batch=fitting_batch)


def _make_split(dataset: Dataset, split: str, leases: Leases) -> None:
    """A split that the dataset can make itself; the others are as they are."""
    if split in dataset.splits():
        return
    with leases.taken(f"data-{dataset.name}-{split}", wait=True):
        if split not in dataset.splits():
            for _ in dataset.prepare(split, 2):
                pass


def make_run(
    replicate: Replicate, draw: Draw, leases: Leases, times: Times, progress: Progress, lease: SoftFileLease
) -> None:
    """One run of a job: videos, then scores; or its probe. Its split is made first where it is not there."""
    from syncdiff_bench import pipeline
    from syncdiff_bench.estimates.workload import clip_frames
    from syncdiff_bench.plugins import load_dataset
    from syncdiff_bench.reproduction.probing import probe_run
    from syncdiff_bench.runs.generating import clear_memory

    job = replicate.job
    key, method, request = job.step(draw), job.system.method, job.request
    try:
        if split_to_make(request, job.split):
            _make_split(load_dataset(request.recipe.dataset, request.data_root), job.split, leases)
        replicate.check(draw)
        if job.probed:
            with times.timed(key, "probe", method, 1):
                probe_run(replicate, draw)
            return
        plan, run, before = replicate.plan, replicate.run_plan(draw), job.state(draw)
        n = len(run.identity.clips)
        frames = sum(clip_frames(plan.dataset, run.identity.clips)[0])
        with times.timed(key, "generate", method, frames * (n - before.clips) // n):
            pipeline.generate_run(plan, run, progress=progress)
        require(lease)
        lines = n * job.lines
        with times.timed(key, "score", "", frames * (lines - before.scores) // lines):
            pipeline.score_run(plan, run, progress=progress)
    finally:
        replicate.forget()
        clear_memory()
