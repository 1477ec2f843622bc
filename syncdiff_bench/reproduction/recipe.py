"""How the rows of the paper's tables are made on one dataset: TOML in `reproduction/` of the leaderboard packages.

    schema = 1
    like = "lrs2.toml"               # optional: a file beside this one, else an installed one; its keys hold where this
                                     # one has none
    dataset, split
    trained_on = "lrs2"              # optional (dataset): where the models come from; other data is not trained on here
    seeds = [0, 1, 2]                # of the sampling noise
    metrics = ["ssim", ...]          # specs; one run is scored by all of them
    encoding = "lossless"            # optional: how videos are stored
    checkpoints = "../x"             # optional: folder of shipped variants, which need not be there; seen from this
                                     # file, else from a leaderboard package or its source, leaderboards/PACKAGE/
    [inputs]                         # what only the user can give (--input NAME=VALUE): name -> what it is
    [models.NAME]                    # what is trained, or made by hand
    config = "syncdiff/pocket"       # training config; a row with an option `variant` is trained as that variant
    needs = { KEY = NAME }           # value of the config -> model whose folder it gets
    shipped = "pocket"               # optional: the name under which one without a variant is installed
    folder, made_by                  # instead of config: where it is below --training, and the command that makes it
    [models.NAME.variants.VARIANT]
    training = ["KEY=VALUE"]         # optional: further values of the config; may hold {input}
    settings = ["KEY=VALUE"]         # optional: further options of the method; may hold {input}
    needs = { KEY = NAME }           # optional: further models that its config gets
    model = NAME                     # optional: it is not a variant of this model's config, but that model
    [methods.NAME]                   # every row of this method
    model, takes                     # optional: the model, and the option of the method that takes it
    settings = ["KEY=VALUE"]         # optional: further options; may hold {input}
    one_seed = true                  # optional: its videos do not depend on the seed
    unavailable = "..."              # instead: why there is no such row here
    [ablation]                       # optional: tables that compare other models than the rest
    tables = [2, 3]
    models = { METHOD = NAME }       # what a method is run with there
    trainings = [0, 1, 2]            # optional: seeds of training; each of these models is trained once with each
    seeds, split                     # optional: of the sampling noise, and the clips of runs (not of probes), there
    clips = { TABLE = 12 }           # optional: a table, by its name, whose rows are measured on the first clips alone
    note = "..."                     # what a reader of these tables must know
    [probe]                          # tables of latent variances (the paper's Table 4)
    layer, clips, phones, videos, poses

Every error is a UsageError that names the file and the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path

from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.packages import Node, leaderboard_packages, read_root

FOLDER = "reproduction"
SCHEMA = 1


@dataclass(frozen=True)
class VariantRecipe:
    """training: further values of the config. settings: further options of the method.

    needs: further models that its config gets. model: that it is, instead of a variant of the config; "" for none.
    """

    training: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)
    model: str = ""


@dataclass(frozen=True)
class ModelRecipe:
    """One `[models.NAME]`. config: "" for what is made by hand. variants: those that need more than their name."""

    config: str = ""
    needs: Mapping[str, str] = field(default_factory=dict)
    shipped: str = ""
    folder: str = ""
    made_by: str = ""
    variants: Mapping[str, VariantRecipe] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodRecipe:
    """One `[methods.NAME]`. model: "" where it finds its own weights."""

    model: str = ""
    takes: str = ""
    settings: tuple[str, ...] = ()
    one_seed: bool = False
    unavailable: str = ""


@dataclass(frozen=True)
class ProbeRecipe:
    """What is probed of every speaker: phones that the dataset has timed, or labelled frames (`poses`, an input)."""

    layer: str = "mid"
    clips: int = 10
    phones: tuple[str, ...] = ()
    videos: int = 5
    poses: str = ""


@dataclass(frozen=True)
class AblationRecipe:
    """Tables that compare other models than the rest.

    trainings: `training.seed` of each training of a model; () for one training, as its config says.
    seeds, split: () and "" for those of the recipe; a probe stays on the recipe's split.
    clips: of the rows that stand in no other table than that.
    note: for below the tables.
    """

    tables: tuple[int, ...]
    models: Mapping[str, str]
    note: str
    trainings: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    split: str = ""
    clips: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """One file. checkpoints: where the folder of shipped variants may be; the first place that has a model counts."""

    trained_on: str
    seeds: tuple[int, ...]
    checkpoints: tuple[Path, ...]
    dataset: str
    split: str
    metrics: tuple[str, ...]
    models: Mapping[str, ModelRecipe] = field(default_factory=dict)
    methods: Mapping[str, MethodRecipe] = field(default_factory=dict)
    encoding: str = "lossless"
    inputs: Mapping[str, str] = field(default_factory=dict)
    ablation: AblationRecipe = AblationRecipe((), {}, "")
    probe: ProbeRecipe = ProbeRecipe()

    def ablates(self, method: str, table: int) -> bool:
        """Whether a method is run with another model in that table, or on other clips."""
        return table in self.ablation.tables and (method in self.ablation.models or bool(self.ablation.split))

    @property
    def trains(self) -> bool:
        return self.trained_on == self.dataset


KEYS = ("schema", "like", *(one.name for one in fields(Recipe)))


# ----------------------------------------------------------------------------------------- where they are


def recipe_of(dataset: str) -> Recipe:
    """The installed recipe of a dataset. Raises UsageError naming those that there are."""
    known = installed_recipes()
    if dataset not in known:
        raise UsageError(
            f"no recipe reproduces the tables on {dataset!r}; there are recipes for {', '.join(known) or 'nothing'},"
            " or give one of yours with --recipe FILE"
        )
    return known[dataset]


def installed_recipes() -> dict[str, Recipe]:
    """Dataset -> its recipe, of all installed leaderboard packages. Raises UsageError for a file out of order."""
    known: dict[str, Recipe] = {}
    for package, home in _packages():
        for path in sorted((home / FOLDER).glob("*.toml")):
            one = _parsed(f"{package}/{FOLDER}/{path.name}", path, _homes(package, home))
            known.setdefault(one.dataset, one)
    return known


def read_recipe(path: Path) -> Recipe:
    """A recipe of the user's own, or a copy of an installed one: its paths are seen from the file, then as of those."""
    return _parsed(str(path), path, (path.parent, *(place for one in _packages() for place in _homes(*one))))


def _packages() -> Iterator[tuple[str, Path]]:
    for package in leaderboard_packages():
        yield package, Path(str(files(package)))


def _homes(package: str, home: Path) -> tuple[Path, Path]:
    """What is installed stands apart from the repository, in whose root the command may be given."""
    return home, Path("leaderboards", package)


# --------------------------------------------------------------------------------------------- reading


def _parsed(where: str, path: Path, homes: Sequence[Path]) -> Recipe:
    """where: the file, for messages. homes: what its paths are seen from. Raises UsageError."""
    root = _root(where, path, homes)
    checkpoints = root.get("checkpoints", str, "")
    recipe = root.read(
        Recipe,
        *KEYS,
        trained_on=root.get("trained_on", str, root.get("dataset", str)),
        checkpoints=tuple((home / checkpoints).resolve() for home in homes) if checkpoints else (),
    )
    _check_references(root, recipe)
    return recipe


def _root(where: str, path: Path, homes: Sequence[Path]) -> Node:
    """The top level, with what the file takes over from another."""
    root = read_root(where, _content(where, path), SCHEMA, KEYS)
    like = root.get("like", str, "")
    if not like:
        return root
    if Path(like).name != like or like == path.name:
        raise root.fail("like", f"must name another file beside this one, is {like!r}")
    other, beside = f"{where}: like: {like}", path.parent / like
    installed = (home / FOLDER / like for home in homes if (home / FOLDER / like).is_file())
    found = beside if beside.is_file() else next(installed, beside)
    model = read_root(other, _content(other, found), SCHEMA, KEYS)
    if "like" in model.data:
        raise root.fail("like", f"{like} is itself like another; name that one")
    return Node({**model.data, **root.data}, where)


def _content(where: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror})") from None


def _check_references(root: Node, recipe: Recipe) -> None:
    models = recipe.models
    if not recipe.seeds:
        raise root.fail("seeds", "must name at least one")
    _check_seeds(root, "seeds", recipe.seeds)
    if not recipe.metrics:
        raise root.fail("metrics", "must name at least one")
    for name, method in recipe.methods.items():
        if bool(method.model) != bool(method.takes):
            raise root.fail(f"methods: {name}: takes", "stands beside model: the option that gets it")
        if method.model and method.model not in models:
            raise root.fail(f"methods: {name}: model", f"there is no model {method.model!r}")
    for name, model in models.items():
        by_hand = bool(model.folder and model.made_by)
        if bool(model.config) == by_hand or bool(model.folder) != bool(model.made_by):
            raise root.fail(f"models: {name}: config", "give either config, or folder and made_by")
        _check_needs(root, models, name)
    _check_ablation(root, recipe)
    if recipe.probe.poses and recipe.probe.poses not in recipe.inputs:
        raise root.fail("probe: poses", f"there is no input {recipe.probe.poses!r}")


def _check_ablation(root: Node, recipe: Recipe) -> None:
    ablation = recipe.ablation
    _check_seeds(root, "ablation: seeds", ablation.seeds)
    _check_seeds(root, "ablation: trainings", ablation.trainings)
    for name, swapped in ablation.models.items():
        if name not in recipe.methods or not recipe.methods[name].model:
            raise root.fail("ablation: models", f"method {name!r} is not run with a model; it has none to change")
        if swapped not in recipe.models:
            raise root.fail("ablation: models", f"there is no model {swapped!r}")
        if ablation.trainings and not recipe.models[swapped].config:
            raise root.fail("ablation: trainings", f"model {swapped!r} is made by hand; it has no training seed")


def _check_seeds(root: Node, key: str, seeds: Sequence[int]) -> None:
    if min(seeds, default=0) < 0 or len(set(seeds)) < len(seeds):
        raise root.fail(key, f"must be different whole numbers from 0, is {list(seeds)!r}")


def _check_needs(root: Node, models: Mapping[str, ModelRecipe], name: str) -> None:
    variants = models[name].variants.values()
    if unknown := [one.model for one in variants if one.model and one.model not in models]:
        raise root.fail(f"models: {name}: variants", f"there is no model {unknown[0]!r}")
    seen, todo = {name}, [*models[name].needs.values(), *(needed for one in variants for needed in one.needs.values())]
    while todo:
        needed = todo.pop()
        if needed not in models:
            raise root.fail(f"models: {name}: needs", f"there is no model {needed!r}")
        if needed in seen:
            raise root.fail(f"models: {name}: needs", f"{needed!r} needs itself")
        todo += models[needed].needs.values()
