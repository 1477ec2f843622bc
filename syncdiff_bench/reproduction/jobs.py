"""A job: one system of the tables on the recipe's dataset, which is one run (or probe) per seed.

OUT/<job>/seed-S/      a run directory (`runs.directory`), or the record of a probe
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from syncdiff_bench.errors import BenchError
from syncdiff_bench.report.paper import PaperTable, System
from syncdiff_bench.reproduction.models import MissingInputError, Model, Place
from syncdiff_bench.reproduction.recipe import MethodRecipe, VariantRecipe

if TYPE_CHECKING:
    from syncdiff_bench.runs.plan import Plan, RunPlan

BOUND = "gt"  # what marks the cells that beat ground truth, in tables without such a row as well
PROBED = "variance"  # the metric of tables that `probe` fills

Kind = Literal["run", "probe"]


@dataclass(frozen=True)
class Request:
    """What a reproduction is asked for. out: folder of runs, claims and tables. limit: the first so many clips only."""

    place: Place
    tables: tuple[PaperTable, ...]
    out: Path
    seeds: tuple[int, ...]
    limit: int | None = None
    device: str = "auto"


@dataclass(frozen=True)
class SeedState:
    """How far one seed is: clips that have a video (or failed), and lines of scores.csv; done: nothing is missing."""

    clips: int = 0
    scores: int = 0
    done: bool = False


@dataclass(frozen=True)
class Job:
    """name: of its folder. rows: for people ("Table 2 AVH"). seeds: one run each.

    ablation: it is run with the model that the recipe's ablation names.
    """

    request: Request
    system: System
    kind: Kind
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    ablation: bool = False
    _plans: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        words = [self.system.method, *(str(value) for _, value in self.system.options)]
        words += ["ablation"] if self.ablation else []
        return "-".join([*words, "probe"] if self.kind == "probe" else words)

    @property
    def path(self) -> Path:
        return self.request.out / self.name

    def run_path(self, seed: int) -> Path:
        return self.path / f"seed-{seed}"

    @property
    def variant(self) -> str:
        return str(dict(self.system.options).get("variant", ""))

    @property
    def recipe(self) -> MethodRecipe:
        missing = f"the recipe of {self.request.place.recipe.dataset} does not make it"
        return self.request.place.recipe.methods.get(
            self.system.method, MethodRecipe(self.system.method, unavailable=missing)
        )

    @cached_property
    def model(self) -> Model | None:
        """The model that its method is run with, None where its weights are its own affair."""
        if not self.recipe.model:
            return None
        place = self.request.place
        name = place.recipe.ablation.models[self.system.method] if self.ablation else self.recipe.model
        return Model(place, place.recipe.models[name], self.variant)

    def belongs_to(self, table: PaperTable) -> bool:
        """Whether it may fill a row of the table: it measures what its columns do, with the models compared there."""
        probed = any(column.metric == PROBED for column in table.columns)
        ablates = self.request.place.recipe.ablates(self.system.method, table.number)
        return (self.kind == "probe") == probed and self.ablation == ablates

    def settings(self) -> tuple[str, ...]:
        """KEY=VALUE options of its method. Raises MissingInputError."""
        model, place = self.model, self.request.place
        given = [f"{key}={value}" for key, value in self.system.options]
        if model is not None:
            given.append(f"{self.recipe.takes}={model.found() or model.folder}")
        extras = model.extras if model is not None else VariantRecipe()
        return (*given, *place.filled((*self.recipe.settings, *extras.settings)))

    def problem(self) -> str | None:
        """Why nothing can be made of it here and now, in words; a missing model that can be trained is none."""
        if self.recipe.unavailable:
            return self.recipe.unavailable
        try:
            self.settings()
            if self.kind == "probe":
                place = self.request.place
                place.filled([f"{{{place.recipe.probe.poses}}}"] if place.recipe.probe.poses else [])
        except MissingInputError as error:
            return str(error)
        if self.missing_models():
            return None
        try:
            self.plan()
        except BenchError as error:
            return str(error)
        return None

    def missing_models(self) -> tuple[Model, ...]:
        return () if self.model is None else self.model.missing()

    def plan(self) -> Plan:
        """Of its first seed. Raises BenchError where the method, its weights or the data are not in order."""
        from syncdiff_bench.reproduction.defaults import with_model
        from syncdiff_bench.runs.plan import Selection, make_plan
        from syncdiff_bench.texts import method_options, metric_specs

        if "plan" not in self._plans:
            place = self.request.place
            self._plans["plan"] = make_plan(
                Selection(
                    methods=(self.system.method,),
                    dataset=place.recipe.dataset,
                    data_root=place.data_root,
                    split=place.recipe.split,
                    metrics=metric_specs(place.recipe.metrics),
                    limit=self.request.limit,
                    seed=self.seeds[0],
                    out=self.path,
                    device=self.request.device,
                    options=method_options((self.system.method,), self.settings()),
                    encoding=place.recipe.encoding,
                ),
                with_metrics=self.kind == "run",
                model_of=with_model,
            )
        plan: Plan = self._plans["plan"]
        return plan

    def run_plan(self, seed: int) -> RunPlan:
        """Raises as `plan`."""
        (first,) = self.plan().runs
        return replace(first, path=self.run_path(seed), identity=replace(first.identity, seed=seed))

    def forget(self) -> None:
        """Let go of the method and its weights."""
        self._plans.clear()

    def state(self, seed: int) -> SeedState:
        """What is on disk, whatever made it. Raises UsageError where the folder is damaged."""
        from syncdiff_bench.runs.directory import MANIFEST, load_run, read_manifest

        path = self.run_path(seed)
        if not (path / MANIFEST).is_file():
            return SeedState()
        if self.kind == "probe":
            return SeedState(done=bool(read_manifest(path).get("finished")))
        run = load_run(path)
        wanted = {(metric.name, metric.protocol) for metric in self._metrics()}
        scored = sum((score.metric, score.protocol) in wanted for score in run.scores)
        clips, lines = len(run.identity.clips), len(run.identity.clips) * len(wanted)
        made = sum(clip in run.generated for clip in run.identity.clips)
        return SeedState(made, scored, run.finished and made == clips and scored >= lines)

    def _metrics(self) -> Sequence[Any]:
        from syncdiff_bench.runs.plan import load_metrics

        if "metrics" not in self._plans:
            from syncdiff_bench.contracts import Runtime
            from syncdiff_bench.registry import load_class
            from syncdiff_bench.texts import metric_specs

            recipe = self.request.place.recipe
            self._plans["metrics"] = load_metrics(
                metric_specs(recipe.metrics), Runtime(), load_class("dataset", recipe.dataset)
            )
        metrics: Sequence[Any] = self._plans["metrics"]
        return metrics

    @property
    def lines(self) -> int:
        """Columns of scores, a line per clip each."""
        return len(self._metrics()) if self.kind == "run" else 0


def jobs_of(request: Request) -> tuple[Job, ...]:
    """The jobs behind the rows of the tables, each system once (and once more with the models of an ablation), in
    printed order; and ground truth, their bound.
    """
    recipe = request.place.recipe
    rows: dict[tuple[System, Kind, bool], list[str]] = {}
    for table in request.tables:
        kind: Kind = "probe" if all(column.metric == PROBED for column in table.columns) else "run"
        if kind == "run":
            rows.setdefault((System(BOUND), "run", False), [])
        for row in table.rows:
            key = row.system, kind, recipe.ablates(row.system.method, table.number)
            rows.setdefault(key, []).append(f"Table {table.number} {row.label}")
    return tuple(
        Job(request, system, kind, tuple(names), _seeds(request, recipe.methods, system), ablation)
        for (system, kind, ablation), names in rows.items()
    )


def _seeds(request: Request, methods: Mapping[str, MethodRecipe], system: System) -> tuple[int, ...]:
    one = system.method in methods and methods[system.method].one_seed
    return request.seeds[:1] if one else request.seeds


def trainings(jobs: Iterable[Job]) -> tuple[Model, ...]:
    """The models that are missing, each once, in the order in which they can be made."""
    found = {model.name: model for job in jobs for model in job.missing_models()}
    return tuple(found.values())
