"""The one reader of entry points: what is registered under which name, by whom, and whether it can be used.

The built-in plugins register through the same groups as all others. Nothing is imported before it is used. A broken
plugin, or a name that two distributions claim, is reported with the names of the distributions and takes nothing else
down.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from importlib.resources import files
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

from syncdiff_bench.errors import UsageError, one_line, shown
from syncdiff_bench.faults import contained, described
from syncdiff_bench.options import nearest

logger = logging.getLogger(__name__)

Kind = Literal["method", "metric", "dataset", "weights", "table", "acoustic_model", "trainer", "converter"]


@dataclass(frozen=True)
class Group:
    """A group of entry points.

    name: as a package's metadata have it.
    words: what a message calls one of its entries.
    contract: the base class of its entries, "module:Class"; "" for any factory.
    packages: its entries are packages that hold files.
    """

    name: str
    words: str
    contract: str = ""
    packages: bool = False


GROUPS: Mapping[Kind, Group] = {
    "method": Group("syncdiff_bench.methods", "method", "syncdiff_bench.contracts:Method"),
    "metric": Group("syncdiff_bench.metrics", "metric", "syncdiff_bench.contracts:Metric"),
    "dataset": Group("syncdiff_bench.datasets", "dataset", "syncdiff_bench.contracts:Dataset"),
    "weights": Group("syncdiff_bench.weights", "weights package", packages=True),
    "table": Group("syncdiff_bench.tables", "leaderboard package", packages=True),
    "acoustic_model": Group("syncdiff_bench.acoustic_models", "acoustic model"),
    "trainer": Group("syncdiff_bench.trainers", "trainer", "syncdiff_bench.training.task:TrainingTask"),
    "converter": Group("syncdiff_bench.converters", "checkpoint layout", "syncdiff_bench.conversion:Converter"),
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
    """A plugin in words.

    status: "ok", or why it cannot be used, in one line.
    needs: what a method wants of its user, or a metric of a clip.
    The rest is empty where it does not apply: protocol, columns (label, arrow, unit) and source are a metric's.
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
    for point in _points(GROUPS[kind].name):
        same_name = found.setdefault(point.name, [])
        # One distribution seen twice on sys.path is no conflict.
        if (point.value, distribution_of(point)) not in {(p.value, distribution_of(p)) for p in same_name}:
            same_name.append(point)
    return {name: Registration(kind, name, tuple(found[name])) for name in sorted(found)}


def _points(group: str) -> Iterator[EntryPoint]:
    """The entry points of a group; a distribution whose metadata cannot be read is told and takes no other down."""
    try:
        yield from entry_points(group=group)
        return
    except Exception:  # whatever a damaged entry_points.txt sets off in importlib.metadata
        logger.debug("entry points are read one distribution at a time", exc_info=True)
    for one in distributions():
        try:
            found = [point for point in one.entry_points if point.group == group]
        except Exception as error:
            logger.warning("the entry points of %s cannot be read: %s; reinstall it", _named(one), one_line(error))
            continue
        yield from found


def _named(distribution: Distribution | None) -> str:
    try:
        return (distribution and distribution.name) or "an unknown distribution"
    except Exception:  # its METADATA lack a name, or are none
        return "an unknown distribution"


def names(kind: Kind) -> tuple[str, ...]:
    """Registered names of a kind, usable or not, sorted; imports no plugin."""
    return tuple(registrations(kind))


def points(kind: Kind) -> tuple[EntryPoint, ...]:
    """The entry points of a kind, by name. For packages, which may share a name: what they hold has its own."""
    return tuple(point for one in registrations(kind).values() for point in one.points)


def packages(kind: Kind) -> tuple[str, ...]:
    """Importable names of packages of a kind, by name of their entry points; a broken one is logged and left out."""
    found = []
    for point in points(kind):
        try:
            with contained():
                point.load()
            found.append(point.value)
        except Exception as error:  # a third-party package may do anything on import
            logger.warning("%s of %s cannot be used: %s", GROUPS[kind].words, distribution_of(point), described(error))
    return tuple(dict.fromkeys(found))


def distribution_of(point: EntryPoint) -> str:
    """Name of the distribution that brought an entry point."""
    return _named(point.dist)


def load_class(kind: Kind, name: str) -> Any:
    """The plugin of that name: its class, or for an acoustic model whatever makes one.

    Raises UsageError for an unknown name (with the nearest one), a name claimed by several distributions, and a plugin
    that cannot be imported or breaks the contract.
    """
    known = registrations(kind)
    if name not in known and (kind, name) in _remembered:
        return _remembered[kind, name]
    if name not in known:
        words = GROUPS[kind].words
        raise UsageError(f"unknown {words} {shown(name)}{nearest(name, known, f'known {words}s')}")
    try:
        return _load(known[name])
    except _UnusableError as error:
        raise unusable(kind, name, str(error)) from error.__cause__


_remembered: dict[tuple[Kind, str], type[Any]] = {}


def remember(kind: Kind, name: str, cls: type[Any]) -> None:
    """Let a name that nobody registered mean this class, in this process."""
    _remembered[kind, name] = cls


def unusable(kind: Kind, name: str, problem: str) -> UsageError:
    """The error for a plugin that is at fault, with the distribution that brought it."""
    known = registrations(kind).get(name)
    owner = "" if known is None else f" of distribution {' and '.join(known.distributions)}"
    return UsageError(f"{GROUPS[kind].words} {name!r}{owner} cannot be used: {problem}")


def describe(kind: Kind) -> tuple[Description, ...]:
    """Every registered plugin of a kind; those that cannot be used say so in `status`."""
    return tuple(_describe(registration) for registration in registrations(kind).values())


def shipped_files(kind: Kind, folder: str, suffix: str) -> dict[str, Path]:
    """Files that plugins bring in a folder beside their module: "plugin/stem" -> path. Broken plugins bring none."""
    found: dict[str, Path] = {}
    for point in points(kind):
        try:
            with contained():
                beside = Path(str(files(point.module.rpartition(".")[0]) / folder))
        except Exception:  # a third-party package may do anything on import
            continue
        found.update({f"{point.name}/{path.stem}": path for path in sorted(beside.glob(f"*{suffix}"))})
    return dict(sorted(found.items()))


class _UnusableError(Exception):
    """Why a plugin cannot be used, without saying which."""


def _load(registration: Registration) -> Any:
    if len(registration.points) > 1:
        raise _UnusableError(f"{' and '.join(registration.distributions)} both register it; uninstall one")
    (point,) = registration.points
    try:
        with contained():
            loaded = point.load()
            problem = _problem(GROUPS[registration.kind], registration.name, loaded)
    # Whatever a third-party module does on import, SystemExit included, is that plugin's failure alone.
    except Exception as error:
        raise _UnusableError(described(error)) from error
    if problem:
        raise _UnusableError(problem)
    return loaded


def problem_of(kind: Kind, cls: type[Any]) -> str:
    """What keeps a class that nobody registered from being a plugin, in words; "" where nothing does."""
    return _problem(GROUPS[kind], getattr(cls, "name", ""), cls)


def _problem(group: Group, name: str, loaded: Any) -> str:
    """What keeps a loaded object from being a plugin, in words; empty where nothing does."""
    if not group.contract:
        return "" if group.packages or callable(loaded) else f"{loaded!r} makes nothing; name a class or a function"
    base = resolve_name(group.contract)
    if not (inspect.isclass(loaded) and issubclass(loaded, base)):
        return f"{loaded!r} is not a subclass of {group.contract.replace(':', '.')}"
    if inspect.isabstract(loaded):
        missing = ", ".join(sorted(getattr(loaded, "__abstractmethods__", ())))
        return f"{loaded.__name__} does not implement {missing}"
    if "name" in base.__annotations__ and getattr(loaded, "name", None) != name:
        return f"{loaded.__name__}.name is {getattr(loaded, 'name', None)!r}, its entry point says {name!r}"
    if not is_dataclass(getattr(loaded, "Options", None)):
        return f"{loaded.__name__}.Options is not a dataclass"
    declared = getattr(loaded, "declaration_problem", None)
    return "" if declared is None else str(declared())


def _describe(registration: Registration) -> Description:
    owner = ", ".join(registration.distributions)
    try:
        with contained():
            return _described(registration, owner)
    except _UnusableError as error:
        return Description(registration.name, "", owner, status=str(error))
    # A property of a third-party class may raise anything; it must not end the list.
    except Exception as error:
        return Description(registration.name, "", owner, status=described(error))


def _described(registration: Registration, owner: str) -> Description:
    if GROUPS[registration.kind].packages:
        for point in registration.points:
            point.load()
        return Description(registration.name, ", ".join(point.value for point in registration.points), owner)
    loaded = _load(registration)
    options = tuple(getattr(getattr(loaded, "Options", None), "__dataclass_fields__", ()))
    title = getattr(loaded, "title", "") or (inspect.getdoc(loaded) or "").partition("\n")[0]
    facts: dict[str, Any] = {}
    if registration.kind == "metric":
        facts = _metric_facts(loaded)
    elif registration.kind == "method":
        facts = {"needs": tuple(loaded.needs)}
    return Description(registration.name, str(title), owner, options=options, **facts)


def _metric_facts(cls: Any) -> dict[str, Any]:
    return {
        "protocol": cls().protocol,
        "columns": tuple((c.label, "↑" if c.direction == "up" else "↓", c.unit) for c in cls.columns),
        "needs": tuple(sorted(cls.requires)),
        "source": cls.source,
    }
