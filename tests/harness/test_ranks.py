"""Stage one shared by several processes: the files are those of one, whoever dies on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from console import refusal
from tiny_networks import SYNCDIFF

from syncdiff_bench.cli import main
from syncdiff_bench.errors import BenchError
from syncdiff_bench.files import locked
from syncdiff_bench.journals import Journal
from syncdiff_bench.runs.directory import RunDirectory, load_run
from syncdiff_bench.runs.plan import Selection, make_plan
from syncdiff_bench.runs.ranks import Ranks, these_ranks
from syncdiff_bench.runs.records import Generated
from syncdiff_bench.weights.digests import sha256_of
from syncdiff_methods.syncdiff.model import SyncDiffModel

pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")

SMALL = replace(SYNCDIFF, diffusion=replace(SYNCDIFF.diffusion, steps=2))
NOISE = ["--method", "toy-noise", "--dataset", "toy", "--set", "shift=3", "--set", "batch=1"]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def torchrun(ranks: int, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Ranks that hang are ended after three minutes, and each says where it stood."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    command = [*launcher, "-m", "syncdiff_bench", *arguments]
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONFAULTHANDLER": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=180)
        except BaseException as error:
            # Ranks have sessions of their own; left behind, they would hold our end of the pipes.
            for rank in psutil.Process(process.pid).children(recursive=True):
                rank.send_signal(signal.SIGABRT)
            process.kill()
            _, stderr = process.communicate()
            pytest.fail(f"{error}\n{stderr}")
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def produced(run: Path) -> dict[str, str]:
    """sha256 of everything but what holds times (the manifest, the remembered digests) and the lock: pytest shows what
    differs, and would compare the bytes of two videos for hours.
    """
    timed = ("run.json", ".run.copy.json", ".digests.json", "timings.jsonl", ".lock", ".lock.gate")
    files = (path for path in run.rglob("*") if path.is_file() and path.name not in timed)
    return {str(path.relative_to(run)): sha256_of(path) for path in files}


def records(path: Path) -> list[str]:
    return [json.loads(line)["clip"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_shares_are_disjoint_and_complete() -> None:
    batches = list(range(11))
    for count in (1, 2, 7, 20):
        shares = [Ranks(index, count).share(batches) for index in range(count)]
        assert sorted(batch for share in shares for batch in share) == batches
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert these_ranks() == Ranks(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert these_ranks() == Ranks(0, 1)
    Ranks().wait()
    assert Ranks().agreed("x") == "x"


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_any_number_of_ranks_makes_the_files_of_one(count: int) -> None:
    assert main(["generate", *NOISE, "--out", "one"]) == 0
    done = torchrun(count, "generate", *NOISE, "--out", "several")
    assert done.returncode == 0, done.stderr
    assert produced(Path("several/toy-noise")) == produced(Path("one/toy-noise"))
    # One process reports, not each.
    assert done.stderr.count("5 of 5 clips generated") == 1


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_ranks_of_a_whole_run_score_and_equal_one_process(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The first rank has no clip with a transcript but the first one: all know what every metric rests on."""
    monkeypatch.setenv("TOY_WEIGHTS", "ab" * 32)
    arguments = [*NOISE, "--metrics", "toy-error,toy-words,toy-heavy"]
    assert main(["run", *arguments, "--out", "one"]) == 0
    done = torchrun(count, "run", *arguments, "--out", "two")
    assert done.returncode == 0, done.stderr
    assert produced(Path("two/toy-noise")) == produced(Path("one/toy-noise"))
    assert Path("two/leaderboard.md").read_bytes() == Path("one/leaderboard.md").read_bytes()
    assert done.stdout.count("toy, test: 5 clips") == 1


def test_what_a_killed_rank_scored_stays_and_one_process_goes_on() -> None:
    arguments = [*NOISE, "--metrics", "toy-error"]
    assert main(["run", *arguments, "--out", "one"]) == 0
    assert main(["generate", *NOISE, "--out", "two"]) == 0
    died = torchrun(2, "score", *arguments, "--out", "two", TOY_KILL_SCORING="s1/3")
    assert died.returncode != 0 and "Signal 9" in died.stderr
    run = Path("two/toy-noise")
    assert records(run / "scores.rank-1.jsonl") == ["s0/1"]
    assert "s0/1" in {row.clip for row in load_run(run).scores}  # before anybody merges
    assert main(["score", *arguments, "--out", "two"]) == 0
    assert produced(run) == produced(Path("one/toy-noise"))


@pytest.mark.slow
def test_shards_of_several_ranks_equal_one_process() -> None:
    arguments = [*NOISE, "--metrics", "toy-error"]
    assert main(["run", *arguments, "--out", "one"]) == 0
    for index in (1, 2):
        done = torchrun(2, "run", *arguments, "--out", "two", "--shard", f"{index}/2")
        assert done.returncode == 0, done.stderr
    assert produced(Path("two/toy-noise")) == produced(Path("one/toy-noise"))


@pytest.mark.slow
def test_two_ranks_of_syncdiff_equal_one() -> None:
    """Diffusion, byte for byte: the same batches, whoever they are dealt to. A network of untrained weights does."""
    torch.manual_seed(0)
    SyncDiffModel(SMALL).save_pretrained(Path("model"))
    arguments = ["generate", "--limit", "3", "--set", "batch=1", "--set", "model=model", "--device", "cpu"]
    assert main([*arguments, "--out", "one"]) == 0
    done = torchrun(2, *arguments, "--out", "two")
    assert done.returncode == 0, done.stderr
    assert len(list(Path("one/syncdiff/videos").rglob("*.mp4"))) == 3
    assert produced(Path("two/syncdiff")) == produced(Path("one/syncdiff"))


def test_a_killed_rank_is_reported_and_loses_nothing() -> None:
    """Rank 1 of 2 is killed -9 at the second of its clips; what was finished stays, and one process goes on."""
    assert main(["generate", *NOISE, "--out", "one"]) == 0
    died = torchrun(2, "generate", *NOISE, "--out", "two", TOY_KILL="s1/3")
    assert died.returncode != 0
    assert "Signal 9" in died.stderr and "rank      : 1" in died.stderr
    run = Path("two/toy-noise")
    assert records(run / "generation.rank-1.jsonl") == ["s0/1"]
    assert "s0/1" in load_run(run).generated  # before anybody merges
    finished = {path: path.stat().st_mtime_ns for path in (run / "videos").rglob("*.mp4")}
    assert main(["generate", *NOISE, "--out", "two"]) == 0
    assert produced(run) == produced(Path("one/toy-noise"))
    assert all(path.stat().st_mtime_ns == before for path, before in finished.items())


def test_lines_of_ranks_that_were_killed_while_merging_are_harmless() -> None:
    plan = make_plan(Selection(("toy-noise",), "toy"), with_metrics=False)
    (run_plan,) = plan.runs
    with RunDirectory.opened(Path("o"), run_plan.identity, "cpu") as run:
        run.add_generated(Generated("s0/0", 3))
        for rank in (0, 1):
            Journal(run.path / f"generation.rank-{rank}.jsonl").append([Generated(f"s0/{rank}", 3).to_row()])
        with (run.path / "generation.rank-1.jsonl").open("a") as file:
            file.write('{"schema": 1, "cl')
    with RunDirectory.opened(Path("o"), run_plan.identity, "cpu") as run:
        assert sorted(run.generated) == ["s0/0", "s0/1"]
    assert list(Path("o").glob("generation.rank-*")) == []


def test_a_run_of_several_ranks_is_not_disturbed(capsys: pytest.CaptureFixture[str]) -> None:
    """While any of them lives, nobody else may write: not even after the first one died."""
    assert main(["generate", *NOISE, "--out", "o"]) == 0
    with locked(Path("o/toy-noise/.lock"), member=1):
        assert "in use by another process" in refusal(capsys, ["generate", *NOISE, "--out", "o"])


def test_a_launcher_that_nobody_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import accelerate

    def unreachable(**_: object) -> None:
        raise RuntimeError("connection refused\nby 127.0.0.1")

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(accelerate, "PartialState", unreachable)
    with pytest.raises(BenchError, match=r"a rank died.*connection refused by") as told:
        these_ranks()
    assert "\n" not in str(told.value)
