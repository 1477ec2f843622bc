"""Which checks a plugin has to pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from syncdiff_bench.contracts import Dataset, Method, Metric
from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.testing import dataset_checks, method_checks, metric_checks, plugin_checks
from syncdiff_bench.testing.plugin_checks import Plugin, Skipped, truly_missing

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Check:
    """name: stable, such as "same-seed-same-frames". about: what it demands, in one line.

    Calling it runs it. Raises AssertionError, or whatever the plugin raises, where it fails; Skipped with the reason
    where weights or a package that the plugin needs are missing here.
    """

    name: str
    about: str
    function: Callable[[Any], None]
    plugin: Plugin

    def __call__(self) -> None:
        try:
            self.function(self.plugin)
        except WeightsError as error:
            if error.missing is None:
                raise
            raise Skipped(truly_missing(error, self.plugin)) from None

    def __repr__(self) -> str:
        return self.name


def checks_of(plugin: Plugin) -> tuple[Check, ...]:
    """Every check that has something to say about this plugin, cheap ones first.

    Raises TypeError for anything that is not a Method, Metric or Dataset, UsageError under `python -O`.
    """
    if not __debug__:
        raise UsageError("python -O leaves out the assert statements that the checks are made of; run it without -O")
    return tuple(_checks(plugin))


def parametrize_with_checks(plugin: Plugin) -> pytest.MarkDecorator:
    """A decorator for a test that takes the argument `check`; one test per check, named after it.

    A check that is Skipped is a skipped test with that reason (`pytest -rs` shows it).
    """
    import pytest

    checks = checks_of(plugin)
    return pytest.mark.parametrize("check", checks, ids=[check.name for check in checks])


def _checks(plugin: Plugin) -> Iterator[Check]:
    kinds = {Method: method_checks, Metric: metric_checks, Dataset: dataset_checks}
    own = next((room for kind, room in kinds.items() if isinstance(plugin, kind)), None)
    if own is None:
        raise TypeError(f"{plugin!r} is not a Method, Metric or Dataset")
    for room in (plugin_checks, own):
        for name, function in vars(room).items():
            applies_to = getattr(function, "applies_to", None)
            if name.startswith("check_") and (applies_to is None or applies_to(plugin)):
                about = " ".join((function.__doc__ or "").split())
                yield Check(name.removeprefix("check_").replace("_", "-"), about, function, plugin)
