"""README and docs do what they show: their files are written, their commands run, their output compared.

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
                with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
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
