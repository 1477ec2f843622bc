"""Seconds per second of video: what is timed while a run is made, and what is said of it afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.runs import timing
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.runs.timing import Speed, Stopwatch, Timed, put_together, read_timings, speed_of

WARM = Timed("2026-01-01T00:00:00+00:00", 2, 50, 4.0, "A CPU, 2 threads", alone=True, loading=False)
NOISE = ["--method", "toy-noise", "--dataset", "toy", "--metrics", "toy-error"]


class Clock:
    """The time of `timing`, and the processor seconds of other processes, as a test sets them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.others = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(timing, "time", made)
    monkeypatch.setattr(timing, "_processor_seconds", lambda _pid: made.others)
    return made


def test_speed_is_all_seconds_over_all_seconds_of_video() -> None:
    loading = replace(WARM, frames=100, seconds=1000.0, loading=True)
    other = replace(WARM, clips=1, frames=25, seconds=5.0)
    assert speed_of([loading, WARM, other]) == Speed(3.0, 3, "A CPU, 2 threads", 2)  # 9 s for 3 s
    assert speed_of([loading]) == Speed(250.0, 2, "A CPU, 2 threads", 2, loading=True)


def test_what_shared_the_processor_is_no_speed() -> None:
    shared = replace(WARM, seconds=400.0, alone=False)
    assert speed_of([shared, WARM]).seconds == 2.0
    none = speed_of([shared])
    assert none.seconds is None and "--workers 1" in none.reason
    assert speed_of([]) == Speed(None, reason="not recorded")


def test_of_several_devices_it_is_that_of_most_video() -> None:
    gpu = replace(WARM, frames=75, seconds=0.3, device="A GPU")
    assert speed_of([WARM, gpu]) == Speed(pytest.approx(0.1), 2, "A GPU", 2)
    assert speed_of([WARM, replace(WARM, frames=1), gpu, replace(gpu, frames=1, loading=True)]).device == "A GPU"


def test_a_stopwatch_counts_the_method_alone(clock: Clock) -> None:
    watch = Stopwatch("cpu", lambda: [1])
    clock.now += 7  # before it begins: decoding
    watch.begin()
    with watch.running():
        clock.now += 1
        watch.looking(0, 50)
        clock.now += 10
        watch.looking(25, 50)
        clock.now += 10
        watch.looking(50, 50)
        clock.now += 1
    clock.now += 30  # a video is written
    with watch.running():
        clock.now += 2
    first = watch.end({"a": 50, "b": 25})
    assert (first.seconds, first.clips, first.frames, first.alone, first.loading) == (4.0, 2, 75, True, True)
    watch.begin()
    with watch.running():
        clock.now += 3
    second = watch.end({"a": 50})
    assert (second.seconds, second.loading) == (3.0, False)


@pytest.mark.parametrize(("busy", "alone"), [(0.4, True), (0.6, False), (-3.0, False)])
def test_a_batch_was_alone_where_the_other_processes_were_idle(clock: Clock, busy: float, alone: bool) -> None:
    """busy: of ten seconds; negative where one of them died."""
    watch = Stopwatch("cpu", lambda: [1])
    watch.begin()
    with watch.running():
        clock.now += 10
    clock.others += busy
    assert watch.end({"a": 25}).alone == alone


def test_where_nobody_knows_the_other_processes_nothing_is_alone() -> None:
    assert not Stopwatch("cpu", None).end({"a": 25}).alone


@pytest.fixture
def folder(work_folder: Path, toy_plugins: Path) -> Iterator[Path]:
    return work_folder


def lines(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "timings.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_run_times_its_batches_and_a_resumed_one_adds_to_them(folder: Path) -> None:
    assert main(["run", *NOISE, "--out", "o"]) == 0
    run = Path("o/toy-noise")
    first = lines(run)
    assert [(one["clips"], one["frames"], one["loading"]) for one in first] == [
        *((2, 6, True), (2, 6, False), (1, 3, False))
    ]
    before = {path.name: path.read_bytes() for path in run.glob("*.jsonl") if path.name != "timings.jsonl"}
    (run / "videos/s1/2.mp4").unlink()
    assert main(["run", *NOISE, "--out", "o"]) == 0
    again = lines(run)
    assert again[:3] == first and [(one["clips"], one["loading"]) for one in again[3:]] == [(2, True)]
    assert {path.name: path.read_bytes() for path in run.glob("*.jsonl") if path.name != "timings.jsonl"} == before
    assert main(["run", *NOISE, "--out", "o", "--fresh"]) == 0
    assert len(lines(run)) == 3


def test_shards_on_a_cpu_have_no_speed_and_say_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in (1, 2):
        assert main(["run", *NOISE, "--out", "o", "--shard", f"{index}/2"]) == 0
    run = Path("o/toy-noise")
    assert sum(int(str(one["clips"])) for one in lines(run)) == 5 and not list(run.glob("timings.shard*"))
    capsys.readouterr()
    assert main(["report", "o", "--show", "speed", "--format", "markdown"]) == 0
    told = capsys.readouterr().out
    assert "| toy-noise |" in told and "N/Aᵃ" in told
    assert "ᵃ speed (s per s of video): n/a, every batch was timed while other processes shared the CPU" in told


def test_a_batch_in_which_a_clip_fails_and_a_bound_have_no_speed(folder: Path) -> None:
    assert main(["run", *NOISE[2:], "--method", "toy-troubled", "--method", "toy-truth", "--out", "o"]) == 0
    # All five together fail; of those that are tried alone then, one comes through.
    assert [(one.clips, one.frames) for one in read_timings(Path("o/toy-troubled"))] == [(1, 3)]
    assert load_run(Path("o/toy-truth")).speed is None


def test_parts_are_put_together_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also where it was killed after writing, before the files of the parts were deleted."""
    part = tmp_path / "timings.shard-1-of-2.jsonl"
    rows = [WARM, replace(WARM, seconds=5.0)]
    part.write_text("".join(json.dumps(one.to_row()) + "\n" for one in rows) + '{"clips": "many"}\n')
    put_together(tmp_path)
    assert read_timings(tmp_path) == rows
    assert "of the speed" in caplog.text
    put_together(tmp_path)
    part.unlink()
    assert read_timings(tmp_path) == rows


@pytest.mark.parametrize(
    ("threads", "name"), [("1", "A CPU, 1 thread"), ("3", "A CPU, 3 threads"), ("", "A CPU, 8 threads")]
)
def test_a_processor_is_told_with_its_threads(threads: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing.sys, "modules", {})
    monkeypatch.setattr(timing.platforms, "processor_name", lambda: "A CPU")
    monkeypatch.setattr(timing.platforms, "cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    of: Callable[[str], str] = timing._device_name
    assert of("cpu") == name


def test_a_gpu_is_told_by_its_name_and_another_device_with_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(is_available=lambda: True, get_device_name=lambda device: f"A GPU at {device}")
    monkeypatch.setattr(timing.sys, "modules", {"torch": SimpleNamespace(cuda=cuda)})
    monkeypatch.setattr(timing.platforms, "processor_name", lambda: "A CPU")
    assert (timing._device_name("cuda:1"), timing._device_name("mps")) == ("A GPU at cuda:1", "A CPU, mps")
