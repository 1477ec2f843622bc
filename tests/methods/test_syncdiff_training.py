"""SyncDiff's training tasks on a few clips of pocket's test split, at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from syncdiff_bench.errors import UsageError
from syncdiff_bench.training.loader import load_task, read_plan
from syncdiff_bench.training.loop import train
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.syncdiff.model import SyncDiffModel, to_frames, to_images
from syncdiff_methods.syncdiff.training import SyncDiffTask, TrainedSyncDiff

pytestmark = pytest.mark.usefixtures("few_clips")
CLIPS = 4
SMALL = (
    "data.split=test",
    "data.validation_split=test",
    "training.log_every=5",
    "training.checkpoint_every=1000",
)
SIZE = "options.model.frame_size=48"


@pytest.fixture(scope="module")
def autoencoder(few_clips: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained for 40 steps, the codebook filled after 30."""
    out = tmp_path_factory.mktemp("autoencoder")
    overrides = (
        *SMALL,
        "training.steps=40",
        "options.frame_size=48",
        "options.every=8",
        "options.start=random",
        "options.quantise_from=30",
        "options.autoencoder.codes=64",
        "options.autoencoder.channels=[8,16,32]",
        "options.autoencoder.norm_groups=8",
        "training.batch_size=8",
    )
    plan = read_plan("syncdiff-autoencoder/pocket-autoencoder", overrides)
    return train(load_task(plan, None, out / "cache", "cpu"), plan.settings, out, cpu=True)


def plan_of(autoencoder: Path, *overrides: str) -> SyncDiffTask:
    plan = read_plan("syncdiff/pocket", (*SMALL, SIZE, f"options.autoencoder={autoencoder}", *overrides))
    task = load_task(plan, None, autoencoder / "cache", "cpu")
    assert isinstance(task, SyncDiffTask)
    return task


def test_autoencoder_learns_and_fills_its_codebook(autoencoder: Path) -> None:
    rows = [json.loads(line) for line in (autoencoder.parent / "log.jsonl").read_text().splitlines()]
    losses = [row["l1"] for row in rows if "l1" in row]
    assert losses[-1] < 0.8 * losses[0]
    (figures,) = (row["validation"] for row in rows if "validation" in row)
    assert figures["codes_used"] >= 16
    codes = load_file(autoencoder / "autoencoder.safetensors")["vq.quantize.embedding.weight"]
    assert float(codes.float().std()) > 0.2  # where the latents are: a fresh codebook lies within 1 / codes of zero
    assert figures["psnr"] > 12


def test_latents_of_unit_variance(autoencoder: Path) -> None:
    task = plan_of(autoencoder)
    task.prepare()
    clean = torch.cat([clip.clean.float() for clip in task.clips])
    assert float(clean.std()) == pytest.approx(1, abs=0.25)


def test_validation_is_the_mean_of_as_many_batches_as_asked_for(autoencoder: Path) -> None:
    """Of a network that returns 1, 2, 3, ...: each batch is given twice, the second time without its previous frame."""

    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, **_batch: torch.Tensor) -> dict[str, torch.Tensor]:
            self.weight.data += 1
            return {"loss": self.weight.detach().clone()}

    task, told = plan_of(autoencoder, "options.validation_batches=3"), []
    task.prepare()
    task.tell = told.append
    assert task.validation(Counting()) == pytest.approx({"loss": (1 + 3 + 5) / 3, "loss_without_previous": 4})
    assert told == ["validation 1/3", "validation 2/3", "validation 3/3"]
    assert plan_of(autoencoder).options.validation_batches == 8


def test_loss_of_a_perfect_prediction_is_zero(autoencoder: Path) -> None:
    task = plan_of(autoencoder)
    task.prepare()
    module = task.build()
    assert isinstance(module, TrainedSyncDiff)
    batch = dict(task.batch(0, 0, 0, 3))
    module.denoiser.forward = lambda *_args: batch["clean"]  # type: ignore[method-assign]
    assert float(module(**batch)["loss"]) == pytest.approx(0, abs=1e-9)
    module.denoiser.forward = lambda *_args: batch["clean"] + 0.5  # type: ignore[method-assign]
    assert float(module(**batch)["loss"]) == pytest.approx(0.25, rel=1e-4)


def test_training_ends_in_a_model_that_loads(autoencoder: Path, tmp_path: Path) -> None:
    overrides = ("training.steps=3", "training.batch_size=2", "training.validate_every=3")
    plan = read_plan("syncdiff/pocket", (*SMALL, SIZE, f"options.autoencoder={autoencoder}", *overrides))
    folder = train(load_task(plan, None, autoencoder / "cache", "cpu"), plan.settings, tmp_path, cpu=True)
    model = SyncDiffModel.from_pretrained(folder)
    assert model.config.name == "pocket"
    assert model.config.autoencoder.scaling_factor != 1.0


def test_pictures_show_truth_above_what_is_generated(autoencoder: Path) -> None:
    """Four clips, six frames each; the true rows are the frames of the file at the model's size."""
    task = plan_of(autoencoder)
    task.prepare()
    picture = task.samples(task.build().eval())
    size = task.options.model.frame_size
    assert picture.shape == (4 * 2 * size, 6 * size, 3)
    clip = task.held_out[0]
    start = (len(clip) - 6) // 2
    frames = torch.from_numpy(Pocket().clip(clip.clip_id).frames[start : start + 6].copy())
    truth = to_frames(to_images(frames, size), size, size).numpy()
    np.testing.assert_array_equal(picture[:size], np.concatenate(truth, axis=1))
    assert not np.array_equal(picture[size : 2 * size], picture[:size])


def test_a_batch_can_be_told_in_words(autoencoder: Path) -> None:
    task = plan_of(autoencoder)
    task.prepare()
    batch, words = task.batch(3, 7, 1, 5), task.describe(3, 7, 1, 5)
    assert len(words) == 5
    assert [int(text.rpartition(" ")[2]) for text in words] == batch["frame"].tolist()
    assert all(text.startswith("clip 3000000000000000") for text in words)


def test_the_average_covers_unet_and_bottleneck(autoencoder: Path) -> None:
    task = plan_of(autoencoder)
    names = {name for name, _ in task.averaged(task.build())}
    assert "denoiser.bottleneck.weight" in names
    assert all(name.startswith("denoiser.") for name in names)


def test_frozen_layers_need_weights(autoencoder: Path) -> None:
    with pytest.raises(UsageError, match=r"frozen_layers is 2, but options.encoder names no weights"):
        plan_of(autoencoder, "options.model.audio.frozen_layers=2").prepare()


def test_a_missing_autoencoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"autoencoder\.json: no such file; import the published autoencoder"):
        plan_of(tmp_path / "nowhere").prepare()


def test_a_misspelt_key_is_refused() -> None:
    with pytest.raises(UsageError, match="stepps"):
        read_plan("syncdiff/pocket", ("training.stepps=3",))
    with pytest.raises(UsageError, match="no training config 'syncdiff/poket'"):
        read_plan("syncdiff/poket")
