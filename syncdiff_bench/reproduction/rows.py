"""From the rows of the tables to jobs: one system, and a run (or probe) for each of its draws.

OUT/<job>/seed-S/                 a run directory (`runs.directory`), or the record of a probe
OUT/<job>/training-K/seed-S/      the same, of a job whose model is trained with several seeds

What is finished is told by run.json, generation.jsonl and scores.jsonl alone: neither videos nor models need be there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from syncdiff_bench.contracts import Dataset, Metric, Runtime
from syncdiff_bench.errors import BenchError, UsageError
from syncdiff_bench.plugins import load_dataset
from syncdiff_bench.registry import load_class
from syncdiff_bench.report.paper import PaperTable, System, tables
from syncdiff_bench.reproduction.models import Model, Request, with_model
from syncdiff_bench.reproduction.recipe import MethodRecipe, VariantRecipe
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.runs.draws import Draw
from syncdiff_bench.runs.layout import MANIFEST
from syncdiff_bench.runs.plan import Plan, RunPlan, Selection, load_metrics, make_plan
from syncdiff_bench.runs.recorded import DamagedManifest, check_identity, read_manifest
from syncdiff_bench.runs.schema import ProbeRecord
from syncdiff_bench.texts import method_options, metric_specs

BOUND = "gt"  # what marks the cells that beat ground truth, in tables without such a row as well
PROBED = "variance"  # the metric of tables that a probe fills


@dataclass(frozen=True)
class RunState:
    """How far one run is: clips that have a video (or failed), and lines of scores; done: nothing is missing."""

    clips: int = 0
    scores: int = 0
    done: bool = False


@dataclass(frozen=True)
class Job:
    """What one or several rows need: one run for each of its `draws`.

    probed: latents are probed, instead of videos generated and scored.
    rows: for people ("Table 2 AVH").
    seeds: of the sampling noise.
    trainings: seeds of training, a model each; () for one model, or none.
    ablation: it is run as the recipe's ablation says: with its models, on its clips.
    limit: the first so many clips only; None for all.
    """

    request: Request
    system: System
    probed: bool
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    trainings: tuple[int, ...] = ()
    ablation: bool = False
    limit: int | None = None

    @property
    def name(self) -> str:
        """Of its folder."""
        words = [self.system.method, *(str(value) for _, value in self.system.options)]
        return "-".join([*words, *["ablation"] * self.ablation, *["probe"] * self.probed])

    @property
    def path(self) -> Path:
        return self.request.out / self.name

    @property
    def recipe(self) -> MethodRecipe:
        recipe, method = self.request.recipe, self.system.method
        missing = f"the recipe of {recipe.dataset} does not make it"
        return recipe.methods.get(method, MethodRecipe(unavailable=missing))

    @property
    def split(self) -> str:
        recipe = self.request.recipe
        elsewhere = self.ablation and not self.probed
        return (elsewhere and recipe.ablation.split) or recipe.split

    @cached_property
    def replicates(self) -> tuple[Replicate, ...]:
        """One for each training."""
        return tuple(Replicate(self, training) for training in self.trainings or (None,))

    @property
    def draws(self) -> tuple[Draw, ...]:
        return tuple(draw for replicate in self.replicates for draw in replicate.draws)

    def belongs_to(self, table: PaperTable) -> bool:
        """Whether it may fill a row of the table: it measures what its columns do, with the models compared there."""
        probed = any(column.metric == PROBED for column in table.columns)
        return self.probed == probed and self.ablation == self.request.recipe.ablates(self.system.method, table.number)

    def run_path(self, draw: Draw) -> Path:
        return self.path / draw.folder

    def step(self, draw: Draw) -> str:
        """What a run is called in leases, times and messages: "syncdiff-rnd-ablation.training-1.seed-0"."""
        return ".".join((self.name, *draw.folder.parts))

    def state(self, draw: Draw) -> RunState:
        """What is on disk, whatever made it. Raises UsageError where the folder is damaged."""
        path = self.run_path(draw)
        if not (path / MANIFEST).is_file():
            return RunState()
        if self.probed:
            return RunState(done=bool(read_manifest(path, kind=ProbeRecord).get("finished")))
        try:
            run = load_run(path)
        except DamagedManifest:  # opening it for this job rebuilds it, or says why not
            return RunState()
        wanted = {(metric.name, metric.protocol) for metric in self._metrics}
        scored = sum((score.metric, score.protocol) in wanted for score in run.scores)
        clips = len(run.identity.clips)
        made = sum(clip in run.generated for clip in run.identity.clips)
        return RunState(made, scored, run.finished and made == clips and scored >= clips * len(wanted))

    def finished(self) -> dict[Draw, Path]:
        """The draws whose run is finished, in the order of the recipe, and its folder. Raises as `state`."""
        return {draw: self.run_path(draw) for draw in self.draws if self.state(draw).done}

    @cached_property
    def _metrics(self) -> tuple[Metric[Any], ...]:
        recipe = self.request.recipe
        return load_metrics(metric_specs(recipe.metrics), Runtime(), load_class("dataset", recipe.dataset))

    @property
    def lines(self) -> int:
        """Columns of scores, a line per clip each."""
        return 0 if self.probed else len(self._metrics)


@dataclass(frozen=True)
class Replicate:
    """A job with one model: that of one training, sampled with every seed.

    training: its seed; None where the job does not vary it.
    """

    job: Job
    training: int | None

    @property
    def name(self) -> str:
        """For people and as a key: "syncdiff-rnd-ablation, training 1"."""
        return self.job.name if self.training is None else f"{self.job.name}, training {self.training}"

    @property
    def draws(self) -> tuple[Draw, ...]:
        return tuple(Draw(self.training, seed) for seed in self.job.seeds)

    @property
    def done(self) -> bool:
        return all(self.job.state(draw).done for draw in self.draws)

    @cached_property
    def model(self) -> Model | None:
        """The model that its method is run with, None where it finds its own weights."""
        job, recipe = self.job, self.job.request.recipe
        if not job.recipe.model:
            return None
        swapped = recipe.ablation.models if job.ablation else {}
        name = swapped.get(job.system.method, job.recipe.model)
        variant = str(dict(job.system.options).get("variant", ""))
        another = recipe.models[name].variants.get(variant, VariantRecipe()).model
        if another:
            return Model(job.request, recipe.models[another], seed=self.training)
        return Model(job.request, recipe.models[name], variant, self.training)

    def missing_models(self) -> tuple[Model, ...]:
        return () if self.model is None else self.model.missing()

    def settings(self) -> tuple[str, ...]:
        """KEY=VALUE options of its method. Raises MissingInputError."""
        job, model = self.job, self.model
        given = [f"{key}={value}" for key, value in job.system.options]
        if model is not None:
            given.append(f"{job.recipe.takes}={model.found() or model.folder}")
        extras = model.extras if model is not None else VariantRecipe()
        return (*given, *job.request.filled((*job.recipe.settings, *extras.settings)))

    def problem(self) -> str | None:
        """Why nothing can be made of it here and now, in words; a model that can be trained and a split that can
        be made are none.
        """
        job, probe = self.job, self.job.request.recipe.probe
        if job.recipe.unavailable:
            return job.recipe.unavailable
        try:
            self.settings()
            if job.probed and probe.poses:
                job.request.filled([f"{{{probe.poses}}}"])
            if not self.missing_models() and not split_to_make(job.request, job.split):
                _ = self.plan
        except BenchError as error:
            return str(error)
        return None

    @cached_property
    def plan(self) -> Plan:
        """Of its first seed. Raises BenchError where the method, its weights or the data are not in order."""
        job, recipe = self.job, self.job.request.recipe
        selection = Selection(
            methods=(job.system.method,),
            dataset=recipe.dataset,
            data_root=job.request.data_root,
            split=job.split,
            metrics=metric_specs(recipe.metrics),
            limit=job.limit,
            seed=job.seeds[0],
            out=job.path,
            device=job.request.device,
            options=method_options((job.system.method,), self.settings()),
            encoding=recipe.encoding,
        )
        return make_plan(selection, with_metrics=not job.probed, model_of=with_model)

    def run_plan(self, draw: Draw) -> RunPlan:
        """Raises as `plan`."""
        (first,) = self.plan.runs
        return replace(first, path=self.job.run_path(draw), identity=replace(first.identity, seed=draw.seed))

    def forget(self) -> None:
        """Let go of the method and its weights."""
        self.__dict__.pop("plan", None)

    def check(self, draw: Draw) -> None:
        """Raises UsageError where the folder of a draw holds another run: of other weights, clips or options."""
        path, identity = self.job.run_path(draw), self.run_plan(draw).identity
        if not self.job.probed:
            check_identity(path, identity)
            return
        weights = [one.to_json() for one in identity.weights]
        if (path / MANIFEST).is_file() and read_manifest(path, kind=ProbeRecord).get("method", {}).get(
            "weights"
        ) != weights:
            raise UsageError(f"{path} was probed with other weights; choose another --out, or delete it")


def split_to_make(request: Request, split: str) -> bool:
    """Whether a split is not there yet and its dataset makes its own."""
    cls = load_class("dataset", request.recipe.dataset)
    if cls.prepare is Dataset.prepare or not (cls.embedded or request.data_root):
        return False
    return split not in load_dataset(request.recipe.dataset, request.data_root).splits()


def jobs_of(request: Request) -> tuple[Job, ...]:
    """The jobs behind the rows of the tables, each system once (and once more as an ablation has it), in printed
    order; and ground truth over the same clips, their bound.
    """
    recipe, ablation = request.recipe, request.recipe.ablation
    rows: dict[tuple[System, bool, bool], list[str]] = {}
    for table in request.tables:
        probed = all(column.metric == PROBED for column in table.columns)
        if not probed:
            rows.setdefault((System(BOUND), False, recipe.ablates(BOUND, table.number)), [])
        for row in table.rows:
            key = row.system, probed, recipe.ablates(row.system.method, table.number)
            rows.setdefault(key, []).append(f"{table.heading} {row.label}")
    jobs = []
    for (system, probed, ablated), names in rows.items():
        seeds = request.seeds or (ablated and ablation.seeds) or recipe.seeds
        if system.method in recipe.methods and recipe.methods[system.method].one_seed:
            seeds = seeds[:1]
        trainings = ablation.trainings if ablated and system.method in ablation.models else ()
        limit = _limit(request, system) if ablated else request.limit
        jobs.append(Job(request, system, probed, tuple(names), seeds, trainings, ablated, limit))
    return tuple(jobs)


def _limit(request: Request, system: System) -> int | None:
    """How many clips a row of an ablation is measured on, in whichever table it is asked for; None for all."""
    limits = {
        request.recipe.ablation.clips.get(one.name) for one in tables() for row in one.rows if row.system == system
    }
    few = [n for n in (request.limit, limits.pop() if len(limits) == 1 else None) if n is not None]
    return min(few, default=None)


def in_rounds(replicates: Iterable[Replicate]) -> list[Replicate]:
    """In the order in which they are made: the first training of every job, then the second."""
    return sorted(replicates, key=lambda one: one.job.replicates.index(one))


def missing_models(replicates: Iterable[Replicate]) -> tuple[Model, ...]:
    """The models that are missing, each once, in the order in which they can be made."""
    return tuple({model.name: model for one in replicates for model in one.missing_models()}.values())
