"""A folder to work in, and the toy plugins of tests/data, installed for tests in this process and in subprocesses."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncdiff_bench import registry

TOY_PLUGINS = Path(__file__).parents[1] / "data" / "toy_plugins"


@pytest.fixture
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with the folder of weights and caches in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def toy_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make `toy` and the `toy-*` plugins available; yields the folder that is on the path."""
    monkeypatch.syspath_prepend(str(TOY_PLUGINS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TOY_PLUGINS), os.environ.get("PYTHONPATH", "")]))
    importlib.invalidate_caches()
    registry.registrations.cache_clear()
    yield TOY_PLUGINS
    registry.registrations.cache_clear()
