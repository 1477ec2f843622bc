"""Several clips in one call of a metric: planned by frames, whole or not at all, and failures stay alone."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Pair, attempt
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.runs.sources import plan_batches

pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")
RUN = ["run", "--method", "toy-noise", "--dataset", "toy", "--metrics", "toy-error,toy-words", "--set", "shift=3"]


@pytest.fixture
def calls(toy_plugins: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The toy metric wants batches of 7 frames, two clips of 3; the clips of each call."""
    seen: list[list[str]] = []
    toy = importlib.import_module("toy_plugins").Difference

    def measure_many(self: Any, pairs: Sequence[Pair]) -> list[Any]:
        if self.name == "toy-error":
            seen.append([pair.generated.id for pair in pairs])
        return [attempt(self.measure, pair) for pair in pairs]

    monkeypatch.setattr(toy, "batch_frames", 7)
    monkeypatch.setattr(toy, "measure_many", measure_many)
    return seen


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(path) / "scores.jsonl").read_text(encoding="utf-8").splitlines()]


def test_batches_hold_as_many_clips_as_their_frames_allow() -> None:
    frames = {"a": 5, "b": 5, "c": 1, "d": 30, "e": 0, "f": 4}
    assert list(plan_batches(frames, 11, frames.__getitem__)) == [["a", "b", "c"], ["d"], ["e", "f"]]
    assert list(plan_batches(frames, 1000, frames.__getitem__)) == [list(frames)]


def test_batches_of_a_number_of_clips() -> None:
    assert list(plan_batches("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]


def test_without_a_budget_clips_go_one_by_one_and_nobody_counts_frames() -> None:
    assert list(plan_batches("abc", 0, {}.__getitem__)) == [["a"], ["b"], ["c"]]
    assert list(plan_batches("", 5, {}.__getitem__)) == []


def test_a_metric_gets_several_clips_and_the_scores_are_the_same(
    calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    main([*RUN, "--out", "batched"])
    assert calls == [["s0/0", "s0/1"], ["s1/2", "s1/3"], ["s2/4"]]
    monkeypatch.setattr(importlib.import_module("toy_plugins").Difference, "batch_frames", 0)
    main([*RUN, "--out", "single"])
    assert calls[3:] == [["s0/0"], ["s0/1"], ["s1/2"], ["s1/3"], ["s2/4"]]
    assert lines("batched/toy-noise") == lines("single/toy-noise")


def test_a_resumed_batch_is_measured_whole_and_the_others_not_at_all(calls: list[list[str]]) -> None:
    main([*RUN, "--out", "o"])
    path = Path("o/toy-noise/scores.jsonl")
    before = path.read_bytes()
    kept = [row for row in before.splitlines(keepends=True) if b'"s1/3"' not in row or b'"toy-words"' in row]
    path.write_bytes(b"".join(kept))
    calls.clear()
    main([*RUN, "--out", "o"])
    assert calls == [["s1/2", "s1/3"]]
    assert path.read_bytes() == before


def test_one_clip_that_breaks_costs_its_mates_nothing(calls: list[list[str]]) -> None:
    main([*RUN[:-4], "--metrics", "toy-error[fail=s0/1]", "--out", "o"])
    errors = {row["clip"]: row["error"] for row in lines("o/toy-noise")}
    assert errors.pop("s0/1") == {"kind": "metric", "message": "ZeroDivisionError: no luck"}
    assert set(errors.values()) == {None}
    assert calls[0] == ["s0/0", "s0/1"]


@pytest.mark.parametrize("broken", ["raises", "forgets one"])
def test_a_metric_that_cannot_do_a_batch_does_its_clips_alone(
    toy_plugins: Path, monkeypatch: pytest.MonkeyPatch, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = importlib.import_module("toy_plugins").Difference

    def measure_many(self: Any, pairs: Sequence[Pair]) -> list[Any]:
        if broken == "raises":
            raise MemoryError("too much at once")
        return [self.measure(pair) for pair in pairs[1:]]

    main([*RUN, "--out", "single"])
    monkeypatch.setattr(toy, "batch_frames", 100)
    monkeypatch.setattr(toy, "measure_many", measure_many)
    main([*RUN, "--out", "batched"])
    assert lines("batched/toy-noise") == lines("single/toy-noise")


def test_what_concerns_the_whole_run_still_ends_it(
    toy_plugins: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = importlib.import_module("toy_plugins").Difference
    monkeypatch.setattr(toy, "batch_frames", 7)

    def measure(self: Any, pair: Pair) -> Any:
        raise UsageError("this metric cannot be used here; choose another")

    monkeypatch.setattr(toy, "measure", measure)
    assert main([*RUN, "--out", "o"]) == 2
    assert "this metric cannot be used here" in capsys.readouterr().err


def test_attempt_gives_the_result_or_the_exception() -> None:
    def fails(pair: Pair) -> int:
        raise ClipError("toy", "no")

    pair: Any = object()
    assert attempt(lambda _: 3, pair) == 3
    assert isinstance(attempt(fails, pair), ClipError)
