"""Several processes of one machine at a stage: the files of one, whoever dies; and none is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Runtime
from syncdiff_bench.errors import UsageError
from syncdiff_bench.progress import Progress
from syncdiff_bench.runs import workers
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.runs.measuring import Measured, Measuring, Prepared
from syncdiff_bench.runs.workers import Crew
from syncdiff_bench.weights.digests import sha256_of

# A worker that never takes part, or never ends, fails a test; it does not hold up the others.
pytestmark = [pytest.mark.usefixtures("toy_plugins", "work_folder"), pytest.mark.timeout(100)]

NOISE = ["--method", "toy-noise", "--dataset", "toy", "--set", "shift=3", "--set", "batch=1"]
SCORED = [*NOISE, "--metrics", "toy-error,toy-words,toy-heavy"]


@pytest.fixture(autouse=True)
def meeting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Processes wait for each other, so that they share the work however fast it is."""
    folder = tmp_path / "meeting"
    folder.mkdir()
    monkeypatch.setenv("TOY_MEET", str(folder))
    monkeypatch.setenv("TOY_WEIGHTS", "ab" * 32)
    return folder


def alone(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TOY_MEET")
        assert main([*arguments, "--workers", "1"]) == 0


def produced(run: Path) -> dict[str, str]:
    timed = ("run.json", ".run.copy.json", ".digests.json", "timings.jsonl")
    files = (path for path in run.rglob("*") if path.is_file() and path.name not in timed)
    return {str(path.relative_to(run)): sha256_of(path) for path in files}


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_any_number_of_workers_makes_the_files_of_one(count: int, meeting: Path) -> None:
    alone("run", *SCORED, "--out", "one")
    assert main(["run", *SCORED, "--out", "several", "--workers", str(count)]) == 0
    assert sorted(path.name for path in meeting.iterdir()) == ["generate", "score"]  # others took part
    assert produced(Path("several/toy-noise")) == produced(Path("one/toy-noise"))


@pytest.mark.slow
def test_given_videos_are_noted_and_scored_by_several(meeting: Path) -> None:
    alone("run", *SCORED, "--out", "one")
    videos = "one/toy-noise/videos"
    given = ["score", "--videos", videos, "--reference", videos, "--metrics", "toy-error"]
    alone(*given, "--out", "a")
    assert main([*given, "--out", "b", "--workers", "2"]) == 0
    assert (meeting / "score").exists()
    assert produced(Path("b/videos")) == produced(Path("a/videos"))


def test_a_worker_that_dies_costs_its_clips(
    monkeypatch: pytest.MonkeyPatch, meeting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """This process is at s0/1 while the other one meets its end at s1/2 and comes again."""
    alone("run", *SCORED, "--out", "one")
    monkeypatch.setenv("TOY_KILL", "s1/2")
    capsys.readouterr()
    assert main(["run", *SCORED, "--out", "o", "--workers", "2"]) == 0
    assert "note: a worker died (signal 9); 1 clips fail (first: s1/2), the others go on" in capsys.readouterr().err
    run = load_run(Path("o/toy-noise"))
    errors = {clip: line.error.message for clip, line in run.generated.items() if line.error}
    assert list(errors) == ["s1/2"] and "s1/2: the worker at it died (signal 9)" in errors["s1/2"]
    assert {row.clip for row in run.scores if row.failed} == {"s1/2"} and len(run.scores) == 15
    monkeypatch.delenv("TOY_KILL")
    alone("run", *SCORED, "--out", "o", "--retry-failed")
    assert produced(Path("o/toy-noise")) == produced(Path("one/toy-noise"))


@pytest.mark.slow
def test_a_worker_that_dies_scoring_costs_its_clips(monkeypatch: pytest.MonkeyPatch, meeting: Path) -> None:
    alone("run", *SCORED, "--out", "one")
    alone("generate", *NOISE, "--out", "o")
    monkeypatch.setenv("TOY_KILL_SCORING", "s1/2")
    assert main(["score", *SCORED, "--out", "o", "--workers", "2"]) == 0
    run = load_run(Path("o/toy-noise"))
    assert {(row.clip, row.error.kind) for row in run.scores if row.failed and row.error} == {("s1/2", "worker-died")}
    monkeypatch.delenv("TOY_KILL_SCORING")
    alone("score", *SCORED, "--out", "o", "--retry-failed")
    assert produced(Path("o/toy-noise")) == produced(Path("one/toy-noise"))


def test_what_concerns_the_whole_run_ends_it_from_any_worker(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Earlier scores rest on other weights: this process finds that out, or the other one does."""
    alone("run", *SCORED, "--out", "o", "--limit", "1")
    scores = Path("o/toy-noise/scores.jsonl")
    monkeypatch.setenv("TOY_WEIGHTS", "cd" * 32)
    scores.write_text("".join(line for line in scores.open() if "toy-heavy" in line))
    before = scores.read_bytes()
    manifest = json.loads(Path("o/toy-noise/run.json").read_text())
    manifest["dataset"]["clips"] = [f"s{n // 2}/{n}" for n in range(5)]
    Path("o/toy-noise/run.json").write_text(json.dumps(manifest))
    capsys.readouterr()
    assert main(["run", *SCORED, "--out", "o", "--workers", "2"]) == 2
    assert "scored by toy-heavy with other weights" in capsys.readouterr().err
    assert scores.read_bytes().count(b"toy-heavy") == before.count(b"toy-heavy") == 1


def test_work_is_shared_where_that_pays(monkeypatch: pytest.MonkeyPatch, meeting: Path) -> None:
    alone("run", *SCORED, "--out", "one")
    monkeypatch.setattr(workers, "_cores", lambda: 2)
    monkeypatch.setattr(workers, "START_SECONDS", 0.0)
    assert main(["generate", *NOISE, "--out", "o"]) == 0
    assert (meeting / "generate").exists()
    assert produced(Path("o/toy-noise/videos")) == produced(Path("one/toy-noise/videos"))


@pytest.mark.parametrize(("cores", "fit", "seconds"), [(1, 9, 0.0), (9, 1, 0.0), (9, 9, 1e9)])
def test_work_is_not_shared_without_cores_memory_or_much_to_do(
    monkeypatch: pytest.MonkeyPatch, cores: int, fit: int, seconds: float
) -> None:
    monkeypatch.delenv("TOY_MEET")
    monkeypatch.setattr(workers, "_cores", lambda: cores)
    monkeypatch.setattr(workers, "_that_fit", lambda: fit)
    monkeypatch.setattr(workers, "START_SECONDS", seconds)
    monkeypatch.setattr(workers, "_Other", lambda *_: pytest.fail("a process was started"))
    assert main(["generate", *NOISE, "--out", "o"]) == 0


@pytest.mark.parametrize("pays", [True, False])
def test_with_much_to_do_a_process_gets_ready_beside_the_first_batch(
    monkeypatch: pytest.MonkeyPatch, meeting: Path, pays: bool
) -> None:
    """It takes part in both stages where that pays, and is gone, without having done anything, where it does not."""
    alone("run", *SCORED, "--out", "one")
    offered, begun = [], []
    offer, begin = workers._Other.offer, workers._Other.begin
    monkeypatch.setattr(workers._Other, "offer", lambda self, *a: (offered.append(self), offer(self, *a)))
    monkeypatch.setattr(workers._Other, "begin", lambda self, work: (begun.append(self), begin(self, work))[1])
    monkeypatch.setattr(workers, "_cores", lambda: 2)
    monkeypatch.setattr(workers, "HEAD_START", 1)
    monkeypatch.setattr(workers, "START_SECONDS", 0.0 if pays else 1e9)
    if not pays:
        monkeypatch.delenv("TOY_MEET")
    assert main(["run", *SCORED, "--out", "o"]) == 0
    (one,) = set(offered)
    assert begun == ([one, one] if pays else [])
    assert len(offered) == (1 if pays else 2)  # of the second stage too, as long as it has done nothing
    assert not one._process.is_alive()
    assert sorted(path.name for path in meeting.iterdir()) == (["generate", "score"] if pays else [])
    assert produced(Path("o/toy-noise")) == produced(Path("one/toy-noise"))


@pytest.mark.parametrize(("short", "free", "started"), [(0, 1, 1), (1, 1, 0), (0, 0, 0)])
def test_no_process_gets_ready_for_little_work_or_without_memory(
    monkeypatch: pytest.MonkeyPatch, short: int, free: int, started: int
) -> None:
    offers: list[Any] = []
    ahead = SimpleNamespace(
        offer=lambda *what: offers.extend(what), stop=lambda at_once: offers.append(f"stopped at once: {at_once}")
    )
    monkeypatch.setattr(workers, "_cores", lambda: 2)
    monkeypatch.setattr(workers, "_free_bytes", lambda: workers.HEAD_START_BYTES + free)
    monkeypatch.setattr(workers, "_Other", lambda *_: ahead)
    work: Any = lambda *_: None  # noqa: E731
    with Crew(0) as crew:
        crew.each(range(workers.HEAD_START - short), work, lambda *_: None, lambda *_: None)
    assert offers == [work, workers.HEAD_START - 1, "stopped at once: True"][: 3 * started]


def test_a_process_that_was_offered_other_work_before_does_the_last() -> None:
    from toy_plugins import Times  # where a process that is started finds it too

    other, twice, thrice = workers._Other(1, 1), Times(2), Times(3)
    try:
        other.offer(twice, 6)
        other.offer(thrice, 7)
        assert other.begin(thrice) and list(other.answers(5)) == [("line", (15, 7)), ("done", None)]
        assert other.begin(twice) and list(other.answers(5)) == [("line", (10, None)), ("done", None)]
    finally:
        other.stop(at_once=True)


def test_what_a_process_that_gets_ready_prepares_is_told_with_its_first_batch(tmp_path: Path) -> None:
    """Prepared once: a metric that no clip of the task lacks not at all."""
    from toy_plugins import Difference, Heavy

    metrics: Any = [one(one.Options(), Runtime()) for one in (Difference, Heavy)]
    prepared: list[str] = []
    for metric in metrics:
        metric.prepare = lambda name=metric.name: prepared.append(name)
    identity: Any = SimpleNamespace(method="toy", dataset="toy")
    source: Any = SimpleNamespace(failures={}, digests={}, told=list, pair=lambda _: pytest.fail("a clip was opened"))
    work = Measuring(tmp_path, identity, "cpu", metrics, source, Progress())
    work.get_ready((("a", "b"), ((1,), ())))
    assert prepared == ["toy-heavy"]
    lines: list[Any] = []
    work((("a",), ((),)), lines.append)
    work((("b",), ((),)), lines.append)
    assert [(type(line), getattr(line, "metric", "")) for line in lines] == [
        (Prepared, "toy-heavy"),
        (Measured, ""),
        (Measured, ""),
    ]
    assert prepared == ["toy-heavy"]


def test_memory_and_cores_bound_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10 * 2**30))
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _self: SimpleNamespace(rss=2**31))
    assert workers._that_fit() == 1 + 4  # 8 of 10 GiB, 2 GiB each
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
        assert workers._cores() == 8
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
        assert workers._cores() == 2


class Local:
    """Cannot be pickled, as a plugin of a notebook cannot."""

    progress = Progress()

    def __init__(self) -> None:
        self.unpicklable = lambda: None

    def __call__(self, task: int, emit: workers.Emit) -> None:
        if task == 3:
            raise UsageError("three")
        emit(2 * task)


def test_work_that_cannot_travel_is_done_here(capsys: pytest.CaptureFixture[str]) -> None:
    done, told = [], []
    work = Local()
    work.progress = type("Told", (Progress,), {"note": lambda _self, text: told.append(text)})()
    with Crew(2) as crew:
        crew.each([1, 2], work, lambda task, item: done.append((task, item)), lambda *_: pytest.fail("lost"))
    assert done == [(1, 2), (2, 4)]
    assert len(told) == 1 and "a worker could not start" in told[0]
    with pytest.raises(UsageError, match="three"), Crew(1) as crew:
        crew.each([3, 1], work, lambda *_: pytest.fail("went on"), lambda *_: pytest.fail("lost"))


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A run whose first process waits two minutes at its second clip, for a sign in a folder that is not there."""
    # A shell without job control lets what it starts in the background ignore Ctrl-C.
    heed = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    start = f"{heed}; from syncdiff_bench.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "generate", *NOISE, "--out", "o", "--workers", "2"]
    environment = {**os.environ, "TOY_MEET": str(tmp_path / "nobody" / "meets")}
    with subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        last = time.monotonic() + 60
        children: list[psutil.Process] = []
        while not children and time.monotonic() < last:
            time.sleep(0.1)
            found = psutil.Process(process.pid).children(recursive=True)
            children = [child for child in found if "spawn_main" in " ".join(child.cmdline())]
        yield process, children
        for one in (*children, process):
            if psutil.pid_exists(one.pid):
                one.kill()


def test_ctrl_c_leaves_nobody_behind(stuck: tuple[subprocess.Popen[str], list[psutil.Process]]) -> None:
    process, children = stuck
    assert children
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "run the same command again" in err and "died" not in err
    assert psutil.wait_procs(children, timeout=20)[1] == []


def test_workers_end_with_the_first_process(stuck: tuple[subprocess.Popen[str], list[psutil.Process]]) -> None:
    process, children = stuck
    assert children
    process.kill()
    assert psutil.wait_procs(children, timeout=60)[1] == []


def test_a_second_stage_starts_no_more_than_paid_in_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the machine has cores were started there; there are twenty batches now."""
    crew, engaged = workers.Crew(0), []
    monkeypatch.setattr(crew, "_others", [object()])
    monkeypatch.setattr(crew, "_engage", lambda _dealing, count: engaged.append(count))
    done: list[int] = []
    crew.each(range(20), lambda task, _emit: done.append(task), lambda *_: None, lambda *_: None)  # type: ignore[arg-type]
    assert engaged == [2] and done == list(range(20))
