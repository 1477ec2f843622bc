"""How the rows of the paper's tables are made on one dataset: TOML in `reproduction/` of the leaderboard packages.

    schema = 1
    like = "lrs2.toml"               # optional: a file beside this one, whose keys hold where this one has none
    dataset, split
    trained_on = "lrs2"              # optional (dataset): where the models come from; other data is not trained on here
    seeds = [0, 1, 2]                # of the sampling noise
    metrics = ["ssim", ...]          # specs; one run is scored by all of them
    encoding = "lossless"            # optional: how videos are stored
    checkpoints = "../x"             # optional: folder of shipped variants, which need not be there; seen from the
                                     # package, else from its source in the working folder: leaderboards/PACKAGE/
    [inputs]                         # what only the user can give (--input NAME=VALUE): name -> what it is
    [models.NAME]                    # what is trained, or made by hand
    config = "syncdiff/pocket"       # training config; a row with an option `variant` is trained as that variant
    needs = { KEY = NAME }           # value of the config -> model whose folder it gets
    shipped = "pocket"               # optional: the name under which one without a variant is installed
    folder, made_by                  # instead of config: where it is below --training, and the command that makes it
    [models.NAME.variants.VARIANT]
    training = ["KEY=VALUE"]         # optional: further values of the config; may hold {input}
    settings = ["KEY=VALUE"]         # optional: further options of the method; may hold {input}
    [methods.NAME]                   # every row of this method
    model, takes                     # optional: the model, and the option of the method that takes it
    settings = ["KEY=VALUE"]         # optional: further options; may hold {input}
    one_seed = true                  # optional: its videos do not depend on the seed
    unavailable = "..."              # instead: why there is no such row here
    [ablation]                       # optional: tables that compare other models than the rest
    tables = [2, 3]
    models = { METHOD = NAME }       # what a method is run with there
    note = "..."                     # what a reader of these tables must know
    [probe]                          # tables of latent variances (the paper's Table 4)
    layer, clips, phones, videos, poses

Every error is a UsageError that names the file and the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.packages import Node, leaderboard_packages, read_root

FOLDER = "reproduction"
SCHEMA = 1
FILE_KEYS = (
    *("schema", "like", "dataset", "split", "trained_on", "seeds", "metrics", "encoding", "checkpoints", "inputs"),
    *("models", "methods", "ablation", "probe"),
)
MODEL_KEYS = ("config", "needs", "shipped", "folder", "made_by", "variants")
METHOD_KEYS = ("model", "takes", "settings", "one_seed", "unavailable")
ABLATION_KEYS = ("tables", "models", "note")
PROBE_KEYS = ("layer", "clips", "phones", "videos", "poses")


@dataclass(frozen=True)
class VariantRecipe:
    """training: further values of the config. settings: further options of the method."""

    training: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelRecipe:
    """config: "" for what is made by hand, with `made_by` in `folder`. needs: value of the config -> model.

    variants: those that need more than their name.
    """

    name: str
    config: str
    needs: Mapping[str, str]
    shipped: str
    folder: str
    made_by: str
    variants: Mapping[str, VariantRecipe]


@dataclass(frozen=True)
class MethodRecipe:
    """model: name of its model, "" where the weights are the method's own affair; takes: the option that gets it."""

    name: str
    model: str = ""
    takes: str = ""
    settings: tuple[str, ...] = ()
    one_seed: bool = False
    unavailable: str = ""


@dataclass(frozen=True)
class ProbeRecipe:
    """What `paper probe` is asked for, of every speaker. phones: POSE by phones that the dataset has timed;
    poses: by labelled frames instead, the name of an input.
    """

    layer: str = "mid"
    clips: int = 10
    phones: tuple[str, ...] = ()
    videos: int = 5
    poses: str = ""


@dataclass(frozen=True)
class AblationRecipe:
    """tables: their numbers. models: method -> the model that it is run with there. note: for below these tables."""

    tables: tuple[int, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Recipe:
    """One file. checkpoints: where the folder of shipped variants may be; the first place that has a model counts."""

    dataset: str
    split: str
    trained_on: str
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    encoding: str
    checkpoints: tuple[Path, ...]
    inputs: Mapping[str, str]
    models: Mapping[str, ModelRecipe]
    methods: Mapping[str, MethodRecipe]
    ablation: AblationRecipe = field(default_factory=AblationRecipe)
    probe: ProbeRecipe = field(default_factory=ProbeRecipe)

    def ablates(self, method: str, table: int) -> bool:
        """Whether a method is run with another model in that table."""
        return table in self.ablation.tables and method in self.ablation.models

    @property
    def trains(self) -> bool:
        return self.trained_on == self.dataset


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
    for package in leaderboard_packages():
        home = Path(str(files(package)))
        for path in sorted((home / FOLDER).glob("*.toml")):
            # What is installed stands apart from the repository, in whose root the command may be given.
            homes = (home, Path("leaderboards", package))
            one = parse_recipe(f"{package}/{FOLDER}/{path.name}", path, homes)
            known.setdefault(one.dataset, one)
    return known


def read_recipe(path: Path) -> Recipe:
    """A recipe of the user's own; its `checkpoints` are seen from the file."""
    return parse_recipe(str(path), path, (path.parent,))


def parse_recipe(where: str, path: Path, homes: Sequence[Path]) -> Recipe:
    """where: the file, for messages. homes: what `checkpoints` is seen from. Raises UsageError."""
    root = _root(where, path)
    seeds = root.get("seeds", list)
    if not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise root.fail("seeds", f"must be a list of whole numbers from 0, is {seeds!r}")
    if not root.strings("metrics"):
        raise root.fail("metrics", "must name at least one")
    checkpoints = root.get("checkpoints", str, "")
    inputs = _texts(root, "inputs")
    models = {name: _model(name, node) for name, node in _children(root, "models").items()}
    methods = {name: _method(name, node) for name, node in _children(root, "methods").items()}
    _check_references(root, models, methods)
    return Recipe(
        dataset=root.get("dataset", str),
        split=root.get("split", str),
        trained_on=root.get("trained_on", str, root.get("dataset", str)),
        seeds=tuple(dict.fromkeys(seeds)),
        metrics=root.strings("metrics"),
        encoding=root.get("encoding", str, "lossless"),
        checkpoints=tuple((home / checkpoints).resolve() for home in homes) if checkpoints else (),
        inputs=inputs,
        models=models,
        methods=methods,
        ablation=_ablation(root, models, methods),
        probe=_probe(root, inputs),
    )


def _root(where: str, path: Path) -> Node:
    """The top level, with what the file takes over from another."""
    root = read_root(where, _content(where, path), SCHEMA, FILE_KEYS)
    like = root.get("like", str, "")
    if not like:
        return root
    if Path(like).name != like or like == path.name:
        raise root.fail("like", f"must name another file beside this one, is {like!r}")
    other = f"{where}: like: {like}"
    model = read_root(other, _content(other, path.parent / like), SCHEMA, FILE_KEYS)
    if "like" in model.data:
        raise root.fail("like", f"{like} is itself like another; name that one")
    return Node({**model.data, **root.data}, where)


def _content(where: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror})") from None


def _model(name: str, node: Node) -> ModelRecipe:
    node.only(MODEL_KEYS)
    config, folder, made_by = (node.get(key, str, "") for key in ("config", "folder", "made_by"))
    if bool(config) == bool(folder and made_by) or bool(folder) != bool(made_by):
        raise node.fail("config", "give either config, or folder and made_by")
    variants = {}
    for variant, child in _children(node, "variants").items():
        child.only(("training", "settings"))
        variants[variant] = VariantRecipe(child.strings("training", []), child.strings("settings", []))
    return ModelRecipe(name, config, _texts(node, "needs"), node.get("shipped", str, ""), folder, made_by, variants)


def _method(name: str, node: Node) -> MethodRecipe:
    node.only(METHOD_KEYS)
    model, takes = node.get("model", str, ""), node.get("takes", str, "")
    if bool(model) != bool(takes):
        raise node.fail("takes", "stands beside model: the option that gets it")
    return MethodRecipe(
        name=name,
        model=model,
        takes=takes,
        settings=node.strings("settings", []),
        one_seed=node.get("one_seed", bool, False),
        unavailable=node.get("unavailable", str, ""),
    )


def _ablation(root: Node, models: Mapping[str, ModelRecipe], methods: Mapping[str, MethodRecipe]) -> AblationRecipe:
    if "ablation" not in root.data:
        return AblationRecipe()
    node = root.node("ablation")
    node.only(ABLATION_KEYS)
    tables, swapped = node.get("tables", list), _texts(node, "models")
    if not tables or not all(type(number) is int for number in tables):
        raise node.fail("tables", f"must be numbers of tables, is {tables!r}")
    for method, model in swapped.items():
        if method not in methods or not methods[method].model:
            raise node.fail("models", f"method {method!r} is not run with a model; it has none to change")
        if model not in models:
            raise node.fail("models", f"there is no model {model!r}")
    return AblationRecipe(tuple(tables), swapped, node.get("note", str))


def _probe(root: Node, inputs: Mapping[str, str]) -> ProbeRecipe:
    if "probe" not in root.data:
        return ProbeRecipe()
    node = root.node("probe")
    node.only(PROBE_KEYS)
    default = ProbeRecipe()
    poses = node.get("poses", str, "")
    if poses and poses not in inputs:
        raise node.fail("poses", f"there is no input {poses!r}")
    return ProbeRecipe(
        layer=node.get("layer", str, default.layer),
        clips=node.get("clips", int, default.clips),
        phones=node.strings("phones", []),
        videos=node.get("videos", int, default.videos),
        poses=poses,
    )


def _check_references(root: Node, models: Mapping[str, ModelRecipe], methods: Mapping[str, MethodRecipe]) -> None:
    for method in methods.values():
        if method.model and method.model not in models:
            raise root.fail(f"methods: {method.name}: model", f"there is no model {method.model!r}")
    for model in models.values():
        seen, todo = {model.name}, list(model.needs.values())
        while todo:
            name = todo.pop()
            if name not in models:
                raise root.fail(f"models: {model.name}: needs", f"there is no model {name!r}")
            if name in seen:
                raise root.fail(f"models: {model.name}: needs", f"{name!r} needs itself")
            todo += models[name].needs.values()


def _children(node: Node, key: str) -> dict[str, Node]:
    """The tables of a table."""
    parent: Mapping[str, Any] = node.get(key, dict, {})
    where = Node(parent, f"{node.where}: {key}")
    return {name: where.node(name) for name in parent}


def _texts(node: Node, key: str) -> dict[str, str]:
    found = Node(node.get(key, dict, {}), f"{node.where}: {key}")
    return {name: found.get(name, str) for name in found.data}
