"""Each stage reads each file of a run once, and writes what changed: every opening of a file is counted."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.runs.directory import load_run

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
    # Nothing is left to do, which is seen by run.json alone; ahead of the stages too: another run in this folder is
    # refused at once.
    assert read.pop("leaderboard.md") == 1
    assert read == {"run.json": 3, ".digests.json": 2}
    assert written == {}

    assert main(["score", "o", "--metrics", "toy-error"]) == 0
    read, written = openings.taken()
    # What was scored with what, before the data set is opened; score.
    assert read == {"run.json": 2, ".digests.json": 1, "leaderboard.md": 1}
    assert written == {}
    assert main(["report", "o"]) == 0
    assert openings.taken() == ({"run.json": 1, ".digests.json": 1}, {})


def alter(name: str, change: Callable[[Any], Any]) -> None:
    """Change an entry of run.json, as a version of its own would have written it."""
    for file in (Path("o/toy-noise/run.json"), Path("o/toy-noise/.run.copy.json")):
        manifest = json.loads(file.read_text())
        manifest[name] = change(manifest[name])
        file.write_text(json.dumps(manifest, indent=1) + "\n")


VIDEO, SCORES = Path("o/toy-noise/videos/s1/2.mp4"), Path("o/toy-noise/scores.jsonl")
UNSETTLED: dict[str, Callable[[], Any]] = {
    "a journal was written": lambda: SCORES.write_bytes(b"".join(SCORES.read_bytes().splitlines(keepends=True)[1:])),
    "a video is another": lambda: VIDEO.write_bytes(b"another"),
    "a video is gone": VIDEO.unlink,
    "digests are gone": Path("o/toy-noise/.digests.json").unlink,
    "not ended": lambda: alter("finished", lambda _: None),
    "ended by another version": lambda: alter("versions", lambda known: {**known, "numpy": "1.0"}),
    "a clip without a number": lambda: alter("summary", lambda of: [{**one, "n": one["n"] - 1} for one in of]),
    "a metric is not there": lambda: alter("protocols", lambda _: []),
}


@pytest.mark.parametrize("change", UNSETTLED)
def test_the_stages_look_where_something_may_be_left_to_do(openings: Openings, change: str) -> None:
    """And come to the same files."""
    assert main(RUN) == 0
    before = {path: path.read_bytes() for path in (VIDEO, SCORES)}
    UNSETTLED[change]()
    openings.taken()
    assert main(RUN) == 0
    read, _ = openings.taken()
    assert read["scores.jsonl"] >= 1 and read["generation.jsonl"] >= 1
    assert {path: path.read_bytes() for path in before} == before


def test_where_boxes_come_from_is_entered_although_nobody_asked_for_them() -> None:
    assert main(RUN) == 0
    assert main([*RUN, "--boxes", "centred"]) == 0
    assert json.loads(Path("o/toy-noise/run.json").read_text())["dataset"]["boxes"] == "centred"


def test_a_metric_that_did_not_apply_is_tried_again(openings: Openings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [*RUN, "--metrics", "toy-error,toy-heavy"]
    assert main(asked) == 0
    monkeypatch.setenv("TOY_WEIGHTS", "ab" * 32)
    openings.taken()
    assert main(asked) == 0
    assert openings.taken()[1]["scores.jsonl"] >= 1


def test_what_was_not_asked_for_stays_in_a_run_that_is_not_read(
    openings: Openings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_WEIGHTS", "ab" * 32)
    assert main([*RUN, "--metrics", "toy-error,toy-heavy"]) == 0
    openings.taken()
    assert main(RUN) == 0
    assert "scores.jsonl" not in openings.taken()[0]
    assert "HEAVY" in Path("o/leaderboard.md").read_text()


def test_a_comparison_reads_each_journal_once(openings: Openings, capsys: pytest.CaptureFixture[str]) -> None:
    """Its scores pass by one at a time, and are those of a run that was read whole."""
    assert main(RUN) == 0
    assert main([*RUN[:-1], "p", "--set", "shift=4"]) == 0
    openings.taken()
    assert main(["compare", "o/toy-noise", "p/toy-noise"]) == 0
    read, written = openings.taken()
    assert read == {"run.json": 2, "generation.jsonl": 2, "scores.jsonl": 2} and written == {}
    assert "+1.0" in capsys.readouterr().out
    passing = load_run(Path("o/toy-noise"), lines="passing").scores
    whole = load_run(Path("o/toy-noise")).scores
    assert list(passing) == list(passing) == list(whole) and len(passing) == len(whole) == 5
    assert all(row in passing for row in whole)


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
