"""From the rows of the tables to jobs: one system on the recipe's dataset, its model, and one run (or probe) per seed.

OUT/<job>/seed-S/      a run directory (`runs.directory`), or the record of a probe
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from syncdiff_bench.contracts import Metric, Runtime
from syncdiff_bench.errors import BenchError, UsageError
from syncdiff_bench.registry import load_class
from syncdiff_bench.report.paper import PaperTable, System
from syncdiff_bench.reproduction.models import Model, Request, with_model
from syncdiff_bench.reproduction.recipe import MethodRecipe, VariantRecipe
from syncdiff_bench.runs.directory import check_identity, load_run, read_manifest
from syncdiff_bench.runs.layout import MANIFEST
from syncdiff_bench.runs.plan import Plan, RunPlan, Selection, load_metrics, make_plan
from syncdiff_bench.texts import method_options, metric_specs

BOUND = "gt"  # what marks the cells that beat ground truth, in tables without such a row as well
PROBED = "variance"  # the metric of tables that a probe fills


@dataclass(frozen=True)
class SeedState:
    """How far one seed is: clips that have a video (or failed), and lines of scores; done: nothing is missing."""

    clips: int = 0
    scores: int = 0
    done: bool = False


@dataclass(frozen=True)
class Job:
    """What one or several rows need.

    probed: latents are probed, instead of videos generated and scored.
    rows: for people ("Table 2 AVH").
    seeds: one run each.
    ablation: it is run with the model that the recipe's ablation names.
    """

    request: Request
    system: System
    probed: bool
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    ablation: bool = False

    @property
    def name(self) -> str:
        """Of its folder."""
        words = [self.system.method, *(str(value) for _, value in self.system.options)]
        return "-".join([*words, *["ablation"] * self.ablation, *["probe"] * self.probed])

    @property
    def path(self) -> Path:
        return self.request.out / self.name

    def run_path(self, seed: int) -> Path:
        return self.path / f"seed-{seed}"

    @property
    def recipe(self) -> MethodRecipe:
        recipe, method = self.request.recipe, self.system.method
        missing = f"the recipe of {recipe.dataset} does not make it"
        return recipe.methods.get(method, MethodRecipe(unavailable=missing))

    @cached_property
    def model(self) -> Model | None:
        """The model that its method is run with, None where it finds its own weights."""
        if not self.recipe.model:
            return None
        recipe = self.request.recipe
        name = recipe.ablation.models[self.system.method] if self.ablation else self.recipe.model
        variant = str(dict(self.system.options).get("variant", ""))
        return Model(self.request, recipe.models[name], variant)

    def missing_models(self) -> tuple[Model, ...]:
        return () if self.model is None else self.model.missing()

    def belongs_to(self, table: PaperTable) -> bool:
        """Whether it may fill a row of the table: it measures what its columns do, with the models compared there."""
        probed = any(column.metric == PROBED for column in table.columns)
        return self.probed == probed and self.ablation == self.request.recipe.ablates(self.system.method, table.number)

    def settings(self) -> tuple[str, ...]:
        """KEY=VALUE options of its method. Raises MissingInputError."""
        model = self.model
        given = [f"{key}={value}" for key, value in self.system.options]
        if model is not None:
            given.append(f"{self.recipe.takes}={model.found() or model.folder}")
        extras = model.extras if model is not None else VariantRecipe()
        return (*given, *self.request.filled((*self.recipe.settings, *extras.settings)))

    def problem(self) -> str | None:
        """Why nothing can be made of it here and now, in words; a missing model that can be trained is none."""
        if self.recipe.unavailable:
            return self.recipe.unavailable
        try:
            self.settings()
            if self.probed and self.request.recipe.probe.poses:
                self.request.filled([f"{{{self.request.recipe.probe.poses}}}"])
            if not self.missing_models():
                _ = self.plan
        except BenchError as error:
            return str(error)
        return None

    @cached_property
    def plan(self) -> Plan:
        """Of its first seed. Raises BenchError where the method, its weights or the data are not in order."""
        recipe = self.request.recipe
        selection = Selection(
            methods=(self.system.method,),
            dataset=recipe.dataset,
            data_root=self.request.data_root,
            split=recipe.split,
            metrics=metric_specs(recipe.metrics),
            limit=self.request.limit,
            seed=self.seeds[0],
            out=self.path,
            device=self.request.device,
            options=method_options((self.system.method,), self.settings()),
            encoding=recipe.encoding,
        )
        return make_plan(selection, with_metrics=not self.probed, model_of=with_model)

    def run_plan(self, seed: int) -> RunPlan:
        """Raises as `plan`."""
        (first,) = self.plan.runs
        return replace(first, path=self.run_path(seed), identity=replace(first.identity, seed=seed))

    def forget(self) -> None:
        """Let go of the method and its weights."""
        self.__dict__.pop("plan", None)

    def check(self, seed: int) -> None:
        """Raises UsageError where the folder of a seed holds another run: of other weights, clips or options."""
        path, identity = self.run_path(seed), self.run_plan(seed).identity
        if not self.probed:
            check_identity(path, identity)
            return
        weights = [one.to_json() for one in identity.weights]
        if (path / MANIFEST).is_file() and read_manifest(path).get("method", {}).get("weights") != weights:
            raise UsageError(f"{path} was probed with other weights; choose another --out, or delete it")

    def state(self, seed: int) -> SeedState:
        """What is on disk, whatever made it. Raises UsageError where the folder is damaged."""
        path = self.run_path(seed)
        if not (path / MANIFEST).is_file():
            return SeedState()
        if self.probed:
            return SeedState(done=bool(read_manifest(path).get("finished")))
        run = load_run(path)
        wanted = {(metric.name, metric.protocol) for metric in self._metrics}
        scored = sum((score.metric, score.protocol) in wanted for score in run.scores)
        clips = len(run.identity.clips)
        made = sum(clip in run.generated for clip in run.identity.clips)
        return SeedState(made, scored, run.finished and made == clips and scored >= clips * len(wanted))

    def finished_seeds(self) -> list[int]:
        return [seed for seed in self.seeds if self.state(seed).done]

    @property
    def done(self) -> bool:
        return len(self.finished_seeds()) == len(self.seeds)

    @cached_property
    def _metrics(self) -> tuple[Metric[Any], ...]:
        recipe = self.request.recipe
        return load_metrics(metric_specs(recipe.metrics), Runtime(), load_class("dataset", recipe.dataset))

    @property
    def lines(self) -> int:
        """Columns of scores, a line per clip each."""
        return 0 if self.probed else len(self._metrics)


def jobs_of(request: Request) -> tuple[Job, ...]:
    """The jobs behind the rows of the tables, each system once (and once more with the models of an ablation), in
    printed order; and ground truth, their bound.
    """
    recipe = request.recipe
    rows: dict[tuple[System, bool, bool], list[str]] = {}
    for table in request.tables:
        probed = all(column.metric == PROBED for column in table.columns)
        if not probed:
            rows.setdefault((System(BOUND), False, False), [])
        for row in table.rows:
            key = row.system, probed, recipe.ablates(row.system.method, table.number)
            rows.setdefault(key, []).append(f"Table {table.number} {row.label}")
    seeds = {name: request.seeds[:1] for name, method in recipe.methods.items() if method.one_seed}
    return tuple(
        Job(request, system, probed, tuple(names), seeds.get(system.method, request.seeds), ablation)
        for (system, probed, ablation), names in rows.items()
    )


def trainings(jobs: Iterable[Job]) -> tuple[Model, ...]:
    """The models that are missing, each once, in the order in which they can be made."""
    return tuple({model.name: model for job in jobs for model in job.missing_models()}.values())
