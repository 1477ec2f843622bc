"""`syncdiff-bench plugin new`: each kind is written, typed, installed, run, tested by itself, and gone again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from console import refusal

from syncdiff_bench.cli import main

pytestmark = pytest.mark.usefixtures("work_folder")
ROOT = Path(__file__).resolve().parents[2]
SOURCES = [str(ROOT / folder) for folder in (".", "methods", "metrics", "datasets", "leaderboards")]


def test_new_plugins_pass_their_own_tests(tmp_path: Path) -> None:
    kinds = ("method", "metric", "dataset")
    for kind in kinds:
        assert main(["plugin", "new", kind, f"my-{kind}"]) == 0
        package = tmp_path / f"my-{kind}"
        files = sorted(path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file())
        assert files == ["README.md", f"my_{kind}.py", "pyproject.toml", f"tests/test_my_{kind}.py"]
        assert not any("$" in path.read_text() for path in package.rglob("*.py"))
    packages = [f"my-{kind}" for kind in kinds]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *packages],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*packages, *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert all(f"test_my_{kind}.py::" in done.stdout for kind in kinds)


@pytest.mark.parametrize("name", ["My-Method", "2fast", "a_b", "../up", "class", "a--b", ""])
def test_a_name_that_cannot_be_imported_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no name for a plugin" in refusal(capsys, ["plugin", "new", "method", name])
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    assert "exists already" in refusal(capsys, ["plugin", "new", "metric", "mine"])
    assert list((tmp_path / "mine").iterdir()) == []


class Machine:
    """A fresh virtual environment that sees this one's packages, and this checkout as if it were installed."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        self.folder = folder
        (self.site,) = (folder / "venv").glob("lib/python*/site-packages")
        installed = [path for path in sys.path if path.endswith("site-packages")]
        (self.site / "parent.pth").write_text("\n".join([*installed, *SOURCES]) + "\n")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SYNCDIFF_BENCH_HOME": str(self.folder / "home")}
        environment.pop("PYTHONPATH", None)
        return subprocess.run(
            [str(self.python), "-m", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def install(self, package: str) -> None:
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
        done = self.run("pip", "install", *options, f"--target={self.site}", package)
        assert done.returncode == 0, done.stderr

    def uninstall(self, name: str) -> None:
        for path in self.site.glob(f"{name.replace('-', '_')}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.slow
def test_new_plugins_are_installed_run_and_uninstalled(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for kind in ("method", "metric", "dataset"):
        assert machine.run("syncdiff_bench", "new", kind, f"a-{kind}").returncode == 0
        machine.install(f"./a-{kind}")
    run = machine.run(
        *("syncdiff_bench", "run", "--method", "a-method", "--dataset", "pocket", "--limit", "2"),
        *("--metrics", "psnr,a-metric", "--out", "runs"),
    )
    assert run.returncode == 0, run.stderr
    assert "a-method" in run.stdout and "AMetric" in run.stdout
    listed = machine.run("syncdiff_bench", "list", "datasets").stdout
    assert "a-dataset" in listed
    checked = machine.run("syncdiff_bench", "check-plugin", "a-method")
    assert checked.returncode == 0 and "18 passed" in checked.stdout
    for kind in ("method", "metric", "dataset"):
        machine.uninstall(f"a-{kind}")
        assert f"a-{kind}" not in machine.run("syncdiff_bench", "list", f"{kind}s").stdout
