"""What every plugin has to be, whatever it does."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from syncdiff_bench.testing.checks import Plugin

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
# What `syncdiff-bench list` must not wait for.
HEAVY = ("torch", "tensorflow", "jax", "diffusers", "transformers", "skimage", "scipy", "cv2", "pandas", "librosa")


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
    from syncdiff_bench.options import options_from_values, options_to_json

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


@cache
def _imported_alone(module: str) -> tuple[str, str]:
    """In a fresh interpreter: the last line of its complaint, and the heavy modules that came along."""
    code = f"import sys; __import__({module!r}); print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return (lines[-1] if done.returncode else ""), done.stdout.strip()
