"""The walls of the house: which room may import which, and what no file may do.

Each guard stands for a trap that was met: see docs/architecture.md.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN_PACKAGES = ("syncdiff_methods", "syncdiff_metrics", "syncdiff_datasets", "syncdiff_leaderboards")
ROOMS = {
    "syncdiff_bench": ROOT / "syncdiff_bench",
    "syncdiff_methods": ROOT / "methods" / "syncdiff_methods",
    "syncdiff_metrics": ROOT / "metrics" / "syncdiff_metrics",
    "syncdiff_datasets": ROOT / "datasets" / "syncdiff_datasets",
    "syncdiff_leaderboards": ROOT / "leaderboards" / "syncdiff_leaderboards",
}
SOURCE_ROOTS = ("methods", "metrics", "datasets", "leaderboards", "tests")
MAX_LINES = 450
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib"}
TRUSTED_LOADER = ROOT / "syncdiff_bench" / "weights" / "loading.py"


@cache
def python_files(*folders: Path) -> tuple[Path, ...]:
    found = (path for folder in folders for path in folder.rglob("*.py"))
    return tuple(sorted(path for path in found if "__pycache__" not in path.parts))


@cache
def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_modules(path: Path) -> Iterator[str]:
    """Absolute names of everything that a file imports, inside functions as well."""
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
        elif isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in (
            "import_module",
            "__import__",
        ):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ------------------------------------------------------------------------------------------- packaging


@pytest.mark.parametrize("folder", SOURCE_ROOTS)
def test_a_source_root_is_no_package(folder: str) -> None:
    """`datasets/__init__.py` would shadow a well-known distribution of that name."""
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()


def test_tests_hold_no_packages() -> None:
    """With import-mode=importlib a test folder is no package; then test files need unique names."""
    files = python_files(ROOT / "tests")
    assert [relative(path) for path in files if path.name == "__init__.py"] == []
    names = [path.name for path in files if path.name != "conftest.py"]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_our_folders_do_not_leak_into_other_programs(tmp_path: Path) -> None:
    """An install that puts the repository root on sys.path makes `import datasets` find our folder."""
    code = (
        "import importlib.util, json\n"
        "def origins(name):\n"
        "    spec = importlib.util.find_spec(name)\n"
        "    return [] if spec is None else [spec.origin or '', *(spec.submodule_search_locations or [])]\n"
        f"print(json.dumps({{name: origins(name) for name in {SOURCE_ROOTS!r}}}))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    safe_path = ["-P"] if sys.version_info >= (3, 11) else []
    done = subprocess.run(
        [sys.executable, *safe_path, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    ours = {
        name: [origin for origin in origins if Path(origin).resolve().is_relative_to(ROOT / name)]
        for name, origins in json.loads(done.stdout).items()
    }
    assert ours == {name: [] for name in SOURCE_ROOTS}


# --------------------------------------------------------------------------------------------- imports


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("syncdiff_bench", PLUGIN_PACKAGES),
        ("syncdiff_methods", ("syncdiff_metrics", "syncdiff_datasets", "syncdiff_leaderboards")),
        ("syncdiff_metrics", ("syncdiff_methods", "syncdiff_datasets", "syncdiff_leaderboards")),
        ("syncdiff_datasets", ("syncdiff_methods", "syncdiff_metrics", "syncdiff_leaderboards")),
        ("syncdiff_leaderboards", ("syncdiff_methods", "syncdiff_metrics", "syncdiff_datasets")),
    ],
)
def test_rooms_do_not_import_each_other(room: str, forbidden: tuple[str, ...]) -> None:
    """The harness knows no plugin, and plugins meet only in the harness."""
    files = python_files(ROOMS[room])
    assert files
    breaches = [
        f"{relative(path)} imports {module}"
        for path in files
        for module in imported_modules(path)
        if module.split(".")[0] in forbidden
    ]
    assert breaches == []


# ----------------------------------------------------------------------------------------------- files


def test_no_module_without_a_subject() -> None:
    files = python_files(*ROOMS.values(), ROOT / "tests")
    names = [(path, part) for path in files for part in (*path.relative_to(ROOT).parts[:-1], path.stem)]
    assert [relative(path) for path, part in names if part in EMPTY_NAMES] == []


def test_files_stay_readable() -> None:
    lengths = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files(*ROOMS.values(), ROOT / "tests")
    }
    assert {name: length for name, length in lengths.items() if length >= MAX_LINES} == {}


# -------------------------------------------------------------------------------------------- security


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def unsafe_reads(path: Path) -> list[str]:
    """Places in a file that may run what a data file says."""
    found = []
    for node in ast.walk(syntax(path)):
        line = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom) and node.module:
            imported = {alias.name for alias in node.names}
            if node.module.split(".")[0] in UNPICKLING and imported & {"load", "loads", "Unpickler"}:
                found.append(f"{line} from {node.module} import ...")
            if node.module == "torch" and "load" in imported:
                found.append(f"{line} from torch import load")
        elif isinstance(node, ast.Attribute):
            root, _, name = dotted(node).rpartition(".")
            if (root in UNPICKLING and name in ("load", "loads", "Unpickler")) or (root, name) == (
                "torch",
                "load",
            ):
                found.append(f"{line} {root}.{name}")
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and not is_false(node.value):
            found.append(f"{line} allow_pickle")
    return found


def test_only_the_weights_loader_unpickles() -> None:
    files = [path for path in python_files(*ROOMS.values()) if path != TRUSTED_LOADER]
    assert [f"{relative(path)}: {place}" for path in files for place in unsafe_reads(path)] == []


@pytest.mark.parametrize(
    "line",
    [
        "import torch; torch.load('x')",
        "from torch import load",
        "import pickle; pickle.loads(b'')",
        "import pickle; f = pickle.Unpickler",
        "from pickle import load",
        "import numpy as np; np.load('x', allow_pickle=True)",
    ],
)
def test_the_security_guard_sees(tmp_path: Path, line: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(line)
    assert unsafe_reads(path)


def test_the_security_guard_lets_safe_reads_pass(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("import json, numpy as np\njson.load(f); np.load('x', allow_pickle=False); model.load('y')\n")
    assert unsafe_reads(path) == []
