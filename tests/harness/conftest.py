"""A folder to work in, and the toys of tests/data, installed for tests in this process and in subprocesses."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncdiff_bench import registry
from syncdiff_bench.cli import main
from syncdiff_bench.report import paper

TOY_PLUGINS = Path(__file__).parents[1] / "data" / "toy_plugins"
TOY_BOARDS = Path(__file__).parents[1] / "data" / "toy_boards"


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


@pytest.fixture
def toy_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_plugins: Path) -> Iterator[Path]:
    """A copy of the toy leaderboard package and its trainings, installed; the working folder is empty, and $TOY_LOG
    says what was generated and trained.
    """
    folder = tmp_path / "plugins"
    shutil.copytree(TOY_BOARDS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "toy_boards" / "__init__.py").touch()  # tests hold no packages
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log.txt"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    _forget_boards()
    yield folder
    _forget_boards()


def _forget_boards() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_boards"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    registry.registrations.cache_clear()
    paper.package_tables.cache_clear()


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
