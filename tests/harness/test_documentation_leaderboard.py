"""README's leaderboard is what its command makes: `<!-- leaderboard: COMMAND -->` above the table, which is made again.

UPDATE_DOCUMENTATION=1 writes the table that was made.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.report.writers.characters import SUPERSCRIPTS

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCK = re.compile(r"<!-- leaderboard: (?P<command>.*) -->\n(?P<table>.*?)<!-- /leaderboard -->", re.DOTALL)
CELL = re.compile(rf"(-?[\d.]+) ±([\d.]+)([ {SUPERSCRIPTS}]*)")
# Another machine's rounding moves a generated pixel, and now and then a word of 144: a fifth of the interval.
SHARE_OF_INTERVAL = 0.2


def cells(table: str) -> list[list[str]]:
    rows = [line.strip().strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("**", "") for cell in row] for row in rows if not set("".join(row)) <= set(":- ")]


def notes(table: str) -> list[str]:
    return [line.strip() for line in table.splitlines() if line.startswith(tuple(SUPERSCRIPTS))]


def agree(shown: str, made: str) -> bool:
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
        if not agree(cell, new)
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
    block = BLOCK.search(text)
    assert block is not None, f"{page.name} has no leaderboard"
    made = made_again(block["command"], capsys)
    found = differences(block["table"], made)
    if found and os.environ.get("UPDATE_DOCUMENTATION"):
        page.write_text(text.replace(block["table"], made), encoding="utf-8")
        return []
    return found


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_leaderboard_is_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert problems(README, capsys) == []


def test_a_stale_leaderboard_is_caught_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
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
    assert agree(shown, made) is same
