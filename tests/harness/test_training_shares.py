"""A step's examples shared out over micro-batches and processes: the same training, whoever computes what."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from straight_line import DATA, SETTINGS, LineOptions, LineTask, launched, run, weight_of
from torch import Tensor

from syncdiff_bench.cli import main
from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import options_from_values
from syncdiff_bench.training.loader import read_plan, shipped_configs
from syncdiff_bench.training.loop import train
from syncdiff_bench.training.task import TrainingSettings

QUARTERS = replace(SETTINGS, steps=15, batch_size=12, micro_batch=3, log_every=5, validate_every=15, checkpoint_every=5)


def log_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def trained(out: Path) -> dict[str, Any]:
    known: dict[str, Any] = json.loads((out / "model" / "trained.json").read_text())["training"]
    return known


def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    """Dropout included; a log line has no more than its figures, and `steps_per_s`, to differ in."""
    alone = run(tmp_path / "alone", QUARTERS, dropout=0.3)
    done = launched(2, tmp_path / "shared", QUARTERS, dropout=0.3)
    assert done.returncode == 0, done.stderr[-3000:]
    assert np.allclose(weight_of(tmp_path / "shared/model"), alone, rtol=1e-5)
    one, other = log_of(tmp_path / "alone"), log_of(tmp_path / "shared")
    assert [row["step"] for row in one] == [row["step"] for row in other] == [0, 5, 10, 15, 15]
    for mine, theirs in zip(one[1:-1], other[1:-1], strict=True):
        assert mine["lr"] == theirs["lr"]
        assert (mine["loss"], mine["gradient_norm"]) == pytest.approx((theirs["loss"], theirs["gradient_norm"]), 1e-4)
    shared = {"batch_size": 12, "micro_batch": 3, "processes": 2}
    assert other[0] == {"step": 0, "training": shared}
    assert trained(tmp_path / "shared") == {"steps": 15, "examples": 15 * 12, **shared}
    assert trained(tmp_path / "alone") == {**trained(tmp_path / "shared"), "processes": 1}


def test_one_process_goes_on_where_two_stopped(tmp_path: Path) -> None:
    """After an odd number of steps of two micro-batches each, a process has four to do before it updates."""
    undisturbed = run(tmp_path / "alone", QUARTERS)
    assert launched(2, tmp_path / "handed-over", replace(QUARTERS, steps=5, schedule="constant")).returncode == 0
    settings = replace(QUARTERS, schedule="constant")
    assert np.allclose(run(tmp_path / "handed-over", settings), run(tmp_path / "constant", settings), rtol=1e-5)
    assert not np.allclose(undisturbed, run(tmp_path / "constant", settings), rtol=1e-3)
    assert trained(tmp_path / "handed-over")["examples"] == 15 * 12
    counts = [row["training"]["processes"] for row in log_of(tmp_path / "handed-over") if "training" in row]
    assert counts == [2, 1]


@pytest.mark.parametrize(("micro_batch", "drawn"), [(0, [(0, 8)]), (8, [(0, 8)]), (4, [(0, 4), (1, 4)])])
def test_what_is_drawn(tmp_path: Path, micro_batch: int, drawn: list[tuple[int, int]]) -> None:
    """Of a step at once, what has always been drawn: number 0, the whole batch."""
    calls = []

    class Watched(LineTask):
        def batch(self, seed: int, step: int, part: int, size: int) -> Mapping[str, Tensor]:
            calls.append((seed, step, part, size))
            return super().batch(seed, step, part, size)

    settings = replace(SETTINGS, steps=3, seed=7, micro_batch=micro_batch)
    train(Watched(LineOptions(), DATA), settings, tmp_path, cpu=True)
    assert calls == [(7, step, *one) for step in range(3) for one in drawn]


def test_a_step_that_cannot_be_shared_is_refused() -> None:
    paper = TrainingSettings(10, 48, 1e-3, micro_batch=8)
    assert [paper.share(n) for n in (1, 2, 3, 6)] == [6, 3, 2, 1]
    with pytest.raises(UsageError) as caught:
        paper.share(8)
    assert str(caught.value) == (
        "8 processes cannot share the 48 examples of a step, 6 micro-batches of 8, equally;"
        " set training.micro_batch=6, or start 1, 2, 3 or 6"
    )
    assert replace(paper, micro_batch=6).share(8) == 1
    with pytest.raises(UsageError, match=r"5 processes .* equally; start 1, 2, 3 or 6$"):
        paper.share(5)
    with pytest.raises(UsageError, match=r"1 micro-batch of 48, equally; set training.micro_batch=16, or start 1$"):
        replace(paper, micro_batch=0).share(3)


@pytest.mark.slow
def test_a_refused_launch_is_one_line(tmp_path: Path) -> None:
    done = launched(2, tmp_path / "out", SETTINGS)
    assert done.returncode != 0
    assert "error: 2 processes cannot share the 8 examples of a step, 1 micro-batch of 8, equally" in done.stderr
    assert 'Traceback (most recent call last):\n  File "' + __file__ not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("micro_batch", [5, 16, -4])
def test_a_micro_batch_divides_the_batch(micro_batch: int) -> None:
    given = {"steps": 10, "batch_size": 8, "learning_rate": 0.1, "micro_batch": micro_batch}
    with pytest.raises(UsageError, match=f"micro_batch is {micro_batch}, and batch_size 8; give 1, 2, 4 or 8"):
        options_from_values(TrainingSettings, given, "[training]")


def test_gradient_accumulation_says_what_took_its_place() -> None:
    with pytest.raises(UsageError, match=r"gradient_accumulation is gone; .* batch_size = 16 and micro_batch = 8$"):
        read_plan("syncdiff/pocket", ("training.gradient_accumulation=2",))


def test_train_alone_lists_the_configs(capsys: pytest.CaptureFixture[str]) -> None:
    """Each once, though several trainers of one package see its files."""
    assert main(["train"]) == 0
    printed = capsys.readouterr().out
    names = [line.split()[0] for line in printed.splitlines() if not line.startswith(" ")]
    assert len(names) == len(set(names)) == len(set(shipped_configs().values())) >= 11
    assert {name.partition("/")[0] for name in names} >= {"syncdiff", "syncdiff-autoencoder", "difftalk", "syncnet"}
    assert all(read_plan(name).trainer == name.partition("/")[0] for name in names)
    assert re.search(r"^syncdiff/paper +SyncDiff at the paper's size \(section 4.3\)$", printed, re.MULTILINE)
    assert main(["train", "syncdiff/papers"]) == 2
    error = capsys.readouterr().err
    assert "no training config 'syncdiff/papers'; did you mean 'syncdiff/paper'?" in error
    assert "syncdiff-autoencoder/pocket," not in error


@pytest.mark.parametrize("config", ["syncdiff/paper", "difftalk/paper-difftalk"])
def test_the_papers_trainings_see_its_examples(config: str) -> None:
    """200 epochs of 45,839 clips in steps of 48; the learning rate is 1e-6 for each example of a step."""
    settings = read_plan(config).settings
    assert settings.steps * settings.batch_size == pytest.approx(200 * 45_839, rel=1e-3)
    assert settings.learning_rate == pytest.approx(1e-6 * settings.batch_size)
    assert [n for n in range(1, 9) if settings.parts % n == 0] == [1, 2, 4, 8]  # processes that can share a step
