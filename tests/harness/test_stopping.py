"""SIGTERM ends a command as Ctrl-C does, whole, and says how to go on; stdout that cannot be written ends nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncdiff_bench.cli import launch, main
from syncdiff_bench.errors import BenchError, Stopped
from syncdiff_bench.registry import load_class
from syncdiff_bench.reproduction import make as making
from syncdiff_bench.reproduction.launching import to_its_end
from syncdiff_bench.reproduction.leases import Leases
from syncdiff_bench.runs.directory import load_run

pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")

NOISE = ["run", "--method", "toy-noise", "--dataset", "toy", "--metrics", "toy-error", "--set", "shift=3"]
COMMAND = [sys.executable, "-m", "syncdiff_bench"]


def told_to_stop(number: int = signal.SIGTERM) -> Callable[..., Any]:
    """In place of a method's work: its first clip, then the signal."""

    def generate(_self: Any, clips: Any, *, seed: int, progress: Any) -> Any:
        yield clips[0].id, clips[0].frames
        os.kill(os.getpid(), number)
        time.sleep(10)
        yield clips[1].id, clips[1].frames

    return generate


def test_sigterm_stops_says_how_to_go_on_and_leaves_its_handler(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(load_class("method", "toy-noise"), "generate", told_to_stop())
        assert main(NOISE) == 143
    assert "stopped by SIGTERM; run the same command again to resume" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
    run = load_run(Path("runs/toy-test/toy-noise"))
    assert [(one.clip, one.error) for one in run.generated.values()] == [("s0/0", None)]
    assert main(NOISE) == 0


def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        monkeypatch.setattr(time, "sleep", lambda _seconds: None)
        monkeypatch.setattr(load_class("method", "toy-noise"), "generate", told_to_stop())
        assert main(NOISE) == 0
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
def test_sigterm_to_all_workers_costs_no_clip(tmp_path: Path) -> None:
    """As a scheduler sends it: to every process of the job at once."""
    environment = {**os.environ, "TOY_MEET": str(tmp_path / "nobody" / "meets")}
    command = [*COMMAND, "generate", *NOISE[1:5], "--out", "o", "--workers", "2"]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        last = time.monotonic() + 60
        while not list(Path("o").rglob("*.mp4")) and time.monotonic() < last:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and "stopped by SIGTERM; run the same command again" in err
    assert "died" not in err
    assert all(one.error is None for one in load_run(Path("o/toy-noise")).generated.values())


def test_reproduce_begins_no_step_after_it_was_stopped(tmp_path: Path) -> None:
    began: list[str] = []

    def step(key: str, work: Callable[[Any], None]) -> making.Step:
        return making.Step(key, (), lambda: False, work)

    def stopped(_lease: Any) -> None:
        raise Stopped("stopped by SIGTERM")

    steps = [step("a", stopped), step("b", lambda _lease: None)]
    with pytest.raises(Stopped):
        making.make(steps, Leases(tmp_path / "leases"), began.append)
    assert began == ["a"]


def test_a_command_that_is_started_is_stopped_and_waited_for(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    heed = f"import signal, sys, time; from pathlib import Path; signal.signal(15, lambda *_: (Path({str(ended)!r})"
    script = f"{heed}.touch(), sys.exit(3))); Path({str(tmp_path / 'began')!r}).touch(); time.sleep(60)"

    def stop(_number: int, _frame: Any) -> None:
        raise Stopped("stopped by SIGALRM")

    before = signal.signal(signal.SIGALRM, stop)
    waiting = 'while [ ! -e "$1" ]; do sleep 0.05; done; kill -ALRM "$2"'
    try:
        with (
            subprocess.Popen(["sh", "-c", waiting, "sh", str(tmp_path / "began"), str(os.getpid())]),
            pytest.raises(Stopped),
        ):
            to_its_end([sys.executable, "-c", script])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ended.exists()
    assert to_its_end([sys.executable, "-c", "raise SystemExit(7)"]) == 7


# ----------------------------------------------------------------------------------------------- jobs of Slurm


def test_a_job_that_is_told_ahead_of_its_limit_ends_well_and_is_submitted_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """submitit's own handler raises within our work, where it would be the failure of a clip; it comes afterwards."""
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _frame: heard.append(number))
    try:
        with monkeypatch.context() as patch:
            patch.setenv("SUBMITIT_EXECUTOR", "slurm")
            patch.setattr(load_class("method", "toy-noise"), "generate", told_to_stop(signal.SIGUSR2))
            with pytest.raises(BenchError, match="exit code 143"):
                launch.carry_out(NOISE, 1, {})
        assert heard == [signal.SIGUSR2]
        assert "stopped by SIGUSR2" in capsys.readouterr().err
        assert [one.error for one in load_run(Path("runs/toy-test/toy-noise")).generated.values()] == [None]
        launch.carry_out(NOISE, 1, {})
        assert heard == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_what_is_submitted_again_is_the_same() -> None:
    pytest.importorskip("submitit")
    again = launch.carry_out.checkpoint(["run"], 2, {"A": "b"})  # type: ignore[attr-defined]
    assert again.function is launch.carry_out and again.args == (["run"], 2, {"A": "b"})


# ------------------------------------------------------------------------------- stdout that cannot be written


def shell(line: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which $CLI is the command line."""
    environment = {**os.environ, "CLI": " ".join(COMMAND), **changed}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr, done.stderr
    return done


FULL = "stdout cannot be written (No space left on device); free space, or send it elsewhere\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_stdout_costs_no_work(work_folder: Path) -> None:
    done = shell(f"$CLI {' '.join(NOISE)} > /dev/full")
    assert done.returncode == 0 and done.stderr.endswith(f"note: {FULL}")
    assert Path("runs/toy-test/leaderboard.md").is_file()
    shown = shell("$CLI report runs/toy-test > /dev/full")  # whose work it is to print
    assert (shown.returncode, shown.stderr) == (2, f"error: {FULL}")
    assert shell("$CLI report nowhere 2> /dev/full").returncode == 2


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_read_enough_is_no_error(unbuffered: str) -> None:
    for line in (
        "$CLI list metrics | head -1",
        "$CLI --help | true",
        "$CLI list metrics >&-",
        "$CLI list x 2>&- | cat",
    ):
        done = shell(line, PYTHONUNBUFFERED=unbuffered)
        assert done.returncode == (2 if "list x" in line else 0) and done.stderr == "", line


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_lacks_a_character(encoding: str) -> None:
    main(NOISE)
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": encoding}
    command = [*COMMAND, "report", "runs/toy-test"]
    done = subprocess.run(command, env={**os.environ, **locale}, capture_output=True, check=False)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert rb"ERR \u2193" in done.stdout
