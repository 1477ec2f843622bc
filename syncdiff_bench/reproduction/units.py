"""Units of work: what one process does at a time, under a claim. A unit is done when its result is on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from syncdiff_bench.errors import UsageError
from syncdiff_bench.estimates.reproduction import Costs, frames_of, steps_done
from syncdiff_bench.reproduction.claims import Claim, Claims
from syncdiff_bench.reproduction.jobs import Job
from syncdiff_bench.reproduction.models import Model

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Dataset
    from syncdiff_bench.probing import Group
    from syncdiff_bench.runs.progress import Progress


@dataclass(frozen=True)
class Workshop:
    """What units work with. device: a torch device string."""

    claims: Claims
    costs: Costs
    progress: Progress
    device: str


class Unit(ABC):
    """key: of its claim. needs: keys of units that have to be done before."""

    key: str
    needs: Sequence[str]

    @abstractmethod
    def done(self) -> bool:
        """Looks at the disk."""

    @abstractmethod
    def work(self, claim: Claim, shop: Workshop) -> None:
        """Do what is missing. Raises BenchError where that cannot be; a plugin may raise anything."""


class Training(Unit):
    """One model: its data drawn, its caches filled, trained to the end. Each part goes on where it was broken off."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.key = f"train-{model.name}"
        self.needs = [f"train-{needed.name}" for needed in model.needs.values() if needed.found() is None]

    def done(self) -> bool:
        return self.model.found() is not None

    def work(self, claim: Claim, shop: Workshop) -> None:
        from syncdiff_bench.estimates.training import fitting_batch
        from syncdiff_bench.plugins import load_dataset
        from syncdiff_bench.training.loader import load_task
        from syncdiff_bench.training.loop import train

        model, plan = self.model, self.model.plan()
        root = model.place.data_root
        dataset = load_dataset(str(plan.data.get("dataset", "pocket")), root)
        for key, default in (("split", "train"), ("validation_split", "val")):
            _draw(dataset, str(plan.data.get(key, default)), shop.claims)
        task = load_task(plan, root, model.cache, shop.device)
        for cache in task.caches():
            with shop.claims.held(f"cache-{cache.folder.parent.name}-{cache.folder.name}"):
                for _ in cache.fill():
                    pass
        claim.require()
        out = model.folder.parent
        with shop.costs.timed(self.key, "train", model.recipe.config, plan.settings.steps - steps_done(out)):
            train(task, plan.settings, out, cpu=shop.device == "cpu", fitting_batch=fitting_batch)


def _draw(dataset: Dataset, split: str, claims: Claims) -> None:
    """A split that the dataset can make itself; the others are as they are."""
    if split in dataset.splits():
        return
    with claims.held(f"data-{dataset.name}-{split}"):
        if split not in dataset.splits():
            for _ in dataset.prepare(split, 2):
                pass


class Seed(Unit):
    """One run of a job: videos, then scores."""

    def __init__(self, job: Job, seed: int) -> None:
        self.job = job
        self.seed = seed
        self.key = f"{job.name}.seed-{seed}"
        self.needs = [f"train-{model.name}" for model in job.missing_models()]

    def done(self) -> bool:
        return self.job.state(self.seed).done

    def check(self) -> None:
        """Raises UsageError where its folder holds another run: of other weights, clips or options."""
        from syncdiff_bench.runs.directory import MANIFEST, check_identity, read_manifest

        path, identity = self.job.run_path(self.seed), self.job.run_plan(self.seed).identity
        if self.job.kind == "run":
            check_identity(path, identity)
            return
        weights = [one.to_json() for one in identity.weights]
        if (path / MANIFEST).is_file() and read_manifest(path).get("method", {}).get("weights") != weights:
            raise UsageError(f"{path} was probed with other weights; choose another --out, or delete it")

    def work(self, claim: Claim, shop: Workshop) -> None:
        from syncdiff_bench import pipeline
        from syncdiff_bench.runs.generating import clear_memory

        job = self.job
        try:
            self.check()
            if job.kind == "probe":
                with shop.costs.timed(self.key, "probe", job.system.method, 1):
                    probe(job, self.seed)
                return
            plan, run, before = job.plan(), job.run_plan(self.seed), job.state(self.seed)
            frames, n = sum(frames_of(job)), len(run.identity.clips)
            with shop.costs.timed(self.key, "generate", job.system.method, frames * (n - before.clips) // n):
                pipeline.generate_run(plan, run, progress=shop.progress)
            claim.require()
            lines = n * job.lines
            with shop.costs.timed(self.key, "score", "", frames * (lines - before.scores) // lines):
                pipeline.score_run(plan, run, progress=shop.progress)
        finally:
            if self.seed == job.seeds[-1]:
                job.forget()
                clear_memory()


def probe(job: Job, seed: int) -> None:
    """The variance of latents, as `syncdiff-bench paper probe` measures it, over all speakers where phones are timed.

    Raises UsageError for a method without latents, and where no speaker says a phone twice.
    """
    from syncdiff_bench.probing import ProbedMethod, measure, write_record

    plan, recipe = job.plan(), job.request.place.recipe.probe
    method = plan.runs[0].method
    if not isinstance(method, ProbedMethod):
        raise UsageError(f"method {method.name} has no latents to probe")
    groups = probed_groups(job, plan.dataset, plan.runs[0].identity.clips)
    spreads = measure(method, groups, layer=recipe.layer, step=None, seed=seed)
    settings = {"layer": recipe.layer, "step": None, "seed": seed}
    write_record(job.run_path(seed), method, plan.dataset, job.request.place.recipe.split, groups, spreads, settings)


def probed_groups(job: Job, dataset: Dataset, clip_ids: Sequence[str]) -> list[Group]:
    """The same for every model and seed, so that their variances compare."""
    from syncdiff_bench.probing import Group, draw_clips, find_poses, ident_cases, pose_cases, read_poses

    place, groups = job.request.place, []
    recipe = place.recipe.probe
    for clip_id in draw_clips(clip_ids, recipe.clips, 0):
        clip = dataset.clip(clip_id)
        groups.append(Group("ident", clip_id, ident_cases(clip), clip.speaker or ""))
    if recipe.poses:
        poses = read_poses(Path(place.inputs[recipe.poses]), dataset)
        groups.append(Group("pose", recipe.poses, pose_cases(poses), poses[0].clip.speaker or ""))
    by_speaker: dict[str, list[str]] = {}
    for clip_id in clip_ids:
        by_speaker.setdefault(dataset.clip(clip_id).speaker or clip_id, []).append(clip_id)
    for speaker, ids in by_speaker.items():
        for phone in recipe.phones:
            try:
                poses = find_poses(dataset, ids, phone, recipe.videos)
            except UsageError:
                continue  # this speaker does not say it twice
            groups.append(Group("pose", f"{speaker} {phone}", pose_cases(poses), speaker))
    return groups
