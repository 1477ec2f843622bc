"""Two processes under torchrun: a training that loses one, and then all of them, ends as if nothing had happened."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest
import torch
from launched import torchrun
from safetensors.torch import load_file

from syncdiff_bench.weights.digests import sha256_of

pytestmark = pytest.mark.slow

SETTINGS = (
    "data.split=test",
    "data.validation_split=test",
    "training.steps=60",
    "training.batch_size=8",
    "training.micro_batch=2",
    "training.warmup_steps=4",
    "training.checkpoint_every=10",
    "training.log_every=10",
    "training.validate_every=60",
    "training.sample_every=0",
    "options.model.frame_size=32",
    "options.model.unet.channels=[32, 32, 32]",
    "options.half=false",
)
TIMEOUT = 600


def started(home: Path, out: Path, *more: str, processes: int = 2) -> AbstractContextManager[subprocess.Popen[str]]:
    """Its output in OUT.txt."""
    overrides = [
        part for setting in (*SETTINGS, f"options.autoencoder={home / 'vq'}", *more) for part in ("--set", setting)
    ]
    training = ["-m", "syncdiff_bench.train", "syncdiff/pocket", "--device", "cpu", "--out", str(out), *overrides]
    return torchrun(training, home / f"{out.name}.txt", processes)


def finish(home: Path, out: Path, *more: str) -> None:
    with started(home, out, *more) as process:
        assert process.wait(TIMEOUT) == 0, (home / f"{out.name}.txt").read_text()[-4000:]


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + TIMEOUT
    while not path.exists():
        assert process.poll() is None, f"ended before {path.name}"
        assert time.monotonic() < end
        time.sleep(0.02)


def workers(process: subprocess.Popen[str]) -> dict[int, psutil.Process]:
    """Rank -> process."""
    children = psutil.Process(process.pid).children(recursive=True)
    found = {}
    for child in children:
        rank = child.environ().get("RANK")
        if rank is not None and "syncdiff_bench.train" in child.cmdline():
            found[int(rank)] = child
    return found


def kill_rank_1(process: subprocess.Popen[str]) -> None:
    workers(process)[1].kill()


def kill_all(process: subprocess.Popen[str]) -> None:
    ranks = workers(process).values()
    process.kill()
    for worker in ranks:
        worker.kill()


def interrupt(home: Path, out: Path, step: int, kill: Callable[[subprocess.Popen[str]], None]) -> None:
    with started(home, out) as process:
        wait_for(out / "checkpoints" / f"step-{step:08d}", process)
        kill(process)
        assert process.wait(TIMEOUT) != 0


def exported(out: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted((out / "model").iterdir())}


def test_a_training_killed_twice_ends_with_the_same_weights(home: Path) -> None:
    finish(home, home / "undisturbed")
    out = home / "killed"
    interrupt(home, out, 10, kill_rank_1)
    said = (home / "killed.txt").read_text()
    reason = r"process 0: process 1 is gone without a word"
    line = rf"^error: {reason}.*step-0000\d+; run the same command again to resume$"
    assert re.search(line, said, re.MULTILINE), said[-4000:]
    assert not (out / "model").exists()
    interrupt(home, out, 30, kill_all)
    finish(home, out)
    assert "resumed from" in (home / "killed.txt").read_text()
    assert exported(out) == exported(home / "undisturbed")
    names = ("killed", "undisturbed")
    logs = [[json.loads(line) for line in (home / name / "log.jsonl").read_text().splitlines()] for name in names]
    for rows in logs:
        for row in rows:
            row.pop("steps_per_s", None)
    assert logs[0] == logs[1]


def test_nan_stops_both_processes_with_one_line(home: Path) -> None:
    """One line for both: a learning rate beyond reason breaks the losses of each."""
    out = home / "poisoned"
    with started(home, out, "training.learning_rate=1e30", "training.warmup_steps=0") as process:
        assert process.wait(TIMEOUT) == 1  # torchrun's own
    said = (home / "poisoned.txt").read_text()
    (line,) = re.findall(r"^error: not a number at step .*$", said, re.MULTILINE)
    assert re.search(r"in micro-batch [13] of process 1 \(clip \d+/\d+ frame \d+, clip", line)
    assert re.search(r"in micro-batch [02] of process 0 \(clip", line)
    assert "there is no checkpoint yet" in line


def test_own_previous_frames_are_the_same_on_two_processes(home: Path) -> None:
    """Scheduled sampling: which previous frames are estimated, and from what, belongs to the micro-batch."""
    short = ("training.steps=6", "training.checkpoint_every=6", "training.log_every=1", "training.validate_every=6")
    sampling = ("options.scheduled.probability=1", "options.scheduled.steps=4", "options.validation_batches=1")
    losses, weights = [], []
    for processes in (1, 2):
        out = home / f"scheduled-{processes}"
        with started(home, out, *short, *sampling, processes=processes) as process:
            assert process.wait(TIMEOUT) == 0, (home / f"{out.name}.txt").read_text()[-4000:]
        rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        losses.append([row["loss"] for row in rows if "loss" in row])
        weights.append(load_file(out / "model" / "denoiser.safetensors"))
    assert len(losses[0]) == 6
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for name, one in weights[0].items():
        torch.testing.assert_close(one, weights[1][name], rtol=1e-3, atol=1e-4, msg=name)
