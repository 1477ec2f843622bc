"""The walls of the house: which room may import which, and what no file may do.

Each guard stands for a trap that was met: see docs/architecture.md.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {
    "syncdiff_bench": ROOT / "syncdiff_bench",
    "syncdiff_methods": ROOT / "methods" / "syncdiff_methods",
    "syncdiff_metrics": ROOT / "metrics" / "syncdiff_metrics",
    "syncdiff_datasets": ROOT / "datasets" / "syncdiff_datasets",
    "syncdiff_leaderboards": ROOT / "leaderboards" / "syncdiff_leaderboards",
}
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SOURCE_ROOTS = ("methods", "metrics", "datasets", "leaderboards", "tests")
MAX_LINES = 400
FRONT_DOORS = ("syncdiff_bench", "syncdiff_bench.__main__")  # they import the API and the command line when asked
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


def may_import() -> dict[str, set[str]]:
    """The table of rooms in docs/architecture.md: room -> the rooms that its row names; in the order of the table."""
    table: dict[str, set[str]] = {}
    for line in ARCHITECTURE[ARCHITECTURE.index("| may import |") :].splitlines()[2:]:
        if not line.startswith("|"):
            break
        names, _, allowed = line.strip("|").split("|")
        rooms = {word for word in re.findall(r"[a-z_]+", allowed) if word not in ("numpy", "nothing")}
        table |= {Path(name).stem: rooms for name in re.findall(r"`([^`]+)`", names)}
    return table


def row_of(room: str, table: dict[str, set[str]]) -> set[str]:
    """The rooms of one row: they may import each other's files."""
    return {name for name in table if table[name] is table[room]}


def reachable(room: str, table: dict[str, set[str]]) -> set[str]:
    """What a room may import: its row, the rows that it names, and whatever those may import."""
    return row_of(room, table).union(*(reachable(below, table) for below in table[room]))


@cache
def module_names() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    return {
        ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for folder in ROOMS.values()
        for path in python_files(folder)
    }


def import_graph() -> dict[str, set[str]]:
    """module -> the modules of the project that it imports; inside functions and for type checkers as well."""
    graph: dict[str, set[str]] = {}
    for name, path in module_names().items():
        origins = [node for node in ast.walk(syntax(path)) if isinstance(node, ast.ImportFrom)]
        found = set(imported_modules(path)) - {node.module for node in origins}
        for node in origins:  # `from package import module` is an import of the module
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & module_names().keys()
            found |= inner or {node.module or ""}
        graph[name] = found & module_names().keys() - {name}
    return graph


def room_of(module: str) -> str:
    """As the table writes it: `runs`, `media`, `syncdiff_methods`."""
    package, *inner = module.split(".")
    return inner[0] if package == "syncdiff_bench" and inner else package


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring; none where there is no ring."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_room_has_a_row() -> None:
    rooms = {room_of(name) for name in module_names()} - {"syncdiff_bench", "__main__"}
    assert rooms == may_import().keys()
    assert set().union(*may_import().values()) <= rooms


def test_rooms_import_what_the_table_allows() -> None:
    """The harness knows no plugin, plugins meet only in the harness, and nothing imports upwards."""
    table = may_import()
    allowed = {room: reachable(room, table) for room in table}
    breaches = [
        f"{name} imports {imported}"
        for name, imports in import_graph().items()
        for imported in sorted(imports - {"syncdiff_bench"})
        if name not in FRONT_DOORS and room_of(imported) not in allowed[room_of(name)]
    ]
    assert breaches == []


def test_a_row_allows_only_rows_above_it() -> None:
    seen: set[str] = set()
    for room, allowed in may_import().items():
        assert allowed <= seen, room
        seen.add(room)


def test_no_import_goes_round_in_a_circle() -> None:
    graph = {name: imports for name, imports in import_graph().items() if name not in FRONT_DOORS}
    assert circle(graph) == []


def test_the_way_of_a_clip_is_short_and_leads_through_files_that_exist() -> None:
    way = ARCHITECTURE[ARCHITECTURE.index("## One clip's way") : ARCHITECTURE.index("## Rooms")]
    stops = re.findall(r"^\d+\. `([^`]+)`", way, flags=re.MULTILINE)
    assert 5 <= len(stops) <= 10
    assert len(set(stops)) == len(stops)
    assert [stop for stop in stops if not (ROOT / stop).is_file()] == []


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


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
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


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
