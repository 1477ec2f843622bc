"""Pre-training of an audio encoder: what is blanked, what is told, and that SyncDiff starts from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.fft import idct

from syncdiff_bench.training.loader import load_task, read_plan
from syncdiff_bench.training.loop import train
from syncdiff_methods.syncdiff.audio import AudioCondition
from syncdiff_methods.syncdiff.config import AudioConfig
from syncdiff_methods.syncdiff.encoder_training import EncoderTask, TrainedEncoder, cepstra, nearest
from syncdiff_methods.syncdiff.training import fill_encoder

pytestmark = pytest.mark.usefixtures("few_clips")
SMALL = ("data.split=test", "data.validation_split=test", "training.batch_size=4", "training.validate_every=1000")


def task_of(folder: Path, *overrides: str) -> EncoderTask:
    plan = read_plan("syncdiff-encoder/pocket-encoder", (*SMALL, *overrides))
    task = load_task(plan, None, folder, "cpu")
    assert isinstance(task, EncoderTask)
    return task


def test_cepstra_are_those_of_each_row_by_itself() -> None:
    """A row that is one cosine over its 26 filters has one coefficient; the rows of a frame stay apart."""
    rows = np.zeros((2, 4, 26))
    wanted = np.zeros((2, 4, 26))
    wanted[0, 1, 3], wanted[1, 2, 12], wanted[1, 0, 20] = 2.0, -1.0, 5.0
    rows[:] = idct(wanted, type=2, norm="ortho", axis=-1)
    found = cepstra(rows.reshape(2, 104).astype(np.float32))
    np.testing.assert_allclose(found, wanted[..., :13].reshape(2, 52), atol=1e-6)


def test_every_row_belongs_to_the_nearest_centre() -> None:
    centres = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]])
    assert nearest(centres, np.array([[3.9, 0.2], [0.1, 1.4], [0.1, 1.6]])).tolist() == [1, 0, 2]


def test_blanked_frames_come_in_spans_and_are_a_share(tmp_path: Path) -> None:
    """Of starts with probability .5 / 5 each, a frame stays unblanked when none of the 5 that reach it is one."""
    task = task_of(tmp_path, "options.clusters=8")
    task.prepare()
    batch = task.batch(0, 0, 0, 400)
    masked = batch["masked"].numpy()
    assert masked[:, 10:30].mean() == pytest.approx(1 - 0.9**5, abs=0.02)
    edges = np.diff(masked[:, :30].astype(int), axis=1)
    lengths = [np.flatnonzero(row == -1)[0] - np.flatnonzero(row == 1)[0] for row in edges[:, 5:] if _span_inside(row)]
    assert min(lengths) == 5


def _span_inside(row: np.ndarray) -> bool:
    begins, ends = np.flatnonzero(row == 1), np.flatnonzero(row == -1)
    return bool(len(begins) and len(ends) and begins[0] < ends[0])


def test_the_loss_hears_nothing_of_a_blanked_frame(tmp_path: Path) -> None:
    """The input may say anything there. Of an untrained head every cluster is about as likely: log(K) nats."""
    task = task_of(tmp_path, "options.clusters=8")
    task.prepare()
    torch.manual_seed(0)
    model = task.build().eval()
    assert isinstance(model, TrainedEncoder)
    batch = dict(task.batch(0, 0, 0, 4))
    first = model(**batch)
    assert first["blanked"].item() == pytest.approx(np.log(8), abs=0.7)
    assert first["loss"].item() == pytest.approx((first["blanked"] + first["heard_frames"]).item())
    other = torch.where(batch["masked"][..., None], torch.full_like(batch["heard"], 9.0), batch["heard"])
    assert torch.equal(model(**{**batch, "heard": other})["loss"], first["loss"])
    assert not torch.equal(model(**{**batch, "heard": batch["heard"] + 1})["loss"], first["loss"])


def test_syncdiff_starts_from_what_was_trained(tmp_path: Path) -> None:
    plan = read_plan("syncdiff-encoder/pocket-encoder", (*SMALL, "training.steps=12", "options.clusters=8"))
    folder = train(load_task(plan, None, tmp_path / "cache", "cpu"), plan.settings, tmp_path / "out", cpu=True)
    audio = AudioConfig(layers=3, dim=96, ffn_dim=384, heads=4, position_kernel=16, position_groups=8, frozen_layers=2)
    condition = AudioCondition(audio)
    fill_encoder(condition, str(folder))
    for name, saved in load_file(folder / "encoder.safetensors").items():
        assert torch.equal(condition.encoder.state_dict()[name], saved.float()), name
