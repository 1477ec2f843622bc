"""What there is and what is missing, job by job, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from syncdiff_bench.errors import BenchError
from syncdiff_bench.estimates.reproduction import NOTHING, Costs, Estimate
from syncdiff_bench.reproduction.jobs import Job, Request, trainings
from syncdiff_bench.reproduction.models import Model
from syncdiff_bench.reproduction.units import Seed
from syncdiff_bench.reproduction.working import trainable


@dataclass(frozen=True)
class JobPlan:
    """checkpoint, videos, scores: what there is. takes: how long what is missing takes. blank: why nothing is made."""

    job: Job
    checkpoint: str
    videos: str
    scores: str
    takes: tuple[Estimate, ...]
    blank: str = ""


@dataclass(frozen=True)
class Plan:
    """models: (training, how long) of what will be trained."""

    jobs: tuple[JobPlan, ...]
    models: tuple[tuple[Model, Estimate], ...]

    @property
    def seconds(self) -> tuple[float, bool]:
        """Of all estimates together, and whether any is unknown."""
        found = self.estimates
        return sum(one.seconds or 0.0 for one in found), any(one.seconds is None for one in found)

    @property
    def estimates(self) -> list[Estimate]:
        return [one for job in self.jobs for one in job.takes] + [one for _, one in self.models]


def make_plan(request: Request, jobs: Sequence[Job], costs: Costs | None, *, train: bool) -> Plan:
    """costs: None for a plan without estimates, for which the clips have to be looked at."""
    reasons = blanks(jobs, train=train)
    workable = [job for job in jobs if job.name not in reasons]
    try:
        frames = _frames(request) if costs is not None else []
    except BenchError:
        if costs is not None and costs.trials:
            raise
        costs, frames = None, []  # finished runs make a table without the data
    models = trainings(workable)
    return Plan(
        jobs=tuple(_job_plan(job, reasons.get(job.name, ""), costs, frames) for job in jobs),
        models=tuple((model, costs.training(model) if costs is not None else Estimate(None, "")) for model in models),
    )


def blanks(jobs: Sequence[Job], *, train: bool) -> dict[str, str]:
    """Name of a job -> why nothing will be made of it. A job that is done already is not among them."""
    reasons = {}
    for job in jobs:
        if all(job.state(seed).done for seed in job.seeds):
            continue
        reason = job.problem() or _lacks(job, train=train) or _other_run(job)
        if reason:
            reasons[job.name] = reason
    return reasons


def _lacks(job: Job, *, train: bool) -> str:
    missing = job.missing_models()
    if not missing or trainable(job, train):
        return ""
    commands = " && ".join(model.command() for model in missing)
    place = job.request.place
    elsewhere = place.shipped and place.recipe.checkpoints and not any(map(Path.is_dir, place.recipe.checkpoints))
    hint = ", and this is not the root of the repository, where models ship" if elsewhere else ""
    also = " (or --train)" if place.recipe.trains else ""
    return f"there is no {missing[-1].name} yet{hint}; what makes it: {commands}{also}"


def _other_run(job: Job) -> str:
    if job.missing_models():
        return ""
    try:
        for seed in job.seeds:
            Seed(job, seed).check()
    except BenchError as error:
        return str(error)
    return ""


def _frames(request: Request) -> list[int]:
    """Of every clip, by headers."""
    from syncdiff_bench.estimates.workload import clip_frames
    from syncdiff_bench.plugins import load_dataset
    from syncdiff_bench.runs.plan import choose_clips

    recipe = request.place.recipe
    dataset = load_dataset(recipe.dataset, request.place.data_root)
    return clip_frames(dataset, choose_clips(dataset, recipe.split, request.limit))[0]


def _job_plan(job: Job, blank: str, costs: Costs | None, frames: Sequence[int]) -> JobPlan:
    states = [job.state(seed) for seed in job.seeds]
    done = sum(state.done for state in states)
    if job.kind == "probe":
        videos, scores = "-", f"{done}/{len(states)} probes"
    else:
        clips = len(frames) * len(states)
        of_clips, of_scores = (f"/{clips}", f"/{clips * job.lines}") if frames else ("", "")
        videos = f"{sum(state.clips for state in states)}{of_clips}"
        scores = f"{sum(state.scores for state in states)}{of_scores}"
    takes: tuple[Estimate, ...] = ()
    if done == len(states):
        takes = (NOTHING,)
    elif costs is not None and job.kind == "probe" and not blank:
        takes = (costs.probing(job, len(states) - done),)
    elif costs is not None and not blank:
        total, n = sum(frames), max(1, len(frames))
        missing_clips = sum(n - state.clips for state in states)
        missing_lines = sum(n * job.lines - state.scores for state in states)
        takes = (
            costs.generating(job, total * missing_clips // n),
            costs.scoring(job, total * missing_lines // (n * max(1, job.lines))),
        )
    return JobPlan(job, _checkpoint(job), videos, scores, takes, blank)


def _checkpoint(job: Job) -> str:
    if job.model is None:
        return "-"
    return job.model.found() or f"none ({job.model.name})"
