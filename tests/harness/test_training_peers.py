"""Two processes under torchrun fill a cache together, however long one of them takes; a dead one is named."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from launched import torchrun

TIMEOUT = 240
GROUP_SECONDS = 5  # what a collective of the default group may last
# Eight clips, two a shard: every process has four. Those of process 1 take longer than any collective may.
TRAINING = """
import os, sys, time
from datetime import timedelta
from pathlib import Path

import torch
from torch import nn

from syncdiff_bench.contracts import NoOptions
from syncdiff_bench.errors import BenchError
from syncdiff_bench.plugins import load_dataset
from syncdiff_bench.training import cache
from syncdiff_bench.training.cache import TensorCache
from syncdiff_bench.training.loop import train
from syncdiff_bench.training.task import TrainingData, TrainingSettings, TrainingTask

cache.CLIPS_PER_SHARD = 2
OUT, SECONDS = Path(sys.argv[1]), float(sys.argv[2])
RANK = int(os.environ["RANK"])
CLIPS = [f"s/{i}" for i in range(8)]

def encode(clip_id):
    with (OUT / f"asked-{RANK}").open("a") as asked:
        print(clip_id, file=asked)
    (OUT / f"pid-{RANK}").write_text(str(os.getpid()))
    time.sleep(SECONDS * RANK)
    return {"x": torch.full((1, 1), float(clip_id[2:]))}

class Weight(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return {"loss": (self.weight * x).square().mean()}

class Slow(TrainingTask):
    def caches(self):
        return [TensorCache(OUT / "cache", "numbers", "train", {}, CLIPS, encode, 4)]

    def prepare(self):
        (found,) = self.caches()
        self.rows = torch.cat([tensors["x"] for tensors in found.read().values()])

    def build(self):
        return Weight()

    def batch(self, seed, step, part, size):
        return {"x": self.rows}

    def validation(self, model):
        return {"rows": float(len(self.rows))}

    def export(self, model, folder):
        folder.mkdir(parents=True)

torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=GROUP_SECONDS))
settings = TrainingSettings(steps=2, batch_size=2, micro_batch=1, learning_rate=0.1, ema_decay=0.0)
try:
    train(Slow(NoOptions(), TrainingData(load_dataset("pocket"), "test", "test", OUT)), settings, OUT / "out", cpu=True)
except BenchError as error:
    raise SystemExit(f"error: {error}")
"""


def started(folder: Path, seconds: float) -> AbstractContextManager[subprocess.Popen[str]]:
    """Its output in FOLDER/log.txt."""
    script = folder / "training.py"
    script.write_text(TRAINING.replace("GROUP_SECONDS", str(GROUP_SECONDS)))
    return torchrun([str(script), str(folder), str(seconds)], folder / "log.txt")


def asked(folder: Path) -> list[list[str]]:
    return [(folder / f"asked-{rank}").read_text().split() for rank in (0, 1)]


@pytest.mark.slow
def test_a_share_may_take_longer_than_any_collective(tmp_path: Path) -> None:
    with started(tmp_path, 2.0) as process:
        assert process.wait(TIMEOUT) == 0, (tmp_path / "log.txt").read_text()[-4000:]
    assert asked(tmp_path) == [["s/0", "s/1", "s/4", "s/5"], ["s/2", "s/3", "s/6", "s/7"]]
    assert '"rows": 8.0' in (tmp_path / "out" / "log.jsonl").read_text()


@pytest.mark.slow
def test_a_process_that_dies_while_caches_fill_is_named(tmp_path: Path) -> None:
    with started(tmp_path, 60.0) as process:
        end = time.monotonic() + TIMEOUT
        while not ((tmp_path / "pid-1").is_file() and (tmp_path / "pid-1").read_text()):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        os.kill(int((tmp_path / "pid-1").read_text()), signal.SIGKILL)
        assert process.wait(TIMEOUT) != 0
    said = (tmp_path / "log.txt").read_text()
    (line,) = re.findall(r"^error: .*$", said, re.MULTILINE)
    assert line == (
        "error: process 0: process 1 is gone without a word (killed, as where memory runs out); there is no checkpoint"
        " yet; run the same command again to resume"
    )
