"""What every plugin has to be, whatever it does, and what it has to say about its weights."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar
from unittest import SkipTest
from weakref import WeakKeyDictionary

from syncdiff_bench.contracts import Dataset, Method, Metric
from syncdiff_bench.errors import BenchError, ClipError, NotApplicable, WeightsError
from syncdiff_bench.options import options_from_values, options_to_json

T = TypeVar("T")
Plugin = Method | Metric[Any] | Dataset

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
# What `syncdiff-bench list` must not wait for.
HEAVY = ("torch", "tensorflow", "jax", "diffusers", "transformers", "skimage", "scipy", "cv2", "pandas", "librosa")
# Looking again may mean another attempt to fetch a large file.
_unready: WeakKeyDictionary[Metric[Any], BenchError] = WeakKeyDictionary()


class Skipped(SkipTest):
    """This machine lacks what a check needs: neither passed nor failed. pytest and unittest skip the test."""


def only_for(applies_to: Callable[[Any], bool]) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """A decorator: the check says nothing about other plugins, and is not listed for them."""

    def marked(function: Callable[[Any], None]) -> Callable[[Any], None]:
        function.applies_to = applies_to  # type: ignore[attr-defined]
        return function

    return marked


def or_refusal(function: Callable[[], T], *passed: type[Exception]) -> T | ClipError:
    """What it returns, or the ClipError that it raises. Raises AssertionError for any other that is not `passed`."""
    try:
        return function()
    except ClipError as refusal:
        return refusal
    except passed:
        raise
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} was raised, not a ClipError: {error}") from error


def check_name(plugin: Plugin) -> None:
    """`name` is a short slug: lower case letters, digits, dot, dash, underscore."""
    assert isinstance(plugin.name, str) and NAME.fullmatch(plugin.name), f"name is {plugin.name!r}"


def check_options(plugin: Plugin) -> None:
    """`Options` is a frozen dataclass whose every field has a default, so that the plugin runs without any."""
    options: type[Any] = plugin.Options
    assert is_dataclass(options), f"Options is {options!r}, not a dataclass"
    assert options.__dataclass_params__.frozen, "Options is not frozen: @dataclass(frozen=True)"  # type: ignore[attr-defined]
    try:
        options()
    except TypeError as error:
        raise AssertionError(f"Options cannot be built without arguments: {error}") from None


def check_options_are_known_kinds(plugin: Plugin) -> None:
    """Every option can be given on the command line and comes back from run.json as it was."""
    default = plugin.Options()
    record = options_to_json(default)
    assert options_from_values(plugin.Options, record, plugin.name) == default, f"options change on their way: {record}"
    assert set(record) >= {field.name for field in fields(default)}, f"options are missing from {sorted(record)}"


def check_copies(plugin: Plugin) -> None:
    """The plugin can be copied (and so pickled) before its first use, for worker processes."""
    try:
        copied = copy.deepcopy(plugin)
    except Exception as error:
        raise AssertionError(f"deepcopy failed ({error}); open files and locks on first use, not in __init__") from None
    assert copied.options == plugin.options, "the copy has other options"


def check_import_is_light(plugin: Plugin) -> None:
    """Importing the plugin's module loads nothing heavy; import torch and its like inside functions."""
    module = type(plugin).__module__
    if module == "__main__":
        return  # a notebook: there is no module to import
    complaint, heavy = _imported_alone(module)
    assert not complaint, f"{module} cannot be imported alone: {complaint}"
    assert not heavy, f"importing {module} loads {heavy}"


@only_for(lambda plugin: not isinstance(plugin, Dataset))
def check_weights_used(plugin: Method | Metric[Any]) -> None:
    """`weights_used` names each file with the sha256 of its bytes: one of the weights store, or `file` says where."""
    from syncdiff_bench.weights.digests import sha256_of

    if isinstance(plugin, Metric):
        prepare(plugin)
    store = _store(plugin)
    for used in plugin.weights_used():
        assert used.name, f"{used} has no name"
        assert isinstance(used.sha256, str) and SHA256.fullmatch(used.sha256), (
            f"weights {used.name}: {used.sha256!r} is no sha256 (64 hexadecimal digits, lower case)"
        )
        file = used.file
        if file is None:
            assert used.name in store.catalogue.entries, (
                f"weights {used.name}: no catalogue knows the name, so nothing shows that {used.sha256[:12]}... is the "
                "digest of a file; say where it is: WeightsUsed(name, sha256, file)"
            )
            file = store.folder / store.catalogue[used.name].file
        assert file.is_file(), f"weights {used.name}: {file} is not there, so it cannot have been used"
        found = sha256_of(file)
        assert used.sha256 == found, f"weights {used.name}: {used.sha256[:12]}... is not the sha256 of {file}: {found}"


def prepare(metric: Metric[Any]) -> None:
    """Raises WeightsError as the metric does, Skipped where it says that it is not applicable here."""
    try:
        if metric in _unready:
            raise _unready[metric]
        metric.prepare()
    except NotApplicable as error:
        _unready[metric] = error
        raise Skipped(one_line(error)) from None
    except WeightsError as error:
        _unready[metric] = error
        raise


def truly_missing(error: WeightsError, plugin: Plugin) -> str:
    """The reason why a check is skipped. Raises AssertionError where nothing that could be fetched is missing."""
    name, store = error.missing, _store(plugin)
    assert name in store.catalogue.entries, (
        f"says that weights {name!r} are missing, which no catalogue knows: register a weights.toml ({one_line(error)})"
    )
    file = store.folder / store.catalogue[name].file
    assert not file.is_file(), f"says that weights {name} are missing, but {file} is there ({one_line(error)})"
    return one_line(error)


def one_line(error: BaseException) -> str:
    """Raises AssertionError where there is no reason, or one of several lines."""
    reason = str(error).strip()
    assert reason, f"{type(error).__name__} gives no reason"
    assert "\n" not in reason, f"the reason has several lines: {reason}"
    return reason


def _store(plugin: Plugin) -> Any:
    from syncdiff_bench.weights.store import WeightsStore

    runtime = getattr(plugin, "runtime", None)
    return WeightsStore() if runtime is None or runtime.weights is None else runtime.weights


@cache
def _imported_alone(module: str) -> tuple[str, str]:
    """In a fresh interpreter: the last line of its complaint, and the heavy modules that came along."""
    code = f"import sys; __import__({module!r}); print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return (lines[-1] if done.returncode else ""), done.stdout.strip()
