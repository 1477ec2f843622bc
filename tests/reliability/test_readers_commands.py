"""Commands over damaged files, and where nothing can be written: a documented exit code and one line, no traceback."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from reading import damaged_json, damaged_lines, read_all, short_and_long

from syncdiff_bench.cli import main

CLIPS = ["--limit", "2", "--metrics", "psnr"]
RUN = ["run", "--method", "static", *CLIPS, "--out", "runs"]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run of two clips and a baseline of it, in which the commands work."""
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNCDIFF_BENCH_OFFLINE", "1")
    monkeypatch.delenv("SYNCDIFF_BENCH_DEBUG", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(RUN) == 0
    assert main(["check", "runs/static", "--baseline", "base.json", "--update"]) == 0
    shutil.copytree("runs/static", "whole")
    return tmp_path


def told(arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code and stderr of a command in this process."""
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        code = main(list(arguments))
    return code, said.getvalue()


COMMANDS = {
    "report": ["report", "runs/static", "--format", "csv"],
    "compare": ["compare", "runs/static", "whole", "--resamples", "100"],
    "check": ["check", "runs/static", "--baseline", "base.json"],
    "paper tables": ["paper", "tables", "--table", "1", "runs/static"],
    "run": RUN,
}
Damage = Callable[[bytes], st.SearchStrategy[bytes]]


@short_and_long
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_over_a_damaged_run(work: Path, command: str, tries: int) -> None:
    """The copy of run.json beside it is what `run` goes on from."""
    each = max(2, tries // 8)
    for name in ("run.json", "scores.jsonl", "generation.jsonl"):
        damaged: Damage = damaged_json if name == "run.json" else damaged_lines
        strategy = damaged((work / "whole" / name).read_bytes())
        read_all(f"`{command}` over {name}", strategy, work / "runs" / "static" / name, _ends_plainly(command), each)
        shutil.rmtree("runs/static")
        shutil.copytree("whole", "runs/static")


def _ends_plainly(command: str) -> Callable[[Path], None]:
    def read(file: Path) -> None:
        content = file.read_bytes()
        code, said = told(COMMANDS[command])
        assert code in (0, 1, 2), said
        assert "Traceback" not in said
        if code == 2:
            assert [line for line in said.splitlines() if line.startswith("error: ")] == said.splitlines()[-1:]
        if command == "run":  # which mends
            shutil.rmtree(file.parent)
            shutil.copytree("whole", file.parent)
            file.write_bytes(content)

    return read


_closed: list[str] = []  # folders below which nothing can be written


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook, as root may write anywhere."""
    if not _closed:
        return
    paths: tuple[Any, ...] = ()
    if event == "open" and isinstance(arguments[0], str | bytes):
        flags = arguments[2] if isinstance(arguments[2], int) else 0
        paths = arguments[:1] if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else ()
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime"):
        paths = arguments[:1]
    elif event == "os.rename":
        paths = arguments[:2]
    for path in paths:
        if isinstance(path, str | bytes) and os.path.abspath(os.fsdecode(path)).startswith(tuple(_closed)):  # noqa: PTH100
            raise PermissionError(13, "Permission denied", os.fsdecode(path))


sys.addaudithook(_refuse)


@contextmanager
def nothing_written_below(folder: Path) -> Iterator[None]:
    _closed.append(str(folder.absolute()))
    try:
        yield
    finally:
        _closed.clear()


@pytest.mark.parametrize(
    "arguments",
    [
        [*RUN[:-1], "closed/runs"],
        [*RUN[:-1], "closed/made", "--fresh"],
        ["score", "closed/made/static", "--metrics", "ssim"],
        ["report", "runs/static", "--html", "closed/page.html"],
        ["report", "runs/static", "--strip", "closed/strip.png"],
        ["report", "runs/static", "--out", "closed/table.md"],
        ["check", "runs/static", "--baseline", "closed/base.json", "--update"],
        ["check", "runs/static", "--baseline", "base.json", "--junit", "closed/j.xml"],
        ["check", "runs/static", "--baseline", "base.json", "--summary", "closed/s.md"],
        ["plugin", "new", "method", "mine", "--out", "closed/mine"],
        ["weights", "add", "lpips-alex", "base.json", "--force"],
        ["paper", "tables", "--table", "1", "runs/static", "--out", "closed/t"],
        ["train", "syncdiff-autoencoder/pocket-autoencoder", "--out", "closed/training"],
        ["weights", "export", "syncdiff", "pocket", "closed/x.ckpt"],
    ],
    ids=lambda arguments: " ".join(arguments[:3]) + " " + arguments[-1],
)
def test_places_without_write_permission(work: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    closed = work / "closed"
    closed.mkdir()
    shutil.copytree("runs", "closed/made")
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(closed / "home"))
    with nothing_written_below(closed):
        code, said = told(arguments)
    assert code == 2, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("error: ")
