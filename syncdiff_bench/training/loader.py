"""From a training config (TOML) to a task and settings.

    like = "pocket.toml"                       # optional: a config beside this one, or one that a plugin ships
                                               # ("syncdiff/pocket"), whose values hold unless given here
    trainer = "syncdiff"                       # entry point of the group syncdiff_bench.trainers
    [data]     dataset, split, validation_split; boxes as --boxes
    [training] task.TrainingSettings
    [options]  the task's own
    [variants] name = {...}: what the variant of that name sets in the tables above, one line each

A config is a path, or `NAME/FILE` for one that a plugin ships: NAME is the trainer, FILE a TOML in its package's
`configs` folder ("syncdiff/pocket").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, TypedDict

from syncdiff_bench.documents import WrongValue, check, parse_toml, read_toml
from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import nearest, options_from_values
from syncdiff_bench.registry import load_class, shipped_files
from syncdiff_bench.training.task import TrainingData, TrainingSettings, TrainingTask
from syncdiff_bench.views import AUTO


@dataclass(frozen=True)
class TrainingPlan:
    """A config, read and checked, before anything is loaded."""

    name: str
    trainer: str
    data: Mapping[str, Any]
    settings: TrainingSettings
    options: Mapping[str, Any]

    @property
    def dataset(self) -> str:
        """Name of its data."""
        return str(self.data.get("dataset", "pocket"))

    def with_boxes(self, boxes: str) -> TrainingPlan:
        """With the face boxes of --boxes in place of the config's, unless that says "auto"."""
        return self if boxes == AUTO else replace(self, data={**self.data, "boxes": boxes})


def read_plan(config: str, overrides: Sequence[str] = (), variant: str = "") -> TrainingPlan:
    """Read a config, apply one of its variants, then `table.key=value` overrides (values are TOML, or plain text).

    The plan of a variant is called CONFIG-VARIANT. Raises UsageError for a missing file, broken TOML, an unknown table,
    key or variant.
    """
    path = _find(config)
    tables = _tables(path)
    variants = tables.get("variants", {})
    if variant:
        if variant not in variants:
            raise UsageError(f"{path}: no variant {variant!r}{nearest(variant, variants, 'variants')}")
        _merge(tables, variants[variant])
    for override in overrides:
        _apply(tables, override)
    _check(path, tables)
    tables.pop("variants", None)
    unknown = set(tables) - {"trainer", "data", "training", "options"}
    if unknown or "trainer" not in tables:
        raise UsageError(f"{path}: expected trainer, [data], [training] and [options], found {', '.join(tables)}")
    training = tables.get("training", {})
    if "gradient_accumulation" in training:
        raise UsageError(
            f"[training] of {path.name}: gradient_accumulation is gone; batch_size counts the examples of a whole step,"
            " over all processes, and micro_batch those that go through the network at once: for 2 x 8, batch_size = 16"
            " and micro_batch = 8"
        )
    settings = options_from_values(TrainingSettings, training, f"[training] of {path.name}")
    name = f"{path.stem}-{variant}" if variant else path.stem
    return TrainingPlan(name, str(tables["trainer"]), tables.get("data", {}), settings, tables.get("options", {}))


def load_task(plan: TrainingPlan, data_root: Path | None, cache: Path, device: str) -> TrainingTask:
    """The task of a plan with its dataset opened. Raises UsageError for an unknown trainer or dataset."""
    from syncdiff_bench.plugins import load_dataset

    cls: type[TrainingTask] = load_class("trainer", plan.trainer)
    options = options_from_values(cls.Options, plan.options, f"trainer {plan.trainer}")
    known = {"dataset", "split", "validation_split", "boxes"}
    if unknown := set(plan.data) - known:
        raise UsageError(f"[data] has no key {sorted(unknown)[0]!r}; it has {', '.join(sorted(known))}")
    boxes = {"boxes": plan.data["boxes"]} if "boxes" in plan.data else {}
    dataset = load_dataset(plan.dataset, data_root, boxes)
    split, validation = str(plan.data.get("split", "train")), str(plan.data.get("validation_split", "val"))
    return cls(options, TrainingData(dataset, split, validation, cache), device)


def shipped_configs() -> dict[str, Path]:
    """Names that `read_plan` knows without a path, each by the trainer that it names."""
    found = shipped_files("trainer", "configs", ".toml")
    return {name: path for name, path in found.items() if _trainer(path) == name.partition("/")[0]}


def variants_of(config: str) -> tuple[str, ...]:
    """Names of the variants of a config. Raises UsageError as `read_plan`."""
    return tuple(_tables(_find(config)).get("variants", {}))


def title_of(config: Path) -> str:
    """The first sentence of the comment that a config begins with; "" where it has none."""
    text = config.read_text(encoding="utf-8", errors="replace")
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    return " ".join(line.lstrip("# ") for line in lines).partition(". ")[0].rstrip(".")


def _trainer(config: Path) -> str:
    try:
        return str(_tables(config).get("trainer", ""))
    except UsageError:  # told where it is asked for
        return ""


class _Config(TypedDict, total=False):
    trainer: str
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    options: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, Any]]


def _check(path: Path, tables: Mapping[str, Any]) -> None:
    try:
        check(tables, _Config)
    except WrongValue as error:
        raise UsageError(f"{path}: {error}") from None


def _tables(path: Path, likened: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The content of a config, over that of the one that it is like. likened: the configs that are like this one."""
    tables = read_toml(path)
    _check(path, tables)
    like = tables.pop("like", None)
    if like is None:
        return tables
    shipped = shipped_files("trainer", "configs", ".toml")
    if not isinstance(like, str) or (like not in shipped and Path(like).name != like):
        known = ", ".join(shipped)
        raise UsageError(f"{path}: like must name another config beside this one, or one of {known}; is {like!r}")
    other = shipped.get(like, path.parent / like)
    if other in (path, *likened):
        raise UsageError(f"{path}: is like {like}, which is like itself; take one of the two `like` out")
    try:
        inherited = _tables(other, (path, *likened))
    except UsageError as error:
        raise UsageError(f"{path}: like: {error}") from None
    _merge(inherited, tables)
    return inherited


def _find(config: str) -> Path:
    path = Path(config)
    if path.is_file():
        return path
    shipped = shipped_files("trainer", "configs", ".toml")
    if config not in shipped:
        known = shipped_configs()
        raise UsageError(f"no training config {config!r}{nearest(config, known, 'configs')}; a path works too")
    return shipped[config]


def _merge(tables: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Set values deep inside nested tables; what `changes` does not name stays."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(tables.get(key), dict):
            _merge(tables[key], value)
        else:
            tables[key] = value


def _apply(tables: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {override}: expected table.key=value")
    try:
        value = parse_toml(f"value = {text}", key)["value"]
    except UsageError:
        value = text  # an unquoted string
    *path, last = key.strip().split(".")
    table = tables
    for part in path:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise UsageError(f"--set {override}: {part} is a value, not a table")
    table[last] = value
