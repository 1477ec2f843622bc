"""README, docs and docstrings do what they show: their files are written, their commands run, their output compared.

On every page, in order and in one empty folder:

* ```console: each line after `$ ` is run; what stands below it is what it prints (`...` is anything, nothing is not
  compared). A command may fail only where `echo $?` follows.
* a block with title="FILE" is written to FILE; ```python without a title is executed, and plugins in it are held to
  the conformance suite; ```pycon is a doctest.
* ```sh is for what cannot run here: test_documentation_commands.py parses it.

UPDATE_DOCUMENTATION=1 writes what was printed into the page; lines with a `...` that still fits stay.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncdiff_bench import registry
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Dataset, Method, Metric
from syncdiff_bench.report.writers.raised import SUPERSCRIPTS
from syncdiff_bench.testing import checks_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
}
BLOCK = re.compile(r'^```(\w+)(?: title="(\S+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
STEP = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
RUNNABLE = [
    name
    for name, path in PAGES.items()
    if {"console", "python", "pycon"} & {language for language, _, _ in BLOCK.findall(path.read_text(encoding="utf-8"))}
]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def agree(shown: str, printed: str) -> bool:
    return doctest.OutputChecker().check_output(shown, printed, FLAGS)


def exit_code_of(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


class Screen(io.StringIO):
    """What a reader has: a terminal, as far as a command asks."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Page:
    """A page being carried out in the working folder."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.text = path, path.read_text(encoding="utf-8")
        self.monkeypatch = monkeypatch
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.exit_code = 0

    def carry_out(self) -> None:
        for language, title, text in BLOCK.findall(self.text):
            if title:
                Path(title).parent.mkdir(parents=True, exist_ok=True)
                Path(title).write_text(text, encoding="utf-8")
            elif language == "console":
                self.console(text)
            elif language == "python":
                self.python(text)
            elif language == "pycon":
                self.doctest(text)

    def console(self, text: str) -> None:
        steps = STEP.findall(text)
        assert steps and text.startswith("$ "), f"{self.path.name}: a console block starts with a command"
        for index, (command, shown) in enumerate(steps):
            printed = self.command(command)
            asked = index + 1 < len(steps) and steps[index + 1][0] == "echo $?"
            assert self.exit_code == 0 or asked, f"`{command}` ends with {self.exit_code}: {printed}"
            self.compare(command, shown, printed)

    def compare(self, command: str, shown: str, printed: str) -> None:
        printed = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
        if not shown or agree(shown, printed):
            return
        old, new = shown.splitlines(keepends=True), printed.splitlines(keepends=True)
        if os.environ.get("UPDATE_DOCUMENTATION") and (len(old) == len(new) or "..." not in shown):
            if len(old) == len(new):
                new = [before if agree(before, after) else after for before, after in zip(old, new, strict=True)]
            self.text = self.text.replace(f"$ {command}\n{shown}", f"$ {command}\n{''.join(new)}")
            self.path.write_text(self.text, encoding="utf-8")
            return
        pytest.fail(f"{self.path.name}: `{command}` prints\n{printed}where the page has\n{shown}", pytrace=False)

    def command(self, text: str) -> str:
        """Run one line; returns what it printed, to stderr where nothing went to stdout."""
        match shlex.split(text):
            case ["syncdiff-bench", *arguments]:
                with contextlib.redirect_stdout(Screen()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
                    self.exit_code = exit_code_of(arguments)
                return out.getvalue() or err.getvalue()
            case ["echo", "$?"]:
                code, self.exit_code = self.exit_code, 0
                return str(code)
            case ["cp", "-r", source, target]:
                shutil.copytree(source, target)
            case ["pip", "install", "-e", folder]:
                self.install(Path(folder))
            case _:
                pytest.fail(f"{self.path.name}: `{text}` cannot be run here; show it as sh", pytrace=False)
        self.exit_code = 0
        return ""

    def install(self, folder: Path) -> None:
        """An editable install as pip makes it: the folder on the path, the entry points beside it."""
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        lines = []
        for group, points in project["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        self.monkeypatch.syspath_prepend(str(folder.resolve()))
        importlib.invalidate_caches()
        registry.registrations.cache_clear()

    def python(self, text: str) -> None:
        exec(compile(text, str(self.path), "exec", dont_inherit=True), self.namespace)
        for value in list(self.namespace.values()):
            if (
                isinstance(value, type)
                and issubclass(value, Method | Metric | Dataset)
                and value.__module__ == "__main__"
            ):
                for check in checks_of(value()):
                    check()

    def doctest(self, text: str) -> None:
        test = doctest.DocTestParser().get_doctest(text, self.namespace, self.path.name, str(self.path), 0)
        report = io.StringIO()
        results = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.write, clear_globs=False)
        assert results.failed == 0, report.getvalue()
        self.namespace.update(test.globs)


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, a terminal of 100 columns, and no trace afterwards of what a page installed."""
    home, work = tmp_path / "home", tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")  # no colours
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]
    registry.registrations.cache_clear()


@pytest.mark.parametrize("name", RUNNABLE)
def test_a_page_does_what_it_shows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Page(PAGES[name], monkeypatch).carry_out()


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("```console\n$ syncdiff-bench list datasets\nno such table\n```\n", "where the page has"),
        ("```console\n$ syncdiff-bench list nothing\n```\n", "ends with 2"),
        ("```console\n$ rm -rf /\n```\n", "cannot be run here"),
        ("```python\nraise RuntimeError('stale')\n```\n", "stale"),
        ("```pycon\n>>> 1 + 1\n3\n```\n", "Expected"),
    ],
)
def test_a_stale_page_is_caught(block: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UPDATE_DOCUMENTATION", raising=False)
    page = tmp_path / "stale.md"
    page.write_text(block)
    with pytest.raises((AssertionError, RuntimeError, pytest.fail.Exception), match=complaint):
        Page(page, monkeypatch).carry_out()


def test_output_is_brought_up_to_date_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPDATE_DOCUMENTATION", "1")
    page = tmp_path / "old.md"
    page.write_text("```console\n$ syncdiff-bench list nothing\nold\n$ echo $?\n1\n```\n")
    Page(page, monkeypatch).carry_out()
    lines = page.read_text().splitlines()
    assert "old" not in lines and lines[-2:] == ["2", "```"]


def modules_with_examples() -> list[str]:
    found = []
    for room in ("", "methods", "metrics", "datasets", "leaderboards"):
        for file in (ROOT / room).glob("syncdiff_*/**/*.py"):
            if ">>> " in file.read_text(encoding="utf-8"):
                parts = file.relative_to(ROOT / room).with_suffix("").parts
                found.append(".".join(part for part in parts if part != "__init__"))
    return sorted(found)


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings(name: str, tmp_path: Path) -> None:
    """They may write below `folder`."""
    results = doctest.testmod(importlib.import_module(name), extraglobs={"folder": tmp_path / "runs"})
    assert results.attempted > 0
    assert results.failed == 0


# ---------------------------------------------------------------------------------------- README's leaderboard

# `<!-- leaderboard: COMMAND -->` above a table: it is what the command makes.
LEADERBOARD = re.compile(r"<!-- leaderboard: (?P<command>.*) -->\n(?P<table>.*?)<!-- /leaderboard -->", re.DOTALL)
CELL = re.compile(rf"(-?[\d.]+) ±([\d.]+)([ {SUPERSCRIPTS}]*)")
# Another machine's rounding moves a generated pixel, and now and then a word of 144: a fifth of the interval.
SHARE_OF_INTERVAL = 0.2


def cells(table: str) -> list[list[str]]:
    rows = [line.strip().strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("**", "") for cell in row] for row in rows if not set("".join(row)) <= set(":- ")]


def notes(table: str) -> list[str]:
    return [line.strip() for line in table.splitlines() if line.startswith(tuple(SUPERSCRIPTS))]


def cells_agree(shown: str, made: str) -> bool:
    """Equal, or two numbers that differ by little of the interval, or by two of the last digit."""
    numbers = CELL.fullmatch(shown), CELL.fullmatch(made)
    if numbers[0] is None or numbers[1] is None:
        return shown == made
    (old, interval, marks), (new, _, new_marks) = (match.groups() for match in numbers if match)
    digit = 10.0 ** -len(old.partition(".")[2])
    return (
        marks == new_marks
        and abs(float(old) - float(new)) <= max(SHARE_OF_INTERVAL * float(interval), 2 * digit) + 1e-9
    )


def differences(shown: str, made: str) -> list[str]:
    """Every note and cell that is not what was made; rows are found by the method's name, whatever their order."""
    if notes(shown) != notes(made):
        return [f"notes {notes(shown)}, made {notes(made)}"]
    (head, *rows), (new_head, *new_rows) = cells(shown), cells(made)
    if head != new_head:
        return [f"columns {head}, made {new_head}"]
    by_name, new_by_name = ({row[1]: row for row in table} for table in (rows, new_rows))
    if set(by_name) != set(new_by_name):
        return [f"methods {sorted(by_name)}, made {sorted(new_by_name)}"]
    return [
        f"{name}, {column}: {cell}, made {new}"
        for name, row in by_name.items()
        for column, cell, new in zip(head, row, new_by_name[name], strict=True)
        if not cells_agree(cell, new)
    ]


def made_again(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The Markdown table of the runs that the command makes in the working folder, and the notes that it refers to."""
    program, *arguments = shlex.split(command)
    assert program == "syncdiff-bench" and main(arguments) == 0
    (folder,) = Path("runs").iterdir()
    capsys.readouterr()
    assert main(["report", str(folder), "--format", "markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    below = [line for line in lines if line.startswith(tuple(SUPERSCRIPTS))]
    return "".join(f"{line}\n" for line in [*(line for line in lines if line.startswith("|")), "", *below])


def problems(page: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    text = page.read_text(encoding="utf-8")
    block = LEADERBOARD.search(text)
    assert block is not None, f"{page.name} has no leaderboard"
    made = made_again(block["command"], capsys)
    found = differences(block["table"], made)
    if found and os.environ.get("UPDATE_DOCUMENTATION"):
        page.write_text(text.replace(block["table"], made), encoding="utf-8")
        return []
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_leaderboard_is_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert problems(PAGES["README.md"], capsys) == []


def test_a_stale_leaderboard_is_caught_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UPDATE_DOCUMENTATION", raising=False)
    command = "syncdiff-bench run --method gt --method static --limit 3 --metrics psnr"
    page = tmp_path / "page.md"
    table = "|  | Method | PSNR ↑<br>face96 | n (failed) |\n|---:|:---|---:|---:|\n|  | gt | N/Aᵃ | 3 (0) |\n"
    left_out = "{} psnr (face96), 3 of 3 clips: {} frames equal their reference, have no value and are left out\n"
    below = left_out.format("ᵃ", 179) + left_out.format("ᵇ", 3)
    page.write_text(
        f"<!-- leaderboard: {command} -->\n{table}| 1 | static | **21.00 ±0.10**ᵇ | 3 (0) |\n\n"
        f"{below}<!-- /leaderboard -->\n"
    )
    (problem,) = problems(page, capsys)
    assert problem.startswith("static, PSNR ↑<br>face96: 21.00 ±0.10ᵇ, made 22.4")
    monkeypatch.setenv("UPDATE_DOCUMENTATION", "1")
    assert problems(page, capsys) == [] and "made" not in page.read_text()
    monkeypatch.delenv("UPDATE_DOCUMENTATION")
    assert problems(page, capsys) == []


@pytest.mark.parametrize(
    ("shown", "made", "same"),
    [
        ("26.17 ±0.57", "26.19 ±0.57", True),
        ("26.17 ±0.57", "26.27 ±0.57", True),
        ("26.17 ±0.57", "26.40 ±0.57", False),
        ("1.000 ±0.000", "0.998 ±0.000", True),
        ("1.000 ±0.000", "0.990 ±0.000", False),
        ("N/A", "26.19 ±0.57", False),
        ("24 (0)", "23 (1)", False),
    ],
)
def test_cells_agree_within_rounding(shown: str, made: str, same: bool) -> None:
    assert cells_agree(shown, made) is same
