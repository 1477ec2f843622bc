"""Each stage reads each file of a run once, and writes what changed: every opening of a file is counted."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncdiff_bench.cli import main

pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")
NAMES = ("generation.jsonl", "scores.jsonl", "run.json", "leaderboard.md", ".digests.json")
RUN = ["run", "--method", "toy-noise", "--dataset", "toy", "--set", "shift=3", "--metrics", "toy-error", "--out", "o"]


class Openings:
    """How often each of NAMES was opened to be read, and written: opened for that, or put in its place."""

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()
        self.written: Counter[str] = Counter()

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | Path):
            name, mode, flags = os.path.basename(arguments[0]), arguments[1] or "", arguments[2]  # noqa: PTH119
            writes = set(mode) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR)
            (self.written if writes else self.read)[name] += name in NAMES
        elif event == "os.rename":
            name = os.path.basename(arguments[1])  # noqa: PTH119
            self.written[name] += name in NAMES

    def taken(self) -> tuple[dict[str, int], dict[str, int]]:
        """Read, written; since the last time."""
        found = dict(+self.read), dict(+self.written)
        self.read.clear()
        self.written.clear()
        return found


ACTIVE: list[Openings] = []


def hear(event: str, arguments: tuple[Any, ...]) -> None:
    for one in ACTIVE:
        one.note(event, arguments)


@pytest.fixture(scope="module", autouse=True)
def _heard() -> None:
    sys.addaudithook(hear)  # it stays for good, and hears nothing while nobody is in ACTIVE


@pytest.fixture
def openings() -> Iterator[Openings]:
    ACTIVE.append(Openings())
    yield ACTIVE[0]
    ACTIVE.clear()


def test_each_stage_reads_a_file_once_and_what_did_not_change_is_not_written(openings: Openings) -> None:
    assert main(RUN) == 0
    read, written = openings.taken()
    # Two stages, generate and score, hand on what they hold: the first has nothing to read but journals that are not
    # there yet. Of a journal that was written it is seen whether it is in order, and its digest is taken.
    assert read == {"generation.jsonl": 4, "scores.jsonl": 3, "run.json": 1, ".digests.json": 2}
    # Begun, generated, before the first score and at the end; five clips, noted one by one.
    assert written == {"run.json": 4, "generation.jsonl": 5, "scores.jsonl": 5, ".digests.json": 2, "leaderboard.md": 1}

    assert main(RUN) == 0
    read, written = openings.taken()
    # Each journal once in each stage that needs it; run.json ahead of the stages too: another run in this folder is
    # refused at once.
    assert read.pop("leaderboard.md") == 1
    assert read == {"generation.jsonl": 2, "scores.jsonl": 1, "run.json": 3, ".digests.json": 2}
    assert written == {}

    assert main(["score", "o", "--metrics", "toy-error"]) == 0
    read, written = openings.taken()
    # What was scored with what, before the data set is opened; score.
    assert read["run.json"] == 2 and read["generation.jsonl"] == read["scores.jsonl"] == 1
    assert written == {}
    assert main(["report", "o"]) == 0
    assert openings.taken() == ({"run.json": 1, ".digests.json": 1}, {})


def test_a_report_reads_the_journals_that_somebody_touched(
    openings: Openings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(RUN) == 0
    journal = Path("o/toy-noise/scores.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:-1]))
    openings.taken()
    assert main(["report", "o"]) == 0
    assert openings.taken()[0] == {"run.json": 1, ".digests.json": 1, "scores.jsonl": 1, "generation.jsonl": 1}
    assert "1 lines of its journals are lost" in capsys.readouterr().out
