"""The sync expert and its training, on a few clips of pocket's test split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from syncdiff_bench.errors import UsageError
from syncdiff_bench.training.loader import load_task, read_plan
from syncdiff_bench.training.loop import train
from syncdiff_methods.wav2lip.expert import SyncExpert, SyncExpertConfig, SyncExpertModel, contrast
from syncdiff_methods.wav2lip.expert_training import ExpertTask, ExpertTrainingOptions

pytestmark = pytest.mark.usefixtures("few_clips")
SMALL = (
    "data.split=test",
    "data.validation_split=test",
    "options.model.width=8",
    "training.batch_size=4",
    "training.log_every=1",
)


def test_contrast_of_known_embeddings() -> None:
    """Orthogonal pairs: the cross-entropy of one against n - 1, both ways; of two that are swapped, none is found."""
    scale = float(np.exp(1 / 0.07))
    loss, found = contrast(torch.eye(3), torch.eye(3))
    assert float(loss) == pytest.approx(np.log((scale + 2) / scale), abs=1e-6)
    assert float(found) == 1
    loss, found = contrast(torch.eye(3), torch.eye(3)[[1, 0, 2]])
    assert float(loss) == pytest.approx((2 * np.log(scale + 2) + np.log((scale + 2) / scale)) / 3, rel=1e-5)
    assert float(found) == pytest.approx(1 / 3)


def test_windows_of_a_stretch_are_those_of_its_frames() -> None:
    expert, faces, mel = SyncExpert(8), torch.rand(2, 7, 3, 96, 96), torch.randn(2, 3, 80, 16)
    lips, audio = expert.embed_windows(faces, mel)
    torch.testing.assert_close(lips[4], expert.embed_lips(faces[1:, 1:6])[0])
    torch.testing.assert_close(audio[4], expert.embed_audio(mel[1:, None, 1])[0])


def test_training_ends_in_an_expert_that_loads(tmp_path: Path) -> None:
    """30 steps: it finds the sound of more windows than the 1 of 32 of chance."""
    overrides = ("training.steps=30", "training.validate_every=30", "training.warmup_steps=3")
    plan = read_plan("wav2lip-expert/pocket-expert", (*SMALL, *overrides))
    folder = train(load_task(plan, None, tmp_path / "cache", "cpu"), plan.settings, tmp_path, cpu=True)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    found = [row["found"] for row in rows if "found" in row]
    assert np.mean(found[-5:]) > 4 / 32
    (figures,) = (row["validation"] for row in rows if "validation" in row)
    assert set(figures) == {"loss", "found"}
    model = SyncExpertModel.from_pretrained(folder)
    assert model.config == SyncExpertConfig(width=8, embedding=128) and not model.training


def test_sizes_of_the_shipped_configs() -> None:
    for name, width in (("paper-expert", 64), ("pocket-expert", 16)):
        assert read_plan(f"wav2lip-expert/{name}").options["model"]["width"] == width


def test_the_probe_has_the_shapes_of_a_batch(tmp_path: Path) -> None:
    task = load_task(read_plan("wav2lip-expert/pocket-expert", SMALL), None, tmp_path, "cpu")
    assert isinstance(task, ExpertTask)
    probe = task.probe_batch(2)
    task.prepare()
    batch = task.batch(0, 0, 0, 2)
    assert {k: (v.shape, v.dtype) for k, v in probe.items()} == {k: (v.shape, v.dtype) for k, v in batch.items()}
    assert len(task.describe(0, 0, 0, 2)) == 2


def test_one_window_alone_is_refused() -> None:
    with pytest.raises(UsageError, match="windows is 1; give 2 or more"):
        ExpertTrainingOptions(windows=1)


def test_a_missing_expert_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sync expert model at"):
        SyncExpertModel.from_pretrained(tmp_path / "nowhere")
