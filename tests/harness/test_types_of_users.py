"""Types as a user's script sees them after README's `pip install -e .`, whose hook hides the sources from checkers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
LINKED = ("build_backend", "syncdiff_bench", "methods", "metrics", "datasets", "leaderboards")
BUILD = (
    "import sys; sys.path.insert(0, 'build_backend')\nimport editable_types; editable_types.build_editable(sys.argv[1])"
)

RIGHT = """
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import syncdiff_bench
from syncdiff_bench import compare, load_dataset, load_method, load_run, report, run
from syncdiff_bench.contracts import Clip, Frames, Method
from syncdiff_metrics import PSNR


class Mirror(Method):
    name = "mirror"

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda n: None
    ) -> Iterator[tuple[str, Frames]]:
        for clip in clips:
            yield clip.id, clip.frames[:, :, ::-1]


dataset = load_dataset("pocket")
clip = dataset.clip(dataset.clip_ids("test")[0])
frames = load_method("static")(clip)
height: int = frames.shape[1]
done = run(Mirror(), limit=3, metrics="psnr", out="runs")
several = run(["gt", "static", Mirror], metrics=[PSNR(), PSNR, "ssim"], out="runs")
reveal_type(done)
reveal_type(several)
reveal_type(several["gt"].to_pandas())
reveal_type(report(several))
reveal_type(compare(several["static"], done).columns[0].delta)
reveal_type(PSNR()(frames, clip.frames, boxes=np.array([32, 32, 128, 128]))["psnr"])
reveal_type(load_run("runs/mirror").summary[0].mean)
reveal_type(syncdiff_bench.__version__)
"""
REVEALED = ("Run", "Runs", "DataFrame", "Report", "float | None", "float | None", "float | None", "str")

WRONG = """
import syncdiff_bench
from syncdiff_bench import rnu, run
from syncdiff_metrics import PSRN
syncdiff_bench.raport()
run("static", limt=3)
run(3)
run("static").finnished
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment in which the project is installed as `pip install -e .` does it."""
    pytest.importorskip("setuptools", "77")
    folder = tmp_path_factory.mktemp("types")
    source, wheel = folder / "source", folder / "wheel"
    source.mkdir()
    wheel.mkdir()
    for name in COPIED:
        shutil.copy(ROOT / name, source / name)
    for name in LINKED:
        (source / name).symlink_to(ROOT / name, target_is_directory=True)
    subprocess.run([sys.executable, "-c", BUILD, str(wheel)], cwd=source, capture_output=True, check=True)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (found,) = wheel.glob("*.whl")
    with ZipFile(found) as archive:
        archive.extractall(site)
        record = archive.read(next(name for name in archive.namelist() if name.endswith("RECORD"))).decode()
    assert "__syncdiff_bench_types.pth,sha256=" in record
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "venv" / "bin" / "python"


def checked(command: list[str], text: str, folder: Path) -> str:
    """What a type checker says about a script, in a folder that has nothing to do with the project."""
    (folder / "script.py").write_text(text, encoding="utf-8")
    done = subprocess.run([*command, "script.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


def mypy_of(python: Path, folder: Path) -> list[str]:
    pytest.importorskip("mypy")
    return [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(folder.parent),
        "--python-executable",
        str(python),
    ]


@pytest.mark.slow
def test_mypy_knows_the_types_of_a_right_script(python: Path, tmp_path: Path) -> None:
    said = checked(mypy_of(python, python.parent), RIGHT, tmp_path)
    assert "Success: no issues found" in said
    types = re.findall(r'Revealed type is "(?:[\w.]*\.)?([^"]*)"', said)
    assert tuple(types) == REVEALED


@pytest.mark.slow
def test_mypy_sees_what_is_wrong_in_a_script(python: Path, tmp_path: Path) -> None:
    said = checked(mypy_of(python, python.parent), WRONG, tmp_path)
    lines = sorted({int(number) for number in re.findall(r"^script.py:(\d+): error", said, flags=re.MULTILINE)})
    assert lines == [3, 4, 5, 6, 7, 8]
    assert "import-not-found" not in said


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pyright") is None, reason="pyright is not installed")
def test_pyright_knows_the_same(python: Path, tmp_path: Path) -> None:
    pyright = ["pyright", "--pythonpath", str(python)]
    said = checked(pyright, RIGHT, tmp_path)
    assert "0 errors" in said
    assert tuple(re.findall(r'Type of ".*" is "(.*)"', said)) == REVEALED
    said = checked(pyright, WRONG, tmp_path)
    lines = sorted({int(number) for number in re.findall(r"script.py:(\d+):\d+ - error", said)})
    assert lines == [3, 4, 5, 6, 7, 8]


def test_python_finds_the_sources_as_before(python: Path, tmp_path: Path) -> None:
    """The folder for type checkers is on the path, and nothing can be imported from it."""
    code = (
        "import sys, syncdiff_bench, syncdiff_metrics, importlib.util as u\n"
        "print(syncdiff_bench.__file__, syncdiff_metrics.__file__, sum('.types' in one for one in sys.path))\n"
        "names = 'methods', 'metrics', 'tests', 'build_backend', 'editable_types'\n"
        "print([name for name in names if u.find_spec(name)])"
    )
    done = subprocess.run([python, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    files = f"{ROOT}/syncdiff_bench/__init__.py {ROOT}/metrics/syncdiff_metrics/__init__.py 1"
    assert done.stdout.splitlines() == [files, "[]"]
