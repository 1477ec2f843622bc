"""A folder to work in, and the toy plugins of tests/data, installed for tests in this process and in subprocesses."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncdiff_bench import registry
from syncdiff_bench.cli import main

TOY_PLUGINS = Path(__file__).parents[1] / "data" / "toy_plugins"


@pytest.fixture
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with the folder of weights and caches in it; no network, no page of a CI to write to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNCDIFF_BENCH_OFFLINE", "1")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path


@pytest.fixture
def toy_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make `toy` and the `toy-*` plugins available; yields the folder that is on the path."""
    with toys_installed(monkeypatch):
        yield TOY_PLUGINS


@contextmanager
def toys_installed(patch: pytest.MonkeyPatch) -> Iterator[None]:
    patch.syspath_prepend(str(TOY_PLUGINS))
    patch.setenv("PYTHONPATH", os.pathsep.join([str(TOY_PLUGINS), os.environ.get("PYTHONPATH", "")]))
    importlib.invalidate_caches()
    registry.registrations.cache_clear()
    yield
    registry.registrations.cache_clear()


@pytest.fixture(scope="session")
def toy_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for tests to copy: of `toy`, toy-noise with errors of 3 and toy-truth with none, in runs/toy-test/, and
    toy-noise with errors of 4 in a/ and of 9 in b/.
    """
    folder = tmp_path_factory.mktemp("toy_runs")
    common = ["--dataset", "toy", "--metrics", "toy-error"]
    with pytest.MonkeyPatch.context() as patch, toys_installed(patch):
        patch.chdir(folder)
        patch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        assert main(["run", "--method", "toy-noise", *common, "--set", "shift=3"]) == 0
        assert main(["run", "--method", "toy-truth", *common]) == 0
        for out, shift in (("a", 4), ("b", 9)):
            assert main(["run", "--method", "toy-noise", *common, "--set", f"shift={shift}", "--out", out]) == 0
    return folder
