"""Which model a method takes where nobody names one: that of the data, from the places where `reproduce` looks.

A method that takes a model (a recipe names the option) is never given one of other data unasked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from syncdiff_bench import registry
from syncdiff_bench.errors import UsageError
from syncdiff_bench.origins import RECORD, is_drawn, matched, origin_of
from syncdiff_bench.reproduction.models import Model, Place, shown
from syncdiff_bench.reproduction.recipe import Recipe, installed_recipes
from syncdiff_bench.training.loader import read_plan


def with_model(method: str, settings: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """The options of a method as they were given, with the model of the data filled in where they name none.

    dataset: name of the data, "" where it is not known. A method whose weights are its own affair there, or that no
    recipe knows, keeps its own default.
    Raises UsageError where there is no such model, with how to make it.
    """
    known, home = installed_recipes(), matched(dataset)
    recipes, own = {name: one for name, one in known.items() if _takes(one, method)}, known.get(home)
    if not recipes or not home or (own is not None and method in own.methods and home not in recipes):
        return dict(settings)
    takes = _takes(recipes.get(home) or next(iter(recipes.values())), method)
    if settings.get(takes):
        return dict(settings)
    if home not in recipes:
        if getattr(registry.load_class("method", method).Options, takes, None):
            return dict(settings)
        elsewhere = (f"--set {takes}=DIR names one", *_of_others(method, takes, recipes))
        raise UsageError(f"{method} has no model for dataset {home}; {'; '.join(elsewhere)}")
    model = _model(recipes[home], method, settings.get("variant", ""))
    found = model.found()
    if found is not None and not _of_other_data(found, recipes[home]):
        return {**settings, takes: found}
    others = {name: one for name, one in recipes.items() if one.trained_on != recipes[home].trained_on}
    elsewhere = (f"or give --set {takes}=DIR", *_of_others(method, takes, others, made=True))
    raise UsageError(f"{method} has no model for dataset {home}: {_missing(model, found)}; {'; '.join(elsewhere)}")


def _takes(recipe: Recipe, method: str) -> str:
    """The option of a method that takes its model; "" where the recipe gives it none."""
    return recipe.methods[method].takes if method in recipe.methods else ""


def _model(recipe: Recipe, method: str, variant: str = "") -> Model:
    embedded = registry.load_class("dataset", recipe.dataset).embedded
    place = Place(recipe, data_root=None if embedded else Path("DIR"))
    model = Model(place, recipe.models[recipe.methods[method].model], variant)
    if variant and model.recipe.config:
        try:
            read_plan(model.recipe.config, variant=variant)
        except UsageError:  # no line of its own: the config as it is, or an unknown one, which the method tells
            return Model(place, model.recipe)
    return model


def _of_other_data(found: str, recipe: Recipe) -> bool:
    origin = origin_of(Path(found))
    return origin is not None and origin.dataset not in ("", recipe.trained_on)


def _missing(model: Model, found: str | None) -> str:
    if found is not None:
        return f"{found} was trained on other data, see {RECORD} there"
    return f"{shown(model.folder)} is missing; make it with {_commands(model)}"


def _commands(model: Model) -> str:
    return ", then ".join(f"`{one.command()}`" for one in model.missing())


def _of_others(method: str, takes: str, recipes: Mapping[str, Recipe], *, made: bool = False) -> Iterator[str]:
    """What there is of other data, for somebody who means it. made: of models that are there alone."""
    for name, recipe in recipes.items():
        if not recipe.trains:
            continue
        faces, model = "drawn faces" if is_drawn(name) else name, _model(recipe, method)
        found = model.found()
        if found is not None:
            yield f"--set {takes}={found} is for {faces}"
        elif not made:
            yield f"that of {faces} would lie in {shown(model.folder)}, made with {_commands(model)}"
