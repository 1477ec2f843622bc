"""Several clips at once: halved where memory ends; for a metric, planned by frames, and failures stay alone."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from right_plugins import Grey

from syncdiff_bench import registry
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Frames, Pair, attempt
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.pipeline import generate_run
from syncdiff_bench.progress import Progress
from syncdiff_bench.runs.batches import plan_batches
from syncdiff_bench.runs.directory import Run, load_run
from syncdiff_bench.runs.generating import out_of_memory
from syncdiff_bench.runs.plan import Selection, make_plan
from syncdiff_bench.weights.digests import sha256_of

pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")

CUDA = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB."


@dataclass(frozen=True)
class HungryOptions:
    batch: int = 5


class Hungry(Grey):
    """Fits `fits` clips; fails after it has yielded the first one, as a long batch may."""

    name = "hungry"
    Options = HungryOptions
    fits = 5
    asked: list[tuple[str, ...]]

    @property
    def batch_size(self) -> int:
        return int(self.options.batch)

    def generate(self, clips: Sequence[Clip], **_: Any) -> Iterator[tuple[str, Frames]]:
        self.asked.append(tuple(clip.id for clip in clips))
        for clip in clips:
            if self.fits == 0:
                raise torch.OutOfMemoryError(CUDA)
            yield clip.id, clip.frames
            if len(clips) > self.fits:
                raise torch.OutOfMemoryError(CUDA)


class Told(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def run_hungry(out: Path, fits: int) -> tuple[Run, Hungry, list[str]]:
    plan = make_plan(Selection(("toy-truth",), "toy", out=out), with_metrics=False)
    method, told = Hungry(), Told()
    method.fits, method.asked = fits, []
    run_plan = replace(plan.runs[0], method=method)
    generate_run(plan, run_plan, progress=told)
    return load_run(run_plan.path), method, told.notes


def videos(run: Run) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in (run.path / "videos").rglob("*.mp4")}


def test_halved_until_it_fits_and_the_same(tmp_path: Path) -> None:
    whole, method, notes = run_hungry(tmp_path / "whole", fits=5)
    assert notes == [] and len(method.asked) == 1
    run, method, notes = run_hungry(tmp_path / "halved", fits=2)
    # Five do not fit, nor do three; what was finished before the failure is not made again.
    assert [len(batch) for batch in method.asked] == [5, 3, 2, 1, 2]
    assert videos(run) == videos(whole) and len(videos(run)) == 5
    assert notes == [
        "hungry: out of memory with 5 clips at once, made 3 at a time; --set batch=3 plans for it",
        "hungry: out of memory with 3 clips at once, made 2 at a time; --set batch=2 plans for it",
    ]
    assert "out of memory with 3 clips at once" in str(run.manifest["notes"]["s2/4"])


def test_what_was_learnt_holds_for_later_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hungry, "batch_size", property(lambda _self: 2))
    run, method, notes = run_hungry(tmp_path, fits=1)
    assert [len(batch) for batch in method.asked] == [2, 1, 1, 1, 1]
    assert len(notes) == 1 and len(videos(run)) == 5


def test_a_clip_that_does_not_fit_alone_fails_in_words(tmp_path: Path) -> None:
    run, _, _ = run_hungry(tmp_path, fits=0)
    failures = [record.error for record in run.generated.values() if record.error]
    assert len(failures) == 5 and videos(run) == {}
    for failure in failures:
        assert failure.kind == "out-of-memory"
        assert "3 frames do not fit into the memory of cpu even alone" in failure.message
        assert "\n" not in failure.message


def test_it_is_known_on_every_device_and_other_errors_are_not_taken_for_it() -> None:
    refused_by_cpu = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you"
    for error in (
        MemoryError(),
        torch.OutOfMemoryError(CUDA),
        RuntimeError(refused_by_cpu),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    ):
        assert out_of_memory(error), error
    for other in (RuntimeError("shape mismatch"), ValueError("out of memory of names"), KeyboardInterrupt()):
        assert not out_of_memory(other), other


def test_a_real_allocation_that_cannot_be() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(refused.value)


RUN = ["run", "--method", "toy-noise", "--dataset", "toy", "--metrics", "toy-error,toy-words", "--set", "shift=3"]


@pytest.fixture
def toy(toy_plugins: Path) -> Any:
    return registry.load_class("metric", "toy-error")


@pytest.fixture
def calls(toy: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The toy metric wants batches of 7 frames, two clips of 3; the clips of each call."""
    seen: list[list[str]] = []

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
    assert list(plan_batches("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]
    # Without a budget clips go one by one, and nobody counts frames.
    assert list(plan_batches("abc", 0, {}.__getitem__)) == [["a"], ["b"], ["c"]]
    assert list(plan_batches("", 5, {}.__getitem__)) == []


def test_a_metric_gets_several_clips_and_the_scores_are_the_same(
    calls: list[list[str]], toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    main([*RUN, "--out", "batched"])
    assert calls == [["s0/0", "s0/1"], ["s1/2", "s1/3"], ["s2/4"]]
    monkeypatch.setattr(toy, "batch_frames", 0)
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
    failure = errors.pop("s0/1")
    assert failure["kind"] == "metric"
    assert failure["message"].startswith("ZeroDivisionError: no luck (toy_plugins.py:")
    assert set(errors.values()) == {None}
    assert calls[0] == ["s0/0", "s0/1"]


@pytest.mark.parametrize("broken", ["raises", "forgets one"])
def test_a_metric_that_cannot_do_a_batch_does_its_clips_alone(
    toy: Any, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
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
    toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_metrics_compute_in_one_thread_and_leave_the_number_as_it_was(
    toy_plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last digit of a convolution depends on how many threads compute it."""
    import torch

    toy = importlib.import_module("toy_plugins").Difference
    seen: list[int] = []
    measure = toy.measure

    def watched(self: Any, pair: Pair) -> Any:
        seen.append(torch.get_num_threads())
        return measure(self, pair)

    monkeypatch.setattr(toy, "measure", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert main([*RUN, "--out", "o"]) == 0
        assert seen and set(seen) == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
