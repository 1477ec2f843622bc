"""The loop on a problem whose answer is known: what it computes, what it writes, and that it resumes bit for bit."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from straight_line import DATA, SETTINGS, TRUTH, LineOptions, LineTask, run
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import options_from_values
from syncdiff_bench.origins import Origin, origin_of
from syncdiff_bench.training.task import TrainingSettings


def test_it_learns(tmp_path: Path) -> None:
    assert np.allclose(run(tmp_path), TRUTH, atol=0.05)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    distances = [row["validation"]["distance"] for row in rows if "validation" in row]
    assert distances[0] > distances[-1]


def test_the_model_says_what_it_was_trained_on(tmp_path: Path) -> None:
    run(tmp_path, replace(SETTINGS, steps=20))
    assert origin_of(tmp_path / "model") == Origin("points", drawn=True)


def test_a_killed_training_resumes_bit_for_bit(tmp_path: Path) -> None:
    undisturbed = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", stop_at=70)
    assert (tmp_path / "b/checkpoints/step-00000060").is_dir()
    (tmp_path / "b/checkpoints/.step-00000080.part").mkdir()  # half written: ignored
    assert run(tmp_path / "b") == undisturbed


def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    run(tmp_path, replace(SETTINGS, keep_last=2))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000100", "step-00000120"]


def test_an_interrupted_training_leaves_no_thread_behind(tmp_path: Path) -> None:
    """Also while its frames are still held, as by a traceback: whoever drops them last would have to wait for it."""
    with pytest.raises(KeyboardInterrupt) as interrupted:
        run(tmp_path, stop_at=75)
    assert [one.name for one in threading.enumerate() if one.name.startswith("batches")] == []
    assert interrupted.traceback


def test_what_was_logged_after_the_checkpoint_is_logged_once(tmp_path: Path) -> None:
    def rows(out: Path) -> list[dict[str, Any]]:
        lines = (out / "log.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k != "steps_per_s"} for line in lines]

    run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", stop_at=75)
    assert rows(tmp_path / "b")[-1]["step"] == 70  # behind the checkpoint of step 60
    with (tmp_path / "b/log.jsonl").open("a") as file:
        file.write('{"step": 7')  # a line that a kill cut off
    run(tmp_path / "b")
    assert rows(tmp_path / "b") == rows(tmp_path / "a")


def test_a_step_is_adamw_on_the_clipped_mean_gradient(tmp_path: Path) -> None:
    """Against the same in plain torch: two micro-batches per step, clip, cosine, warm-up, EMA with CompVis' warm-up."""
    settings = replace(
        SETTINGS,
        steps=30,
        batch_size=16,
        micro_batch=8,
        gradient_clip=0.5,
        warmup_steps=5,
        weight_decay=0.01,
        ema_decay=0.8,
    )
    weight = torch.zeros(3, requires_grad=True)
    average = torch.zeros(3)
    optimizer = torch.optim.AdamW([weight], weight_decay=0.01)
    task = LineTask(LineOptions(), DATA)
    for step in range(30):
        halves = [task.batch(0, step, part, 8) for part in range(2)]
        loss = sum((half["x"] @ weight - half["y"]).square().mean() / 2 for half in halves)
        assert isinstance(loss, Tensor)
        (gradient,) = torch.autograd.grad(loss, weight)
        weight.grad = gradient * min(1.0, 0.5 / float(gradient.norm()))
        warm = (step + 1) / 5 if step < 5 else 0.5 * (1 + np.cos(np.pi * (step - 5) / 25))
        optimizer.param_groups[0]["lr"] = 0.1 * warm
        optimizer.step()
        decay = min(0.8, (1 + step) / (10 + step)) if step else 0.0
        average = decay * average + (1 - decay) * weight.detach()
    assert np.allclose(run(tmp_path, settings), average, rtol=1e-4)


def test_bf16(tmp_path: Path) -> None:
    assert np.allclose(run(tmp_path, replace(SETTINGS, mixed_precision="bf16")), TRUTH, atol=0.1)


def test_the_schedule_counts_optimizer_steps(tmp_path: Path) -> None:
    """Not micro-batches: with two of them per step the rate at the end is what the formula says."""
    run(tmp_path, replace(SETTINGS, micro_batch=4))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    rates = {row["step"]: row["lr"] for row in rows if "lr" in row}
    assert rates[60] == pytest.approx(0.1 * 0.5)
    assert rates[30] == pytest.approx(0.1 * 0.5 * (1 + np.cos(np.pi / 4)))


# ------------------------------------------------------------------------------------- checkpoints


def as_version_010_wrote_it(checkpoint: Path, average: Any) -> None:
    """Schedule and EMA as pickles, no training.json."""
    state = {"decay": 0.9, "optimization_step": 60, "shadow_params": average}
    torch.save({"base_lrs": [0.1], "last_epoch": 60, "lr_lambdas": [None]}, checkpoint / "custom_checkpoint_0.pkl")
    torch.save(state, checkpoint / "custom_checkpoint_1.pkl")
    (checkpoint / "training.json").unlink()
    (checkpoint / "averages.safetensors").unlink()


def test_a_checkpoint_of_version_010_resumes_bit_for_bit(tmp_path: Path) -> None:
    undisturbed = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", stop_at=70)
    checkpoint = tmp_path / "b/checkpoints/step-00000060"
    as_version_010_wrote_it(checkpoint, [load_file(checkpoint / "averages.safetensors")["weight"]])
    assert run(tmp_path / "b") == undisturbed


class Bomb:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


def test_a_checkpoint_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", stop_at=70)
    as_version_010_wrote_it(tmp_path / "b/checkpoints/step-00000060", Bomb())
    shutil.rmtree(tmp_path / "b/checkpoints/step-00000040")
    with pytest.raises(UsageError, match=r"step-00000060 does not fit this training \(custom_checkpoint_1.pkl"):
        run(tmp_path / "b")
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, replace(SETTINGS, steps=20))
    monkeypatch.setattr(LineTask, "build", lambda _self: nn.Linear(5, 5))
    with pytest.raises(UsageError, match=r"step-00000020 does not fit this training .*choose another --out"):
        run(tmp_path, replace(SETTINGS, steps=40))


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("accelerate.Accelerator.save_state", full)
    with pytest.raises(
        UsageError, match=r"step-00000020.part cannot be written \(No space left on device\); free space"
    ):
        run(tmp_path)


# ---------------------------------------------------------------------------- settings, trackers, pictures


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps is 0; give 1 or more"),
        ({"keep_last": 0}, "keep_last is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; give a number above 0"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0"),
        ({"mixed_precision": "fp8"}, "'fp8' is not one of no, bf16"),
        ({"trackers": ["wandbb"]}, "'wandbb'.* is not .*wandb"),
    ],
)
def test_settings_that_mean_nothing_are_refused(values: dict[str, Any], message: str) -> None:
    given = {"steps": 10, "batch_size": 1, "learning_rate": 0.1, **values}
    with pytest.raises(UsageError, match=message):
        options_from_values(TrainingSettings, given, "[training]")


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracker: Any
) -> None:
    monkeypatch.setattr("syncdiff_bench.training.record.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=f"tracker '{tracker}' is not installed; pip install {tracker}"):
        run(tmp_path, replace(SETTINGS, trackers=(tracker,)))
    assert not (tmp_path / "checkpoints").exists()


def test_tensorboard_gets_the_log(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(tmp_path, replace(SETTINGS, trackers=("tensorboard",)))
    (events,) = tmp_path.rglob("syncdiff-bench/events.out.tfevents.*")
    found = reader.EventAccumulator(str(events)).Reload()
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    logged = {row["step"]: row["loss"] for row in rows if "loss" in row}
    assert {event.step: event.value for event in found.Scalars("loss")} == pytest.approx(logged)
    assert [event.step for event in found.Scalars("validation.distance")] == [40, 80, 120]


def test_pictures_are_drawn_at_their_interval_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def samples(_self: LineTask, model: nn.Module) -> Any:
        assert not model.training
        return np.full((4, 6, 3), 200, np.uint8)

    monkeypatch.setattr(LineTask, "samples", samples)
    run(tmp_path, replace(SETTINGS, sample_every=50))
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["step-00000050.png", "step-00000100.png", "step-00000120.png"]
    with Image.open(tmp_path / "samples" / names[0]) as picture:
        assert picture.size == (6, 4)
