"""A check, and which checks a plugin has to pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from syncdiff_bench.contracts import Dataset, Method, Metric

if TYPE_CHECKING:
    import pytest

Plugin = Method | Metric[Any] | Dataset


@dataclass(frozen=True)
class Check:
    """name: stable, such as "same-seed-same-frames". about: what it demands, in one line. Calling it runs it."""

    name: str
    about: str
    run: Callable[[], None]

    def __call__(self) -> None:
        self.run()

    def __repr__(self) -> str:
        return self.name


def checks_of(plugin: Plugin) -> tuple[Check, ...]:
    """Every check for a plugin of this kind, cheap ones first.

    Raises TypeError for anything that is not a Method, Metric or Dataset.
    """
    return tuple(_checks(plugin))


def parametrize_with_checks(plugin: Plugin) -> pytest.MarkDecorator:
    """A decorator for a test that takes the argument `check`; one test per check, named after it."""
    import pytest

    checks = checks_of(plugin)
    return pytest.mark.parametrize("check", checks, ids=[check.name for check in checks])


def _checks(plugin: Plugin) -> Iterator[Check]:
    from syncdiff_bench.testing import dataset_checks, method_checks, metric_checks, plugin_checks

    if isinstance(plugin, Method):
        rooms: tuple[Any, ...] = (plugin_checks, method_checks)
    elif isinstance(plugin, Metric):
        rooms = (plugin_checks, metric_checks)
    elif isinstance(plugin, Dataset):
        rooms = (plugin_checks, dataset_checks)
    else:
        raise TypeError(f"{plugin!r} is not a Method, Metric or Dataset")
    for room in rooms:
        for name, function in vars(room).items():
            if name.startswith("check_"):
                about = " ".join((function.__doc__ or "").split())
                yield Check(name.removeprefix("check_").replace("_", "-"), about, _bound(function, plugin))


def _bound(function: Callable[[Any], None], plugin: Plugin) -> Callable[[], None]:
    def run() -> None:
        function(plugin)

    return run
