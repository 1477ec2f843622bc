"""The trained models that rows need: where they are, what makes them, and which one a method takes unasked.

A method that takes a model (a recipe names the option) is never given one of other data unasked.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncdiff_bench import registry, roots
from syncdiff_bench.errors import BenchError, UsageError
from syncdiff_bench.origins import RECORD, is_drawn, matched, origin_of
from syncdiff_bench.report.paper import PaperTable
from syncdiff_bench.reproduction.recipe import ModelRecipe, Recipe, VariantRecipe, installed_recipes

if TYPE_CHECKING:
    from syncdiff_bench.training.loader import TrainingPlan


class MissingInputError(BenchError):
    """What only the user can give was not given; the message says how."""


@dataclass(frozen=True)
class Request:
    """What a reproduction is asked for.

    out: folder of runs, leases and tables.
    seeds: of the sampling noise; () for those of the recipe.
    limit: the first so many clips only; None for all.
    training: folder of the trainings, one below it for each.
    inputs: by the names that the recipe has for them.
    shipped: False where models that ship are not to be used.
    """

    recipe: Recipe
    tables: tuple[PaperTable, ...] = ()
    out: Path = Path("runs")
    seeds: tuple[int, ...] = ()
    limit: int | None = None
    device: str = "auto"
    training: Path = Path("training")
    data_root: Path | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    shipped: bool = True

    def filled(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Texts with every `{input}` replaced. Raises MissingInputError."""
        for name, meaning in self.recipe.inputs.items():
            if name not in self.inputs and any(f"{{{name}}}" in text for text in texts):
                raise MissingInputError(f"give --input {name}=...: {meaning}")
            texts = [text.replace(f"{{{name}}}", self.inputs.get(name, "")) for text in texts]
        return tuple(texts)


@dataclass(frozen=True)
class Model:
    """One model, there or not.

    variant: "" for the config as it is.
    seed: of its training, which its name then says; None for the config's own.
    """

    request: Request
    recipe: ModelRecipe
    variant: str = ""
    seed: int | None = None

    @property
    def name(self) -> str:
        """Of its training: "pocket-short-rnd-seed-1"."""
        if not self.recipe.config:
            return self.recipe.folder
        words = [Path(self.recipe.config).stem, self.variant, "" if self.seed is None else f"seed-{self.seed}"]
        return "-".join(filter(None, words))

    @property
    def extras(self) -> VariantRecipe:
        return self.recipe.variants.get(self.variant, VariantRecipe())

    @property
    def folder(self) -> Path:
        """Where it is once it is made."""
        top = self.request.training / self.name
        return top / "model" if self.recipe.config else top

    def found(self) -> str | None:
        """What a method's option names it by: a shipped name or a folder; None where there is none yet."""
        return self._shipped() or (shown(self.folder) if self.folder.is_dir() else None)

    def _shipped(self) -> str | None:
        if not self.request.shipped:
            return None
        if not self.variant and self.seed is None and self.recipe.shipped:
            return self.recipe.shipped
        places = (folder / self.name for folder in self.request.recipe.checkpoints)
        return next((shown(place) for place in places if place.is_dir()), None)

    @property
    def needs(self) -> dict[str, Model]:
        """Value of the config -> the model that it names: of the same training seed, where that is varied."""
        recipe, varied = self.request.recipe, self.request.recipe.ablation.models.values()
        names = {**self.recipe.needs, **self.extras.needs}
        return {
            key: Model(self.request, recipe.models[name], seed=self.seed if name in varied else None)
            for key, name in names.items()
        }

    def missing(self) -> tuple[Model, ...]:
        """This and what it needs, as far as they are not there, in the order in which they can be made."""
        if self.found() is not None:
            return ()
        before = {one.name: one for needed in self.needs.values() for one in needed.missing()}
        return (*before.values(), self)

    @property
    def trainable(self) -> bool:
        return bool(self.recipe.config) and self.request.recipe.trains

    def command(self) -> str:
        """The command line that makes it."""
        if not self.recipe.config:
            return self.recipe.made_by
        try:
            changes = self.overrides()
        except MissingInputError:
            changes = (*self._seeded, *self.extras.training)
        return shlex.join(["syncdiff-bench", "train", *self.arguments(changes)])

    def arguments(self, changes: Sequence[str]) -> list[str]:
        """What follows `syncdiff-bench train`. changes: as of `overrides`."""
        request = self.request
        words = [self.recipe.config]
        words += ["--variant", self.variant] if self.variant else []
        named = self.seed is not None or request.training != Path("training")
        words += ["--out", str(request.training / self.name)] if named else []
        words += ["--cache", str(self.cache)] if self.cache.name != "cache" else []
        return [*words, *self._data_root, *(word for change in changes for word in ("--set", change))]

    @property
    def _data_root(self) -> list[str]:
        """--data-root of its training: the folder that was given, "DIR" where only the user knows it, else nothing."""
        given, recipe = self.request.data_root, self.request.recipe
        if given is not None and recipe.trains:
            return ["--data-root", str(given)]
        return [] if roots.is_known(recipe.trained_on) else ["--data-root", "DIR"]

    def overrides(self) -> tuple[str, ...]:
        """What its config does not say: where needed models are, its seed, what the user gives.

        Raises MissingInputError.
        """
        paths = {key: needed.found() or shown(needed.folder) for key, needed in self.needs.items()}
        given = self.request.filled(self.extras.training)
        return (*(f"{key}={where}" for key, where in paths.items()), *self._seeded, *given)

    @property
    def _seeded(self) -> tuple[str, ...]:
        return () if self.seed is None else (f"training.seed={self.seed}",)

    def plan(self) -> TrainingPlan:
        """Raises UsageError for a config that is not in order, MissingInputError."""
        from syncdiff_bench.training.loader import read_plan

        return read_plan(self.recipe.config, self.overrides(), self.variant)

    @property
    def cache(self) -> Path:
        """What trainings compute once; a shipped autoencoder makes other latents than one's own."""
        shipped = any(needed._shipped() is not None for needed in self.needs.values())
        return self.request.training / ("cache-shipped" if shipped else "cache")


def shown(path: Path) -> str:
    """Relative to the working folder where it is below it: run.json records this, and others read it elsewhere."""
    relative = os.path.relpath(path)
    return path.as_posix() if relative.startswith("..") else Path(relative).as_posix()


def with_filmed_model(method: str, settings: Mapping[str, Any], _dataset: str = "") -> dict[str, Any]:
    """The same as `with_model` for faces of nobody's data set: with the model of filmed faces, never of drawn ones."""
    homes = {name: one for name, one in installed_recipes().items() if one.trains and not is_drawn(name)}
    known = [name for name, one in homes.items() if _option(one, method)] or list(homes)
    return with_model(method, settings, known[0] if known else "", "filmed faces")


def with_model(method: str, settings: Mapping[str, Any], dataset: str, shown_as: str = "") -> dict[str, Any]:
    """The options of a method as they were given, with the model of the data filled in where they name none.

    dataset: name of the data, "" where it is not known. A method that finds its own weights there, or that no
    recipe knows, keeps its own default.
    shown_as: how an error calls the data, "" for by its name.
    Raises UsageError where there is no such model, with how to make it.
    """
    known, home = installed_recipes(), matched(dataset)
    data = shown_as or f"dataset {home}"
    recipes, own = {name: one for name, one in known.items() if _option(one, method)}, known.get(home)
    if not recipes or not home or (own is not None and method in own.methods and home not in recipes):
        return dict(settings)
    option = _option(recipes.get(home) or next(iter(recipes.values())), method)
    if settings.get(option):
        return dict(settings)
    if home not in recipes:
        if getattr(registry.load_class("method", method).Options, option, None):
            return dict(settings)
        elsewhere = (f"--set {option}=DIR names one", *_of_other_data(method, option, recipes))
        raise UsageError(f"{method} has no model for {data}; {'; '.join(elsewhere)}")
    recipe = recipes[home]
    model = _model(recipe, method, settings.get("variant", ""))
    found = model.found()
    origin = None if found is None else origin_of(Path(found))
    if found is not None and (origin is None or origin.dataset in ("", recipe.trained_on)):
        return {**settings, option: found}
    missing = (
        f"{shown(model.folder)} is missing; make it with {_commands(model)}"
        if found is None
        else f"{found} was trained on other data, see {RECORD} there"
    )
    others = {name: one for name, one in recipes.items() if one.trained_on != recipe.trained_on}
    elsewhere = (f"or give --set {option}=DIR", *_of_other_data(method, option, others, made=True))
    raise UsageError(f"{method} has no model for {data}: {missing}; {'; '.join(elsewhere)}")


def _option(recipe: Recipe, method: str) -> str:
    """The option of a method that takes its model; "" where the recipe gives it none."""
    return recipe.methods[method].takes if method in recipe.methods else ""


def _model(recipe: Recipe, method: str, variant: str = "") -> Model:
    from syncdiff_bench.training.loader import read_plan

    request = Request(recipe)
    model = Model(request, recipe.models[recipe.methods[method].model], variant)
    if variant and model.recipe.config:
        try:
            read_plan(model.recipe.config, variant=variant)
        except UsageError:  # no line of its own: the config as it is, or an unknown one, which the method tells
            return Model(request, model.recipe)
    return model


def _commands(model: Model) -> str:
    return ", then ".join(f"`{one.command()}`" for one in model.missing())


def _of_other_data(method: str, option: str, recipes: Mapping[str, Recipe], *, made: bool = False) -> Iterator[str]:
    """What there is of other data, for somebody who means it. made: of models that are there alone."""
    for name, recipe in recipes.items():
        if not recipe.trains:
            continue
        faces, model = "drawn faces" if is_drawn(name) else name, _model(recipe, method)
        found = model.found()
        if found is not None:
            yield f"--set {option}={found} is for {faces}"
        elif not made:
            yield f"that of {faces} would lie in {shown(model.folder)}, made with {_commands(model)}"
