"""DiffTalk's training on a few clips of pocket's test split, at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from syncdiff_bench.clips import landmarks_of
from syncdiff_bench.contracts import Clip, Media
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.training.loader import load_task, read_plan
from syncdiff_bench.training.loop import train
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.difftalk.method import DiffTalk, DiffTalkOptions
from syncdiff_methods.difftalk.sampling import KEPT
from syncdiff_methods.difftalk.training import DiffTalkTask, TrainedDiffTalk
from syncdiff_methods.syncdiff.audio import clip_windows
from syncdiff_methods.syncdiff.config import ConditionConfig
from syncdiff_methods.syncdiff.masking import apply_mask, below_nose, clip_mask, scaled
from syncdiff_methods.syncdiff.model import to_frames, to_images

pytestmark = pytest.mark.usefixtures("few_clips")
CLIPS = 2
SIDE = 32


def settings(home: Path) -> tuple[str, ...]:
    return (
        "data.split=test",
        "data.validation_split=test",
        f"options.autoencoder={home / 'vq'}",
        f"options.model.frame_size={SIDE}",
        "options.model.unet.channels=[32, 32]",
        "options.model.unet.attention=[false, true]",
        "options.half=false",
        "training.batch_size=4",
        "training.log_every=1",
    )


@pytest.fixture
def task(home: Path) -> DiffTalkTask:
    made = load_task(read_plan("difftalk/pocket-difftalk", settings(home)), None, home / "cache", "cpu")
    assert isinstance(made, DiffTalkTask)
    made.prepare()
    return made


def test_examples_are_frame_mask_sound_and_landmarks_of_the_clip_that_is_named(task: DiffTalkTask) -> None:
    """Each computed afresh from the clip, as inference does."""
    batch, dataset = task.batch(3, 5, 0, 4), Pocket()
    for i, words in enumerate(task.describe(3, 5, 0, 4)):
        _, clip_id, _, frame = words.split()
        clip, t = dataset.clip(clip_id), int(frame)
        images = to_images(torch.from_numpy(clip.frames), SIDE)
        points = scaled(landmarks_of(clip), (160, 160), SIDE)
        hidden = torch.from_numpy(below_nose(points, SIDE))
        with torch.no_grad():
            clean, masked = (task.autoencoder.encode(x[t : t + 1])[0] for x in (images, apply_mask(images, hidden)))
        torch.testing.assert_close(batch["clean"][i], clean, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(batch["masked"][i], masked, rtol=1e-3, atol=1e-3)
        rows = clip_windows(clip, len(clip.frames), "pocket")
        windows = np.pad(rows, ((4, 3), (0, 0), (0, 0)))[t : t + 8]
        np.testing.assert_allclose(batch["windows"][i].numpy(), windows, atol=1e-5)
        np.testing.assert_allclose(batch["landmarks"][i].numpy(), points[t, list(KEPT)], atol=1e-5)
        assert not torch.equal(batch["reference"][i], batch["clean"][i])


def test_the_loss_weighs_what_is_hidden(task: DiffTalkTask) -> None:
    """The untrained network predicts nothing (its last layer is zero): the error is the square of the target."""
    module = task.build()
    assert isinstance(module, TrainedDiffTalk)
    batch = dict(task.batch(0, 0, 0, 4))
    losses = module(**batch)
    error, area = batch["clean"].square().mean(dim=1), batch["mask"]
    weight = 1 + 5 * area  # area_weight = 6
    torch.testing.assert_close(losses["loss"], (error * weight).mean() / weight.mean())
    torch.testing.assert_close(losses["mouth"], (error * area).sum() / area.sum())


def test_sound_landmarks_and_reference_reach_the_prediction(task: DiffTalkTask) -> None:
    torch.manual_seed(0)
    module = task.build()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    batch = dict(task.batch(0, 0, 0, 4))
    whole = module(**batch)["loss"].item()
    for name in ("masked", "reference", "windows", "landmarks"):
        without = module(**{**batch, name: torch.zeros_like(batch[name])})["loss"].item()
        assert abs(without - whole) > 1e-6, name


def test_what_is_trained_runs_as_the_method(task: DiffTalkTask, home: Path, tmp_path: Path) -> None:
    plan = read_plan("difftalk/pocket-difftalk", (*settings(home), "training.steps=2", "training.validate_every=2"))
    train(task, plan.settings, tmp_path / "out", cpu=True)
    logged = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert any("mouth_deaf" in line.get("validation", ()) for line in logged)
    method = DiffTalk(DiffTalkOptions(model=str(tmp_path / "out" / "model"), blend="off"))
    clip = Pocket().clip(Pocket().clip_ids("test")[0])
    assert [used.name for used in method.weights_used()] == [
        f"difftalk/model/{part}" for part in ("autoencoder", "denoiser", "conditions")
    ]
    ((clip_id, frames),) = method.generate([clip], seed=0)
    assert clip_id == clip.id
    assert isinstance(frames, np.ndarray) and frames.shape == clip.frames.shape


def test_another_frame_size_than_the_autoencoders_is_refused(home: Path) -> None:
    plan = read_plan("difftalk/pocket-difftalk", (*settings(home), "options.model.frame_size=64"))
    with pytest.raises(UsageError, match=r"trained on 32 px frames, but options\.model\.frame_size is 64"):
        load_task(plan, None, home / "cache", "cpu")


def test_an_estimate_needs_no_data(home: Path) -> None:
    task = load_task(read_plan("difftalk/pocket-difftalk", settings(home)), None, home / "cache", "cpu")
    batch = task.probe_batch(2)
    assert batch is not None
    assert torch.isfinite(task.build()(**batch)["loss"])


# --------------------------------------------------------------------------------- landmarks and the mask


def test_syncdiff_can_hide_all_below_the_nose_too() -> None:
    clip = Pocket().clip(Pocket().clip_ids("test")[0])
    mask = clip_mask(clip, ConditionConfig(mask_mode="nose_to_bottom"), 96)
    nose = landmarks_of(clip)[:, 33, 1] * 96 / 160
    rows = np.arange(96) >= nose.astype(int)[:, None]
    np.testing.assert_array_equal(mask, rows[:, :, None].repeat(96, axis=2))


def test_frames_without_a_face_are_filled_in_between(tmp_path: Path) -> None:
    points = np.full((6, 68, 2), np.nan, np.float32)
    media = Media(np.zeros((6, 8, 8, 3), np.uint8), np.zeros(0, np.int16))
    clip = Clip("x", "mine", preloaded=media, landmarks_path=tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", points)
    with pytest.raises(ClipError, match="x: no frame has the landmarks of a face"):
        landmarks_of(clip)
    points[1], points[4] = 10.0, 40.0
    np.save(tmp_path / "x.npy", points)
    assert landmarks_of(clip)[:, 0, 0].tolist() == [10, 10, 20, 30, 40, 40]


def test_sample_images_show_truth_above_what_is_generated(task: DiffTalkTask) -> None:
    """The generated rows change with the weights, the true ones do not."""
    size = task.options.model.frame_size
    torch.manual_seed(0)
    trained = task.build().eval()
    first = task.samples(trained)
    assert first.shape[1:] == (6 * size, 3) and first.shape[0] % (2 * size) == 0
    clip = task.held_out[0]
    start = (len(clip) - 6) // 2
    frames = torch.from_numpy(task.data.dataset.clip(clip.clip_id).frames[start : start + 6].copy())
    truth = to_frames(to_images(frames, size), size, size).numpy()
    np.testing.assert_array_equal(first[:size], np.concatenate(truth, axis=1))
    with torch.no_grad():
        for parameter in trained.denoiser.conv_out.parameters():
            parameter.add_(0.5)
    second = task.samples(trained)
    np.testing.assert_array_equal(second[:size], first[:size])
    assert not np.array_equal(second[size : 2 * size], first[size : 2 * size])
