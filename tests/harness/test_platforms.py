"""Nothing in the packages needs Linux: what one system lacks is called in platforms.py alone, text has an encoding."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from syncdiff_bench import platforms

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [ROOT / "syncdiff_bench", *(ROOT / root for root in ("methods", "metrics", "datasets", "leaderboards"))]
ONLY_PLACE = "syncdiff_bench/platforms.py"
# Missing on Windows or macOS, or with another meaning there (os.kill ends a process, os.rename replaces nothing).
LACKING = re.compile(
    r"os\.("
    r"fork|forkpty|kill|killpg|getpgid|setsid|setpgid|getuid|geteuid|getgid|sched_getaffinity|"
    r"sched_setaffinity|sysconf|statvfs|uname|getloadavg|nice|wait|wait3|wait4|mkfifo|mknod|"
    r"chown|fchown|lchown|fchmod|chroot|pread|pwrite|posix_fadvise|posix_fallocate|symlink|link|"
    r"readlink|rename|open|ttyname|openpty|sync|fdatasync"
    r")|signal\.("
    r"SIGKILL|SIGALRM|SIGHUP|SIGQUIT|SIGUSR1|SIGUSR2|SIGCHLD|SIGPIPE|alarm|setitimer|pause|"
    r"pthread_kill|pthread_sigmask|sigwait"
    r")"
)
ALLOWED = {("syncdiff_bench/cli/__init__.py", "os.open")}  # of os.devnull, which is there on every system
LACKING_METHODS = {"symlink_to", "hardlink_to", "readlink", "rename", "owner", "group", "lchmod"}
LACKING_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix", "crypt", "readline"}
LINUX_PATH = re.compile(r"/(dev|proc|sys|tmp|etc|usr|bin|home)(/|$)")
TEXT_MODE = re.compile(r"[rwaxt+]+")
OTHER_OPENS = {"av", "Image", "tarfile", "wave", "zipfile", "webbrowser"}  # `open` of these takes no encoding


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def constant(node: ast.expr | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def guarded(tree: ast.AST) -> set[ast.AST]:
    """What stands in a block that asks first: `if hasattr(os, "killpg")`, `if os.name != "nt"`."""
    asking = (node for node in ast.walk(tree) if isinstance(node, (ast.If, ast.IfExp)))
    asks = (
        node for node in asking if re.search(r"hasattr\((os|signal)|os\.name|sys\.platform", ast.unparse(node.test))
    )
    return {inner for node in asks for inner in ast.walk(node)}


def told(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what it is) of everything that would not work on every system, or would differ there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and LACKING.fullmatch(dotted(node)):
            yield node.lineno, dotted(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from ((node.lineno, f"import {name}") for name in names if name.partition(".")[0] in LACKING_MODULES)
            if isinstance(node, ast.ImportFrom):
                full = (f"{node.module}.{one.name}" for one in node.names)
                yield from ((node.lineno, name) for name in full if LACKING.fullmatch(name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and LINUX_PATH.match(node.value):
            yield node.lineno, repr(node.value)
        elif isinstance(node, ast.Call):
            yield from ((node.lineno, what) for what in told_of_call(node))


def told_of_call(call: ast.Call) -> Iterator[str]:
    options = {one.arg: one.value for one in call.keywords}
    if constant(options.get("shell")) is True:
        yield "shell=True"
    if {"preexec_fn", "pass_fds"} & options.keys():
        yield "preexec_fn or pass_fds"
    if constant(options.get("text")) is True and not {"encoding", "errors"} & options.keys():
        yield "text=True without encoding= or errors="
    if isinstance(call.func, ast.Name) and call.func.id == "open":
        yield "open() instead of Path.open"
    if not isinstance(call.func, ast.Attribute):
        return
    name, owner = call.func.attr, dotted(call.func.value)
    if name in LACKING_METHODS and owner != "self":
        yield f".{name}()"
    if name in ("read_text", "write_text") and "encoding" not in options:
        yield f".{name}() without encoding="
    mode = constant(call.args[0] if call.args else options.get("mode")) if call.args or "mode" in options else "r"
    textual = isinstance(mode, str) and TEXT_MODE.fullmatch(mode)
    if name == "open" and owner.split(".")[-1] not in OTHER_OPENS and textual and "encoding" not in options:
        yield ".open() without encoding="


@cache
def sources() -> dict[str, ast.Module]:
    files = [path for folder in PACKAGES for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in files}


def test_what_a_system_lacks_is_called_in_one_place() -> None:
    found = [(file, line, what) for file, tree in sources().items() for line, what in told(tree) if file != ONLY_PLACE]
    assert [f"{file}:{line}: {what}" for file, line, what in found if (file, what) not in ALLOWED] == []
    assert len(sources()) > 250


def test_there_it_asks_first() -> None:
    """Files that are not there, and links that may not be made, are seen by their OSError; the rest is asked for."""
    tree = sources()[ONLY_PLACE]
    asked = {(node.lineno, dotted(node)) for node in guarded(tree) if isinstance(node, ast.Attribute)}
    lacking = {(line, what) for line, what in told(tree) if what.startswith(("os.", "signal."))}
    after_return = {"os.killpg", "signal.SIGKILL"}  # behind `if not hasattr(os, "killpg"): ... return`
    assert {what for line, what in lacking - asked} - after_return == {"os.open"}  # of a folder: behind a return, too


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import os\nos.kill(pid, 0)", "os.kill"),
        ("from os import fork", "os.fork"),
        ("import fcntl", "import fcntl"),
        ("def f():\n    from resource import getrusage", "import resource"),
        ("import signal\nx = signal.SIGKILL", "signal.SIGKILL"),
        ("p = '/dev/null'", "'/dev/null'"),
        ("a.symlink_to(b)", ".symlink_to()"),
        ("a.rename(b)", ".rename()"),
        ("a.read_text()", ".read_text() without encoding="),
        ("a.write_text('x')", ".write_text() without encoding="),
        ("a.open('w')", ".open() without encoding="),
        ("a.open()", ".open() without encoding="),
        ("open(a)", "open() instead of Path.open"),
        ("run(a, text=True)", "text=True without encoding= or errors="),
        ("run(a, shell=True)", "shell=True"),
    ],
)
def test_each_kind_is_seen(code: str, what: str) -> None:
    assert what in [name for _, name in told(ast.parse(code))]


@pytest.mark.parametrize("code", ["a.open('rb')", "a.open('w', encoding='utf-8')", "tarfile.open(a)", "b'/dev/null'"])
def test_what_works_everywhere_is_not(code: str) -> None:
    assert list(told(ast.parse(code))) == []


def test_everything_is_imported_without_what_posix_alone_has() -> None:
    """After the libraries that we import, which are their authors' affair."""
    code = """
import importlib, json, pkgutil, sys
names = json.loads(sys.argv[1])
libraries = "torch torch.distributed av accelerate diffusers filelock psutil requests rich.progress pypi_simple pandas"
for name in (libraries + " skimage.metrics scipy.stats multiprocessing.connection tempfile tarfile").split():
    importlib.import_module(name)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
import os, signal
for name in ("fork", "killpg", "sched_getaffinity", "sysconf", "getuid", "setsid", "uname"):
    delattr(os, name) if hasattr(os, name) else None
del signal.SIGKILL
failed = {}
for name in names:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""
    modules = [file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in sources()]
    names = [re.sub(r"^(methods|metrics|datasets|leaderboards)\.", "", name) for name in modules]
    names = [name for name in names if not name.endswith("__main__")]
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(names)], capture_output=True, text=True, check=True, cwd=ROOT / "docs"
    )
    assert json.loads(done.stdout.splitlines()[-1]) == {}


def test_this_machine_in_figures() -> None:
    import psutil

    assert 1 <= platforms.cores() <= (psutil.cpu_count() or 1)
    assert platforms.memory_bytes() == psutil.virtual_memory().total


def test_a_file_is_copied_where_no_link_may_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    (tmp_path / "a").write_bytes(b"content")
    platforms.link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").is_symlink()
    monkeypatch.setattr(Path, "symlink_to", refused)
    platforms.link_or_copy(tmp_path / "a", tmp_path / "c")
    assert not (tmp_path / "c").is_symlink() and (tmp_path / "c").read_bytes() == b"content"
