"""A check, which checks a plugin has to pass, and when one can only be skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

from syncdiff_bench.contracts import Dataset, Method, Metric
from syncdiff_bench.errors import UsageError, WeightsError

if TYPE_CHECKING:
    import pytest

Plugin = Method | Metric[Any] | Dataset


class Skipped(SkipTest):
    """This machine lacks what a check needs: neither passed nor failed. pytest and unittest skip the test."""


@dataclass(frozen=True)
class Check:
    """name: stable, such as "same-seed-same-frames". about: what it demands, in one line.

    Calling it runs it. Raises AssertionError, or whatever the plugin raises, where it fails; Skipped with the reason
    where weights or a package that the plugin needs are missing here.
    """

    name: str
    about: str
    run: Callable[[], None]

    def __call__(self) -> None:
        self.run()

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
    from syncdiff_bench.testing import dataset_checks, method_checks, metric_checks, plugin_checks, weights_checks

    if isinstance(plugin, Method):
        rooms: tuple[Any, ...] = (plugin_checks, method_checks, weights_checks)
    elif isinstance(plugin, Metric):
        rooms = (plugin_checks, metric_checks, weights_checks)
    elif isinstance(plugin, Dataset):
        rooms = (plugin_checks, dataset_checks)
    else:
        raise TypeError(f"{plugin!r} is not a Method, Metric or Dataset")
    for room in rooms:
        for name, function in vars(room).items():
            if name.startswith("check_") and getattr(function, "applies_to", _always)(plugin):
                about = " ".join((function.__doc__ or "").split())
                yield Check(name.removeprefix("check_").replace("_", "-"), about, _bound(function, plugin))


def only_for(applies_to: Callable[[Any], bool]) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """A decorator: the check says nothing about other plugins, and is not listed for them."""

    def marked(function: Callable[[Any], None]) -> Callable[[Any], None]:
        function.applies_to = applies_to  # type: ignore[attr-defined]
        return function

    return marked


def _always(_plugin: Plugin) -> bool:
    return True


def _bound(function: Callable[[Any], None], plugin: Plugin) -> Callable[[], None]:
    def run() -> None:
        from syncdiff_bench.testing.weights_checks import truly_missing

        try:
            function(plugin)
        except WeightsError as error:
            if error.missing is None:
                raise
            raise Skipped(truly_missing(error, plugin)) from None

    return run
