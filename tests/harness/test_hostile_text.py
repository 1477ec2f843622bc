"""Names of clips, and messages of programs, that carry what a terminal, a spreadsheet or a page would obey."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import sys
import unicodedata
from pathlib import Path

import pytest
from console import refusal
from encoded import write_grey
from html_pages import Page

from syncdiff_bench import cli
from syncdiff_bench.characters import json_text, one_line, visible
from syncdiff_bench.cli import main
from syncdiff_bench.progress import Bar, Log

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")

NAMES = (
    "\x1b[31mred\x1b[0m",  # a colour
    "\x1b]0;title\x07",  # the title of the window
    "\x9b2Jc1",  # erases the screen, in one character
    "back\rspace\x08",
    "gnp\u202e\u2066\u200fevil",  # turns the direction of what is written
    "two\nlines",
    "\u2028paragraph",
    "[bold]markup[/nothing]",
    "=1+1",
    "@SUM(1)",
    "-2+3",
    "<script>alert(1)</script>".replace("/", "\u2044"),
    "a|b*c_d`e$f",
    "50%_&#{}~^",
)
LABELLED = ["report", "out", "--label", "out/static=+1+1\x1b]0;x\x07\u202e<script>alert(2)", "--label", "out/gt=[/x]|b"]
OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def obeyed(text: str) -> set[str]:
    """What a terminal would obey, beside the ends of lines."""
    return {one for one in text if unicodedata.category(one) in OBEYED} - set("\n\t")


@pytest.fixture
def hostile(work_folder: Path) -> list[str]:
    """A folder `clips` of clips with these names, and one that is damaged; the ids."""
    for name in NAMES:
        write_grey(work_folder / "clips" / f"{name}.mp4", 90)
    (work_folder / "clips" / "\x1b[2Jdamaged\u202e.mp4").write_bytes(b"nothing")
    return [*NAMES, "\x1b[2Jdamaged\u202e"]


def test_no_command_sends_a_terminal_what_it_obeys(hostile: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    data = ["--dataset", "folder", "--data-root", "clips"]
    scoring = ["--boxes", "centred", "--metrics", "psnr"]
    for code, command in (
        (0, ["run", *data, *scoring, "--method", "static", "--out", "out", "--progress", "log"]),
        (0, ["run", *data, *scoring, "--method", "gt", "--out", "out", "--dry-run"]),
        (0, ["run", *data, *scoring, "--method", "gt", "--out", "out"]),
        (1, ["data", "verify", *data]),
        (0, ["score", "--videos", "clips", "--reference", "clips", *scoring, "--out", "given"]),
        *((0, ["report", "out", "--format", kind]) for kind in ("table", "markdown", "csv", "json")),
        (0, ["compare", "out/static", "out/gt"]),
        (0, ["report", "out", "--html", "page.html"]),
        *((0, [*LABELLED, "--format", kind]) for kind in ("table", "markdown", "csv", "json")),
    ):
        assert main(command) == code, command
        captured = capfd.readouterr()
        assert obeyed(captured.out) == obeyed(captured.err) == set(), command
    page = Path("page.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page and "<script>alert" not in page
    assert obeyed(page) == set()  # nothing turns the direction of a page either
    called = Page(page).data["clips"]
    assert sorted(called) == sorted(map(one_line, hostile)) and "<script>alert(1)<\u2044script>" in called
    manifest = json.loads(Path("out/static/run.json").read_text(encoding="utf-8"))
    assert sorted(manifest["dataset"]["clips"]) == sorted(hostile)  # what is recorded says all


def test_an_error_does_not_either(work_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, ["data", "verify", "--dataset", "folder", "--data-root", "\x1b]0;x\x07gone\u202e"])
    assert "gone" in line and obeyed(line) == set()
    line = refusal(capsys, ["run", "--dataset", "\x1b[31mnone\u202e"])
    assert "none" in line and obeyed(line) == set()


def test_every_command_prints_in_one_way() -> None:
    """`say` is where characters are taken off, so nothing in the command line prints beside it."""
    folder = Path(cli.__file__).parent
    for file in folder.glob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)]
        names = {ast.unparse(call) for call in calls}
        allowed = {"click.echo"} if file.name == "commands.py" else set()
        assert {name for name in names if re.fullmatch(r"print|click\.s?echo|sys\.std\w+\.write", name)} <= allowed, (
            file
        )


def test_a_bar_and_a_log_show_names_as_they_are() -> None:
    """Markup in a name is neither obeyed nor an error: `[/nothing]` closes nothing."""
    from rich.console import Console

    for kind, terminal in ((Bar, True), (Log, False)):
        for name in NAMES:
            screen = io.StringIO()
            progress = kind(Console(file=screen, force_terminal=terminal, width=200, color_system=None))
            with progress.stage(f"generate {name}", 2):
                progress.working_on([name], 1)
                progress.note(f"of {name}")
                progress.done()
            shown = re.sub(r"\x1b\[(\?25[lh]|2K|1A)", "", screen.getvalue())  # what moves the bar
            assert obeyed(shown) <= {"\r"}
            assert f"note: of {visible(name)}" in shown
            assert not terminal or shown.count(one_line(name)) >= 3  # title, clip and note


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07", "]0;title"),
        ("a\r\nb\rc", "a\nbc"),
        ("tab\tstays", "tab\tstays"),
        ("caf\u00e9 \u4e2d\u6587 \U0001f600", "caf\u00e9 \u4e2d\u6587 \U0001f600"),
        ("\u200e\u202d\u2067\ufeff\u061cx", "x"),
        ("\udcff\x85\u2029", ""),
    ],
)
def test_what_is_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert "\n" not in one_line(text) and obeyed(one_line(text)) == set()


def test_json_says_the_same_in_escapes() -> None:
    value = {"names": [*NAMES, "\udcff"], "n": [1, -0.5, None, True], "\u202ekey": "\x7f"}
    text = json_text(value)
    assert json.loads(text) == value
    assert obeyed(text) == set()
    assert '"n": [\n' in text and "\\u202e" in text and "\\u007f" in text


def test_a_csv_of_a_hostile_folder_holds_no_formula(hostile: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    data = ["--dataset", "folder", "--data-root", "clips", "--boxes", "centred", "--metrics", "psnr"]
    assert main(["run", *data, "--method", "static", "--out", "=1+1"]) == 0
    capfd.readouterr()
    assert main(["report", "=1+1", "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capfd.readouterr().out))
    assert (row["run"], row["clips"]) == ("'=1+1/static", str(len(hostile)))
