"""Plugins by name, over entry points. Nothing is imported before it is used.

The built-in methods, metrics and datasets register through the same groups as anybody else's. A broken
plugin, or a name that two distributions claim, is reported with the names of the distributions and takes
nothing else down.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import (
    defaults_to_json,
    nearest,
    option_names,
    options_from_text,
    options_from_values,
    parse_spec,
)

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Dataset, Method, Metric, Runtime

Kind = Literal["method", "metric", "dataset"]

GROUPS: Mapping[Kind, str] = {
    "method": "syncdiff_bench.methods",
    "metric": "syncdiff_bench.metrics",
    "dataset": "syncdiff_bench.datasets",
}


@dataclass(frozen=True)
class Registration:
    """A registered name and who registered it; with more than one entry point it cannot be used."""

    kind: Kind
    name: str
    points: tuple[EntryPoint, ...]

    @property
    def distributions(self) -> tuple[str, ...]:
        return tuple(sorted({distribution_of(point) for point in self.points}))


@dataclass(frozen=True)
class Description:
    """One row of `syncdiff-bench list`.

    status: "ok", or why the plugin cannot be used, in one line.
    The rest is empty where it does not apply: protocol, columns (label, arrow, unit), needs and source are
    a metric's.
    """

    name: str
    title: str
    distribution: str
    status: str = "ok"
    options: tuple[str, ...] = ()
    protocol: str = ""
    columns: tuple[tuple[str, str, str], ...] = ()
    needs: tuple[str, ...] = ()
    source: str = ""


@cache
def registrations(kind: Kind) -> Mapping[str, Registration]:
    """All registered names of a kind, sorted."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUPS[kind]):
        same_name = found.setdefault(point.name, [])
        # One distribution seen twice on sys.path is no conflict.
        if (point.value, distribution_of(point)) not in {(p.value, distribution_of(p)) for p in same_name}:
            same_name.append(point)
    return {name: Registration(kind, name, tuple(found[name])) for name in sorted(found)}


def names(kind: Kind) -> tuple[str, ...]:
    """Registered names of a kind, usable or not, sorted; imports no plugin."""
    return tuple(registrations(kind))


def distribution_of(point: EntryPoint) -> str:
    """Name of the distribution that brought an entry point."""
    return point.dist.name if point.dist is not None else "an unknown distribution"


def load_class(kind: Kind, name: str) -> type[Any]:
    """The plugin class of that name.

    Raises UsageError for an unknown name (with the nearest one), a name claimed by several distributions,
    and a plugin that cannot be imported or breaks the contract.
    """
    known = registrations(kind)
    if name not in known:
        raise UsageError(f"unknown {kind} {name!r}{nearest(name, known, f'known {kind}s')}")
    try:
        return _load(known[name])
    except _UnusableError as error:
        raise _unusable(known[name], str(error)) from error.__cause__


class _UnusableError(Exception):
    """Why a plugin cannot be used, without saying which."""


def _load(registration: Registration) -> type[Any]:
    if len(registration.points) > 1:
        raise _UnusableError(f"{' and '.join(registration.distributions)} both register it; uninstall one")
    (point,) = registration.points
    try:
        loaded = point.load()
    # Whatever a third-party module does on import, SystemExit included, is that plugin's failure alone.
    except (Exception, SystemExit) as error:
        raise _UnusableError(_one_line(error)) from error
    problem = _contract_problem(registration.kind, registration.name, loaded)
    if problem:
        raise _UnusableError(problem)
    return cast("type[Any]", loaded)


def load_method(name: str, options: Mapping[str, str] | None = None, runtime: Runtime | None = None) -> Method:
    """The method, with options given as texts. Raises UsageError as `load_class`, and for wrong options."""
    cls = load_class("method", name)
    built = options_from_text(cls.Options, options or {}, name)
    return cast("Method", _construct("method", name, cls, built, runtime))


def default_options(method: str) -> dict[str, Any]:
    """Options of a method as run.json records those that nobody set, without the incidental ones.

    None where it is not installed or unusable.
    """
    try:
        cls = load_class("method", method)
    except UsageError:
        return {}
    return {name: value for name, value in defaults_to_json(cls.Options).items() if name not in cls.incidental}


def load_metric(spec: str, runtime: Runtime | None = None, *, recorded: Mapping[str, Any] | None = None) -> Metric[Any]:
    """The metric of a spec, `name` or `name[key=value,...]`.

    recorded: options as run.json holds them, in place of those in the spec.
    Raises UsageError as `load_class`, and for wrong options.
    """
    parsed = parse_spec(spec)
    cls = load_class("metric", parsed.name)
    built = _options(cls.Options, parsed.options, recorded, parsed.name)
    return cast("Metric[Any]", _construct("metric", parsed.name, cls, built, runtime))


def load_dataset(
    name: str,
    root: Path | None = None,
    options: Mapping[str, str] | None = None,
    *,
    recorded: Mapping[str, Any] | None = None,
) -> Dataset:
    """The dataset at `root`, with options given as texts.

    recorded: options as run.json holds them, in place of `options`.
    Every dataset takes the options of `syncdiff_bench.views` beside its own; run.json names `accept_damaged` where it
    is given.
    Raises UsageError as `load_class`, for wrong options, and where a dataset that is not embedded gets no
    root.
    """
    from syncdiff_bench.views import AUTO, NAME_SUFFIX, AcceptingDataset, BoxedDataset, PairedDataset

    if recorded is not None and recorded.get("pairs"):
        name = name.removesuffix(NAME_SUFFIX)
    cls = load_class("dataset", name)
    if root is None and not cls.embedded:
        raise UsageError(f"dataset {name!r} needs its folder: --data-root DIR")
    if root is not None and not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise UsageError(f"--data-root {root}: {state}; give the folder of {name} or its parent")
    mentioned = AcceptingDataset.option[0] in (options or recorded or {})
    boxed = BoxedDataset.options_with(cls.Options)
    own_class = AcceptingDataset.options_with(boxed) if mentioned else boxed
    given = _options(PairedDataset.options_with(own_class), options or {}, recorded, name)
    dataset = cast("Dataset", _construct("dataset", name, cls, root, _part(given, cls.Options)))
    if boxed is not cls.Options and given.boxes not in ("", AUTO):
        dataset = BoxedDataset(dataset, _part(given, boxed))
    if own_class is not boxed and given.accept_damaged:
        dataset = AcceptingDataset(dataset, _part(given, AcceptingDataset.options_with(type(dataset.options))))
    return dataset if "pairs" in option_names(cls.Options) or given.pairs is None else PairedDataset(dataset, given)


def _part(given: Any, options: type[Any]) -> Any:
    """Those of the given options that a class has."""
    return options(**{key: getattr(given, key) for key in option_names(options)})


def describe(kind: Kind) -> tuple[Description, ...]:
    """Every registered plugin of a kind; those that cannot be used say so in `status`."""
    return tuple(_describe(registration) for registration in registrations(kind).values())


def _options(options: type[Any], given: Mapping[str, str], recorded: Mapping[str, Any] | None, owner: str) -> Any:
    if recorded is not None:
        return options_from_values(options, recorded, owner)
    return options_from_text(options, given, owner)


# --------------------------------------------------------------------------------------------- checks


def _construct(kind: Kind, name: str, cls: type[Any], *arguments: Any) -> Any:
    from syncdiff_bench.errors import BenchError

    try:
        return cls(*arguments)
    except BenchError:
        raise
    except Exception as error:
        raise _unusable(registrations(kind)[name], _one_line(error)) from error


def _unusable(registration: Registration, problem: str) -> UsageError:
    owner = " and ".join(registration.distributions)
    return UsageError(f"{registration.kind} {registration.name!r} of distribution {owner} cannot be used: {problem}")


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _contract_problem(kind: Kind, name: str, loaded: Any) -> str:
    """What keeps a loaded object from being a plugin, in words; empty where nothing does."""
    from syncdiff_bench import contracts

    base: type[Any] = getattr(contracts, kind.capitalize())
    if not (inspect.isclass(loaded) and issubclass(loaded, base)):
        return f"{loaded!r} is not a subclass of syncdiff_bench.contracts.{base.__name__}"
    if inspect.isabstract(loaded):
        missing = ", ".join(sorted(getattr(loaded, "__abstractmethods__", ())))
        return f"{loaded.__name__} does not implement {missing}"
    if getattr(loaded, "name", None) != name:
        return f"{loaded.__name__}.name is {getattr(loaded, 'name', None)!r}, its entry point says {name!r}"
    if not is_dataclass(getattr(loaded, "Options", None)):
        return f"{loaded.__name__}.Options is not a dataclass"
    return _metric_problem(loaded) if kind == "metric" else ""


def _metric_problem(cls: type[Any]) -> str:
    from syncdiff_bench.contracts import Column, Need

    columns = getattr(cls, "columns", ())
    if not columns or not all(isinstance(column, Column) for column in columns):
        return f"{cls.__name__}.columns is not a tuple of at least one Column"
    if not is_dataclass(getattr(cls, "Stats", None)):
        return f"{cls.__name__}.Stats is not a dataclass"
    unknown = set(cls.needs) - set(get_args(Need))
    return f"{cls.__name__}.needs names {', '.join(sorted(unknown))}" if unknown else ""


def _describe(registration: Registration) -> Description:
    owner = ", ".join(registration.distributions)
    try:
        cls = _load(registration)
        metric = _metric_facts(cls) if registration.kind == "metric" else {}
    except _UnusableError as error:
        return Description(registration.name, "", owner, status=str(error))
    # A property of a third-party class may raise anything; it must not end the list.
    except Exception as error:
        return Description(registration.name, "", owner, status=_one_line(error))
    options = tuple(cls.Options.__dataclass_fields__)
    title = cls.title or (inspect.getdoc(cls) or "").partition("\n")[0]
    return Description(registration.name, title, owner, options=options, **metric)


def _metric_facts(cls: type[Any]) -> dict[str, Any]:
    return {
        "protocol": cls().protocol,
        "columns": tuple((c.label, "↑" if c.direction == "up" else "↓", c.unit) for c in cls.columns),
        "needs": tuple(sorted(cls.needs)),
        "source": cls.source,
    }
