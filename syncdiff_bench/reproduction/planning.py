"""What there is and what is missing, job by job, and how long that will take: as it took before, else by a trial."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from syncdiff_bench.errors import BenchError
from syncdiff_bench.estimates.times import DONE, UNTRIED, Estimate, Stage, Times
from syncdiff_bench.estimates.workload import clip_frames
from syncdiff_bench.reproduction.launching import processes_for
from syncdiff_bench.reproduction.models import Model, Request
from syncdiff_bench.reproduction.rows import Job, Replicate, missing_models, split_to_make

MAKES = "; what makes it: "  # between the reason of a blank and the commands that end it
Trial = tuple[float | None, str]  # seconds per step, frame or probe, None where it cannot be tried; what was tried


def blanks(jobs: Sequence[Job], *, train: bool) -> dict[str, str]:
    """Name of a replicate -> why nothing will be made of it. One that is done already is not among them.

    train: whether models that are missing will be trained.
    """
    found: dict[str, str] = {}
    for job in jobs:
        todo = [one for one in job.replicates if not one.done]
        lacking = [one for one in todo if _lacks(one, train=train)]
        for one in todo:
            if reason := one.problem() or (_what_makes(lacking) if one in lacking else _other_run(one)):
                found[one.name] = reason
    return found


def reasons_of(job: Job, blank: Mapping[str, str]) -> dict[str, list[Replicate]]:
    """Each reason why replicates of a job are blank, and which those are. blank: as of `blanks`."""
    found: dict[str, list[Replicate]] = {}
    for one in job.replicates:
        if one.name in blank:
            found.setdefault(blank[one.name], []).append(one)
    return found


def _lacks(replicate: Replicate, *, train: bool) -> bool:
    """Whether it has no model and gets none."""
    missing = replicate.missing_models()
    return bool(missing) and not (train and all(model.trainable for model in missing))


def _what_makes(replicates: Sequence[Replicate]) -> str:
    """Of replicates of one job that have no model: which models those are, and the commands that make them."""
    request = replicates[0].job.request
    commands = " && ".join(model.command() for model in missing_models(replicates))
    checkpoints = request.recipe.checkpoints if request.shipped else ()
    elsewhere = checkpoints and not any(map(Path.is_dir, checkpoints))
    hint = ", and this is not the root of the repository, where models ship" if elsewhere else ""
    also = " (or --train)" if request.recipe.trains else ""
    names = ", ".join(one.missing_models()[-1].name for one in replicates)
    return f"there is no {names} yet{hint}{MAKES}{commands}{also}"


def _other_run(replicate: Replicate) -> str:
    try:
        if not replicate.missing_models() and not split_to_make(replicate.job.request, replicate.job.split):
            for draw in replicate.draws:
                replicate.check(draw)
    except BenchError as error:
        return str(error)
    return ""


def lacking(models: Iterable[Model]) -> list[str]:
    """What trainings need that is no model and is not here, with the mend: weights of their configs, face boxes."""
    from syncdiff_bench.training.loader import load_task
    from syncdiff_bench.views import require_boxes
    from syncdiff_bench.weights.catalog import installed
    from syncdiff_bench.weights.store import WeightsStore

    found: list[str] = []
    for model in models:
        try:
            plan = model.plan()
            task = load_task(plan, model.request.data_root, model.cache, "cpu")
        except BenchError:  # `costs.training` says it
            continue
        named = [name for name in plan.options.values() if isinstance(name, str) and name in installed().entries]
        looks: list[Callable[[], object]] = [partial(WeightsStore().path, name) for name in named]
        for look in (*looks, lambda task=task: require_boxes(task.data.dataset, task.boxed_clips())):  # type: ignore[misc]
            try:
                look()
            except BenchError as error:
                found.append(str(error))
    return list(dict.fromkeys(found))


def standing(job: Job, clips: int) -> tuple[str, str, str, str]:
    """What there is of a job, in words: what it is drawn with, its checkpoints, videos, scores.

    clips: of a run, 0 for not counted.
    """
    seeds = f"{'seed' if len(job.seeds) == 1 else 'seeds'} {_listed(job.seeds)}"
    drawn = f"trainings {_listed(job.trainings)}; {seeds}" if job.trainings else seeds
    states, whole = [job.state(draw) for draw in job.draws], clips * len(job.draws)
    if job.probed:
        return drawn, _checkpoints(job), "-", f"{sum(state.done for state in states)}/{len(states)} probes"
    videos, scores = sum(state.clips for state in states), sum(state.scores for state in states)
    of_videos, of_scores = (f"/{whole}", f"/{whole * job.lines}") if clips else ("", "")
    return drawn, _checkpoints(job), f"{videos}{of_videos}", f"{scores}{of_scores}"


def _checkpoints(job: Job) -> str:
    """The model, or which trainings have theirs."""
    models = [one.model for one in job.replicates if one.model is not None]
    if not models:
        return "-"
    if not job.trainings:
        return models[0].found() or f"none ({models[0].name})"
    there = [model for model in models if model.found() is not None]
    return f"{len(there)} of {len(models)}" + (f" ({_listed(model.seed for model in there)})" if there else "")


def _listed(seeds: Iterable[int | None]) -> str:
    return ", ".join(map(str, seeds))


class Costs:
    """How long what is missing takes. A trial of each kind of training, method and metric is made once."""

    def __init__(self, request: Request, times: Times, jobs: Sequence[Job], *, trials: bool) -> None:
        """jobs: what trials may be made with; of a kind whose models are missing, another one of its method.

        trials: False for estimates by what was measured before, and no others.
        """
        self.request = request
        self.times = times
        self.jobs = jobs
        self.trials = trials
        self.looks = trials or times.known()  # whether anything can be said
        self._frames: dict[tuple[str, int | None], Sequence[int]] = {}
        self._trials: dict[tuple[Stage, str], Trial] = {}

    def frames(self, job: Job) -> Sequence[int]:
        """Of every clip; () where they need not be looked at, or are not made yet.

        Raises BenchError where trials need the data, and it is not in order.
        """
        split, limit = chosen = job.split, job.limit
        if chosen not in self._frames:
            self._frames[chosen] = ()
            try:
                if self.looks and not split_to_make(self.request, split):
                    self._frames[chosen] = _frames(self.request, split, limit)
            except BenchError:
                if self.trials:
                    raise  # finished runs make a table without the data
        return self._frames[chosen]

    def of(self, job: Job, replicates: Collection[Replicate]) -> tuple[Estimate, ...]:
        """Of a probe; else of generating and of scoring. Generating costs much the same whatever the variant.

        replicates: those of the job of which something will be made.
        """
        states = [job.state(draw) for one in replicates for draw in one.draws]
        method, left, frames = job.system.method, sum(not state.done for state in states), self.frames(job)
        if not left or not frames:
            return () if left else (DONE,)
        if job.probed:
            unknown: Trial = (None, "unknown before the first of its method")
            return (self._estimate("probe", method, left, lambda: unknown),)
        total, clips = sum(frames), len(frames)
        videos = sum(clips - state.clips for state in states)
        lines = sum(clips * job.lines - state.scores for state in states)
        return (
            self._estimate(
                "generate", method, total * videos // clips, lambda: _try_generating(self._ready(job, method))
            ),
            self.scoring(job, total * lines // (clips * max(1, job.lines))),
        )

    def scoring(self, job: Job, frames: int) -> Estimate:
        return self._estimate("score", "", frames, lambda: _try_scoring(self._ready(job)))

    def training(self, model: Model) -> Estimate:
        if not self.looks:
            return UNTRIED
        if not model.trainable:
            return Estimate(None, "made by hand")
        try:
            plan = model.plan()
        except Exception as error:
            return Estimate(None, str(error))
        out = model.folder.parent
        processes = processes_for(plan.settings, self.times.device)
        left, measured = plan.settings.steps - steps_done(out), _logged_rate(out, processes)
        if measured is not None:
            return Estimate(left / measured, "measured")
        family = training_family(model, processes)
        return self._estimate("train", family, left, lambda: _try_training(model, self.times.device, processes))

    def _ready(self, job: Job, method: str = "") -> Replicate:
        """One that can be run at once. Raises BenchError."""
        for other in (job, *self.jobs):
            fits = not other.probed and method in ("", other.system.method) and self.frames(other)
            for one in other.replicates if fits else ():
                if not one.missing_models() and one.problem() is None:
                    return one
        raise BenchError(f"no {method or 'method'} is there to try")

    def _estimate(self, stage: Stage, family: str, amount: int, trial: Callable[[], Trial]) -> Estimate:
        if amount <= 0:
            return DONE
        each, source = self.times.seconds_each(stage, family), "measured"
        if each is None and not self.trials:
            return UNTRIED
        if each is None:
            if (stage, family) not in self._trials:
                try:
                    self._trials[stage, family] = trial()
                except BenchError as error:
                    self._trials[stage, family] = None, str(error)
            each, source = self._trials[stage, family]
        return Estimate(None if each is None else each * amount, source)


def _frames(request: Request, split: str, limit: int | None) -> list[int]:
    """Of every clip, by headers."""
    from syncdiff_bench.plugins import load_dataset
    from syncdiff_bench.runs.plan import choose_clips

    dataset = load_dataset(request.recipe.dataset, request.data_root)
    return clip_frames(dataset, choose_clips(dataset, split, limit))[0]


def _try_training(model: Model, device: str, processes: int) -> Trial:
    """One step."""
    from syncdiff_bench.estimates.machine import available_bytes
    from syncdiff_bench.estimates.training import probe_seconds, step_cost
    from syncdiff_bench.runtime import MEMORY_SHARE
    from syncdiff_bench.training.loader import load_task

    plan = model.plan()
    task = load_task(plan, model.request.data_root, model.cache, device)
    cost = step_cost(task, plan.settings)
    if cost is None:
        return None, "not known before it runs"
    if cost.least_bytes > MEMORY_SHARE * available_bytes(device):
        return None, f"not even one example fits into the memory of {device}"
    return probe_seconds(task, plan.settings, device, processes), "trial"


def _try_generating(replicate: Replicate) -> Trial:
    """What the method itself expects."""
    (run,) = replicate.plan.runs
    frames = clip_frames(replicate.plan.dataset, run.identity.clips)[0]
    workload = run.method.workload(frames)
    if workload is None or workload.seconds is None:
        return None, "not known before it runs"
    return workload.seconds / max(1, sum(frames)), "trial"


def _try_scoring(replicate: Replicate) -> Trial:
    """The first clip against itself, by the metrics whose weights are here: a trial fetches none."""
    from syncdiff_bench.contracts import Pair, Runtime
    from syncdiff_bench.estimates.machine import seconds_of
    from syncdiff_bench.runs.plan import load_metrics
    from syncdiff_bench.runs.sources import open_clip
    from syncdiff_bench.texts import metric_specs
    from syncdiff_bench.weights.store import WeightsStore

    class WeightsHere(WeightsStore):
        def ensure(self, name: str) -> Path:
            return self.path(name)

    plan = replicate.plan
    clip = open_clip(plan.dataset, plan.runs[0].identity.clips[0])
    pair, seconds, without = Pair(clip, clip), 0.0, []
    lent = Runtime(plan.runtime.device, WeightsHere())
    for metric in load_metrics(metric_specs(replicate.job.request.recipe.metrics), lent, plan.dataset):
        try:
            metric.prepare()
            seconds += seconds_of(partial(metric.measure, pair), plan.runtime.device)
        except BenchError:
            without.append(metric.name)
    left_out = f" without {', '.join(dict.fromkeys(without))}" if without else ""
    return seconds / max(1, len(clip.frames)), f"trial{left_out}"


def training_family(model: Model, processes: int) -> str:
    """The kind of training that takes as long per step, for `Times`."""
    return model.recipe.config if processes == 1 else f"{model.recipe.config} over {processes} processes"


def steps_done(out: Path) -> int:
    """Of a training that was broken off."""
    found = sorted((out / "checkpoints").glob("step-*"))
    return int(found[-1].name.removeprefix("step-")) if found else 0


def _logged_rate(out: Path, processes: int) -> float | None:
    """Steps per second, as a training that was broken off logged them in as many processes."""
    from syncdiff_bench.journals import read_rows

    if not (out / "log.jsonl").is_file():
        return None
    try:
        rows = list(read_rows(out / "log.jsonl"))
    except BenchError:
        return None
    rate, logged_by = None, 1
    for row in rows:
        logged_by = row.get("training", {}).get("processes", logged_by)
        if row.get("steps_per_s") and logged_by == processes:
            rate = float(row["steps_per_s"])
    return rate
