"""The trained models that rows need: where they are, and the training that makes them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from syncdiff_bench.reproduction.recipe import ModelRecipe, Recipe, VariantRecipe

if TYPE_CHECKING:
    from syncdiff_bench.training.loader import TrainingPlan


class MissingInputError(Exception):
    """What only the user can give was not given; the message says how."""


@dataclass(frozen=True)
class Place:
    """What a reproduction is given.

    training: folder of the trainings, one below it for each. data_root: of the dataset. inputs: by name.
    shipped: False where models that ship are not to be used.
    """

    recipe: Recipe
    training: Path = Path("training")
    data_root: Path | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    shipped: bool = True

    def filled(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Texts with every `{input}` replaced. Raises MissingInputError."""
        return tuple(self._filled(text) for text in texts)

    def _filled(self, text: str) -> str:
        for name, meaning in self.recipe.inputs.items():
            if f"{{{name}}}" in text:
                if name not in self.inputs:
                    raise MissingInputError(f"give --input {name}=...: {meaning}")
                text = text.replace(f"{{{name}}}", self.inputs[name])
        return text


@dataclass(frozen=True)
class Model:
    """One model, there or not. variant: "" for the config as it is. name: of its training and of its unit of work."""

    place: Place
    recipe: ModelRecipe
    variant: str = ""

    @property
    def name(self) -> str:
        if not self.recipe.config:
            return self.recipe.folder
        stem = Path(self.recipe.config).stem
        return f"{stem}-{self.variant}" if self.variant else stem

    @property
    def extras(self) -> VariantRecipe:
        return self.recipe.variants.get(self.variant, VariantRecipe())

    @property
    def folder(self) -> Path:
        """Where it is once it is made."""
        top = self.place.training / self.name
        return top / "model" if self.recipe.config else top

    def found(self) -> str | None:
        """What its user names it by: a shipped name or a folder; None where there is none yet."""
        shipped = self._shipped()
        if shipped is not None:
            return shipped
        return shown(self.folder) if self.folder.is_dir() else None

    def _shipped(self) -> str | None:
        if not self.place.shipped:
            return None
        if not self.variant and self.recipe.shipped:
            return self.recipe.shipped
        places = (folder / self.name for folder in self.place.recipe.checkpoints)
        return next((shown(place) for place in places if place.is_dir()), None)

    @property
    def needs(self) -> dict[str, Model]:
        """Value of the config -> the model that it names."""
        models = self.place.recipe.models
        return {key: Model(self.place, models[name]) for key, name in self.recipe.needs.items()}

    def missing(self) -> tuple[Model, ...]:
        """This and what it needs, as far as they are not there, in the order in which they can be made."""
        if self.found() is not None:
            return ()
        before = {one.name: one for needed in self.needs.values() for one in needed.missing()}
        return (*before.values(), self)

    @property
    def trainable(self) -> bool:
        return bool(self.recipe.config) and self.place.recipe.trains

    def command(self) -> str:
        """The command line that makes it."""
        if not self.recipe.config:
            return self.recipe.made_by
        words = ["syncdiff-bench", "train", self.recipe.config]
        words += ["--variant", self.variant] if self.variant else []
        words += ["--out", str(self.place.training / self.name)] if self.place.training != Path("training") else []
        words += ["--cache", str(self.cache)] if self.cache.name != "cache" else []
        if self.place.data_root is not None:
            words += ["--data-root", str(self.place.data_root) if self.place.recipe.trains else "DIR"]
        try:
            changes = self.overrides()
        except MissingInputError:
            changes = self.extras.training
        return shlex.join([*words, *(word for change in changes for word in ("--set", change))])

    def overrides(self) -> tuple[str, ...]:
        """What its config does not say: where needed models are, and what the user gives.

        Raises MissingInputError.
        """
        paths = {key: needed.found() or shown(needed.folder) for key, needed in self.needs.items()}
        return (*(f"{key}={where}" for key, where in paths.items()), *self.place.filled(self.extras.training))

    def plan(self) -> TrainingPlan:
        """Raises UsageError for a config that is not in order, MissingInputError."""
        from syncdiff_bench.training.loader import read_plan

        return read_plan(self.recipe.config, self.overrides(), self.variant)

    @property
    def cache(self) -> Path:
        """What trainings compute once; a shipped autoencoder makes other latents than one's own."""
        shipped = any(needed._shipped() is not None for needed in self.needs.values())
        return self.place.training / ("cache-shipped" if shipped else "cache")


def shown(path: Path) -> str:
    """Relative to the working folder where it is below it: run.json records this, and others read it elsewhere."""
    relative = os.path.relpath(path)
    return path.as_posix() if relative.startswith("..") else Path(relative).as_posix()
