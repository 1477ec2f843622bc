"""Training a small SyncNet: the contrast in closed form, what a step is shown, and the way from clips to `lse`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from syncdiff_bench.contracts import Clip, Dataset, Finding, Media, Pair
from syncdiff_bench.errors import UsageError
from syncdiff_bench.networks.syncnet import SyncNetConfig
from syncdiff_bench.training.loop import train
from syncdiff_bench.training.task import TrainingData, TrainingSettings
from syncdiff_metrics.lse import LSE, LSEOptions
from syncdiff_metrics.training.clips import Augmentation, augmented, read_split
from syncdiff_metrics.training.syncnet import SyncNetOptions, SyncNetTask, contrast


class FlashingDiscs(Dataset):
    """A disc opens as loud as the sound is: the simplest world in which lips and sound belong together."""

    name = "discs"

    def __init__(self, clips: int = 4, frames: int = 48, samples_per_frame: int = 640) -> None:
        super().__init__()
        self.shape = (clips, frames, samples_per_frame)

    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def clip_ids(self, split: str) -> tuple[str, ...]:
        return tuple(f"s/{i}" for i in range(self.shape[0]))

    def clip(self, clip_id: str) -> Clip:
        _, frames, per_frame = self.shape
        random = np.random.default_rng(int(clip_id[2:]))
        loud = random.random(frames)
        y, x = np.mgrid[0:64, 0:64] - 31.5
        opened = np.hypot(y, x)[None] < 4 + 20 * loud[:, None, None]
        pictures = np.where(opened[..., None], 220, 40).astype(np.uint8).repeat(3, axis=3)
        tone = np.sin(np.arange(per_frame) * 0.3)
        sound = (loud[:, None] * tone[None] * 9000).astype(np.int16).reshape(-1)
        return Clip(clip_id, self.name, transcript="one two", preloaded=Media(pictures, sound))

    def fingerprint(self, split: str) -> str:
        return f"discs {self.shape}"

    def verify(self, split: str) -> Iterator[Finding]:
        yield from ()


OPTIONS = SyncNetOptions(SyncNetConfig(width=1 / 16, embedding=8, side=64), windows=8, half=True)


def task_on(dataset: Dataset, cache: Path, options: SyncNetOptions = OPTIONS) -> SyncNetTask:
    task = SyncNetTask(options, TrainingData(dataset, "train", "train", cache))
    task.prepare()
    return task


def test_contrast_is_the_cross_entropy_of_distances():
    """Two pairs and the zero vector, worked out by hand."""
    lips, sound = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[3.0, 4.0], [0.0, 3.0]])
    # distances: lips 0 to (sound 0, sound 1, zero) = 0, sqrt(10), 5; lips 1 to them = sqrt(18), 2, 1
    from_lips = [math.log(1 + math.exp(-math.sqrt(10)) + math.exp(-5)), 0.0]
    from_lips[1] = math.log(math.exp(-math.sqrt(18)) + math.exp(-2) + math.exp(-1)) + 2
    from_sound = [math.log(1 + math.exp(-math.sqrt(18))), math.log(math.exp(-math.sqrt(10)) + math.exp(-2)) + 2]
    loss, found = contrast(lips, sound)
    assert float(loss) == pytest.approx((sum(from_lips) + sum(from_sound)) / 4, abs=2e-3)
    assert float(found) == 0.5  # the second lips lie nearer to the zero vector than to their sound


def test_a_batch_is_a_function_of_seed_step_and_rank(tmp_path: Path):
    task = task_on(FlashingDiscs(), tmp_path)
    first, again, other = task.batch(1, 5, 0, 3), task.batch(1, 5, 0, 3), task.batch(1, 6, 0, 3)
    assert torch.equal(first["faces"], again["faces"])
    assert torch.equal(first["cepstra"], again["cepstra"])
    assert not torch.equal(first["faces"], other["faces"])
    assert first["faces"].shape == (3, 12, 64, 64, 3)
    assert first["cepstra"].shape == (3, 8, 13, 20)


def test_a_batch_shows_lips_and_sound_of_the_same_moment(tmp_path: Path):
    """Loudness (cepstrum 0, the log energy) follows the size of the disc; a shift of one frame would break it."""
    options = SyncNetOptions(OPTIONS.network, 8, Augmentation(0, 0.0, 0.0, mirror=False))
    batch = task_on(FlashingDiscs(), tmp_path, options).batch(0, 0, 0, 4)
    opened = batch["faces"].mean(dim=(2, 3, 4))  # (4, 12)
    energy = batch["cepstra"][:, :, 0]  # (4, 8, 20); MFCC frames 4 v .. 4 v + 3 sound under frame v
    loud = torch.cat([energy[:, :, :4].mean(dim=2), energy[:, -1, 4:].unflatten(1, (4, 4)).mean(dim=2)], dim=1)
    order = [np.corrcoef(a.argsort().argsort(), b.argsort().argsort())[0, 1] for a, b in zip(opened, loud, strict=True)]
    assert min(order) > 0.9


def test_another_timbre_moves_every_cepstrum_but_the_energy_for_the_whole_clip(tmp_path: Path):
    """The rest of the batch stays what it is without: the pictures, and the order of the draws before."""
    plain = task_on(FlashingDiscs(), tmp_path).batch(0, 0, 0, 1)
    other = task_on(FlashingDiscs(), tmp_path, replace(OPTIONS, timbre=4.0)).batch(0, 0, 0, 1)
    assert torch.equal(plain["faces"], other["faces"])
    moved = (other["cepstra"] - plain["cepstra"])[0]  # (8, 13, 20)
    assert float(moved[:, 0].abs().max()) == 0.0
    assert float(moved[:, 1:].abs().min()) > 0.0
    assert float((moved - moved[:1, :, :1]).abs().max()) < 1e-4


def test_augmentation_moves_all_frames_of_a_clip_alike():
    random = np.random.default_rng(0)
    frame = random.integers(60, 180, (16, 16, 3), dtype=np.uint8)
    moved = augmented(np.stack([frame, frame]), Augmentation(3, 0.1, 5.0), random)
    assert torch.equal(moved[0], moved[1])
    assert not torch.equal(moved[0], torch.from_numpy(frame).float())
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 255


def test_clips_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = read_split(FlashingDiscs(), "train", 48, tmp_path)
    monkeypatch.setattr(Clip, "media", property(lambda _: pytest.fail("decoded again")))
    again = read_split(FlashingDiscs(), "train", 48, tmp_path)
    for one, other in zip(first, again, strict=True):
        assert one.frames.shape == (48, 48, 48, 3)
        assert one.audio.shape == (48 * 640,)
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.audio, other.audio)


def test_clips_that_are_too_short_are_told(tmp_path: Path):
    with pytest.raises(UsageError, match=r"no clip has more than 12 frames"):
        task_on(FlashingDiscs(frames=12), tmp_path)


def test_a_split_without_sound_is_told(tmp_path: Path):
    with pytest.raises(UsageError, match="no clip with audio"):
        task_on(FlashingDiscs(samples_per_frame=0), tmp_path)


@pytest.mark.parametrize(("batches", "clips"), [(1, 32), (0, 33)])
def test_validation_is_the_mean_of_as_many_batches_as_asked_for(tmp_path: Path, batches: int, clips: int):
    task = task_on(FlashingDiscs(2, frames=14), tmp_path, replace(OPTIONS, validation_batches=batches))
    first, last = task.held_out
    model = task.build().eval()
    task.held_out = (first,)
    of_first = task.validation(model)
    task.held_out = (last,)
    of_last = task.validation(model)
    task.held_out = (*[first] * 32, last)
    mean = {name: (32 * of_first[name] + (clips - 32) * of_last[name]) / clips for name in of_first}
    assert of_first["lse_d"] != of_last["lse_d"] and task.validation(model) == pytest.approx(mean)


def test_a_trained_network_finds_the_moment_and_scores_clips(tmp_path: Path):
    dataset = FlashingDiscs()
    settings = TrainingSettings(60, 4, 3e-3, gradient_clip=10.0, ema_decay=0, log_every=1, validate_every=60)
    folder = train(task_on(dataset, tmp_path), settings, tmp_path / "out", cpu=True)
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])

    metric = LSE(LSEOptions(weights=str(folder), frames="direct"))
    scores = [metric.measure(Pair(dataset.clip(clip_id))) for clip_id in dataset.clip_ids("train")]
    # far shifts are full of padding, which this little training is no match for
    assert [int(np.argmin(stats.shift_means[10:21])) for stats in scores] == [5, 5, 5, 5]
    validated = next(row["validation"] for row in rows if "validation" in row)
    # float16 weights lie between the two
    assert metric.aggregate(scores)["lse_d"] == pytest.approx(validated["lse_d"], rel=0.02)
