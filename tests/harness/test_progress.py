"""How work is followed: a bar, or lines for a file, with numbers that can be checked by hand."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

import pytest
from rich.console import Console

from syncdiff_bench.progress import LOG_SECONDS, Bar, Log, Notes, stderr_progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines_of(file: io.StringIO) -> list[str]:
    return file.getvalue().splitlines()


def test_a_log_says_how_much_is_done_how_fast_and_how_long_it_takes() -> None:
    file, clock = io.StringIO(), Clock()
    log = Log(Console(file=file), clock)
    with log.stage("generate toy", 12, 2):
        log.working_on(["a", "b"], 100)
        clock.now += LOG_SECONDS
        log.done()
        log.working_on(["c"], worker=1)
        clock.now += 1
        log.done()
        clock.now += 2 * LOG_SECONDS - 1
        log.done(worker=1)
    # One clip in 30 s leaves nine, in 270 s; three in 90 s leave seven, in 210 s.
    assert lines_of(file) == [
        "generate toy: 3/12 clips (25%), 2 clips/min, 4:30 left, a and 1 more",
        "generate toy: 5/12 clips (42%), 2 clips/min, 3:30 left, c",
        "generate toy: 5/12 clips in 1:30",
    ]


def test_a_log_of_a_short_stage_says_nothing() -> None:
    file = io.StringIO()
    log = Log(Console(file=file), Clock())
    with log.stage("score toy", 3):
        log.done(3)
    log.note("something")
    assert lines_of(file) == ["note: something"]


def test_steps_of_any_work() -> None:
    file, clock = io.StringIO(), Clock()
    log = Log(Console(file=file), clock)

    def steps() -> Iterator[tuple[int, int]]:
        for done in (5, 6, 8):
            clock.now += LOG_SECONDS
            yield done, 8

    log.each("latents", steps())
    assert lines_of(file)[-1] == "latents: 8/8 clips in 1:00"
    log.each("nothing", iter(()))


def test_a_bar_moves_with_the_frames_of_all_workers() -> None:
    bar = Bar(Console(file=io.StringIO(), force_terminal=True))
    with bar.stage("generate toy", 10, 1):
        bar.working_on(["a", "b"], 100)
        bar.working_on(["c"], 40, worker=1)
        bar.frames_done(50)
        bar.frames_done(30, worker=1)
        assert bar.completed == 1 + 2 * 0.5 + 0.75
        bar.done(worker=1)
        assert bar.completed == 2 + 1.0
        assert bar.counts == "2/10 clips · 80 frames"


@pytest.mark.parametrize(("kind", "expected"), [("auto", Log), ("bar", Bar), ("log", Log), ("off", Notes)])
def test_kinds(kind: str, expected: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert type(stderr_progress(kind)) is expected
