"""Where a training masks: boxes that are there, never a guess unasked; steadier areas; the same at inference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Media
from syncdiff_bench.errors import UsageError
from syncdiff_bench.faces import detection
from syncdiff_bench.faces.boxes import FaceBoxes
from syncdiff_bench.faces.cache import entry
from syncdiff_bench.media.writing import write_video
from syncdiff_bench.training.loader import load_task, read_plan
from syncdiff_datasets.lrs import LRS2
from syncdiff_methods.syncdiff.masking import clip_mask, steadied
from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_methods.syncdiff.sampling import clip_conditions
from syncdiff_methods.syncdiff.training import SyncDiffTask

SIDE, FRAMES = 64, 5
CLIPS = {"train": ("6330311066473698535/00011", "6331559613336179781/00001"), "val": ("6332062124509813446/00003",)}


@pytest.fixture
def lrs2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LRS2's layout with two training clips and one for validation, without boxes."""
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    detection._loaded.cache_clear()
    root = tmp_path / "mvlrs_v1"
    rng = np.random.default_rng(0)
    for split, ids in CLIPS.items():
        for clip_id in ids:
            frames = rng.integers(0, 256, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
            sound = rng.integers(-9000, 9000, 640 * FRAMES).astype(np.int16)
            write_video(root / "main" / f"{clip_id}.mp4", Media(frames, sound))
        (root / f"{split}.txt").write_text("\n".join(ids) + "\n")
    return root


def boxes_of(clip_id: str) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """A face that goes down and whose jaw opens."""
    t = np.arange(FRAMES, dtype=np.int32)
    x = np.full(FRAMES, int(clip_id[-1]), np.int32)
    return np.stack([x, 8 + t, x + 32, 40 + t + 4 * (t % 2)], axis=1)


def give_boxes(folder: Path) -> None:
    for clip_id in (*CLIPS["train"], *CLIPS["val"]):
        (folder / clip_id).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{clip_id}.npy", boxes_of(clip_id))


def settings(home: Path) -> list[str]:
    return [
        "data.dataset=lrs2",
        "training.steps=1",
        "training.batch_size=1",
        "training.validate_every=1",
        "training.sample_every=0",
        "options.model.frame_size=32",
        "options.model.unet.channels=[32, 32, 32]",
        f"options.autoencoder={home / 'vq'}",
    ]


def command(home: Path, root: Path, out: Path, *more: str) -> list[str]:
    overrides = [part for setting in settings(home) for part in ("--set", setting)]
    where = ["--data-root", str(root), "--out", str(out), "--device", "cpu"]
    return ["train", "syncdiff/pocket", *overrides, *where, *more]


def task_of(home: Path, root: Path, cache: Path, *overrides: str) -> SyncDiffTask:
    task = load_task(read_plan("syncdiff/pocket", (*settings(home), *overrides)), root, cache, "cpu")
    assert isinstance(task, SyncDiffTask)
    return task


def cached(task: SyncDiffTask, clip_id: str) -> Mapping[str, Tensor]:
    for cache in task.caches():
        cache.complete()
    return task.caches()[0].read()[clip_id]


def share(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Tensor:
    """(T, 8, 8) uint8: how much of each 4 x 4 block is masked."""
    blocks = mask.reshape(len(mask), 8, 4, 8, 4).mean(axis=(2, 4))
    return torch.from_numpy(np.round(255 * blocks).astype(np.uint8))


def test_without_boxes_a_training_stops_with_the_command_that_makes_them(
    home: Path, lrs2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = f"`syncdiff-bench data prepare faces --dataset lrs2 --data-root {lrs2} --split train --split val` makes them"
    assert main(command(home, lrs2, tmp_path / "out")) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: lrs2 train, val: 3 of 3 clips have no face boxes")
    assert made in line
    assert not (tmp_path / "cache" / "latents").exists()
    give_boxes(lrs2 / "boxes")
    (lrs2 / "boxes" / f"{CLIPS['val'][0]}.npy").unlink()
    overrides = [part for setting in settings(home) for part in ("--set", setting)]
    latents = ["data", "prepare", "latents", "syncdiff/pocket", *overrides, "--data-root", str(lrs2), "--device", "cpu"]
    assert main([*latents, "--cache", str(tmp_path / "ahead")]) == 2
    assert "lrs2 val: 1 of 3 clips have no face boxes" in capsys.readouterr().err
    assert main([*latents, "--cache", str(tmp_path / "ahead"), "--boxes", "s3fd"]) == 2
    assert "--split train --split val --detector s3fd` makes them" in capsys.readouterr().err


def test_with_boxes_the_cached_masks_are_theirs(home: Path, lrs2: Path, tmp_path: Path) -> None:
    give_boxes(lrs2 / "boxes")
    assert main(command(home, lrs2, tmp_path / "out")) == 0
    task = task_of(home, lrs2, tmp_path / "cache")
    assert task.boxed_clips() == {}
    for clip_id in CLIPS["train"]:
        expected = np.zeros((FRAMES, 32, 32), np.bool_)
        for mask, (x1, y1, x2, y2) in zip(expected, boxes_of(clip_id) / 2, strict=True):
            mask[int((y1 + y2) // 2) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = True
        torch.testing.assert_close(cached(task, clip_id)["area"], share(expected))
    facts = json.loads((tmp_path / "cache/latents/lrs2-train/cache.json").read_text())["facts"]
    assert facts["face boxes"].startswith("file ")
    np.save(lrs2 / "boxes" / f"{CLIPS['train'][0]}.npy", boxes_of("3"))
    with pytest.raises(UsageError, match=r"made with another (list of clips|face boxes)"):
        task_of(home, lrs2, tmp_path / "cache").prepare()


def test_boxes_that_were_prepared_are_boxes(home: Path, lrs2: Path, tmp_path: Path) -> None:
    """Those of a detector that cannot be used here: entries in the cache, of some clips."""
    dataset = LRS2(lrs2)
    for clip_id in CLIPS["train"]:
        found = FaceBoxes(boxes_of(clip_id), "s3fd-1234567890", np.ones(FRAMES, np.bool_))
        detection.keep_boxes(entry("faces", dataset.clip(clip_id).content, "s3fd-1234567890"), found)
    task = task_of(home, lrs2, tmp_path / "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detection, "_usable", lambda _name: (None, "not here"))
        assert [cache.facts.get("face boxes") for cache in task.caches()] == ["s3fd-1234567890", None, "none", None]
        with pytest.raises(UsageError, match=r"^lrs2 val: 1 of 3 clips"):
            from syncdiff_bench.views import require_boxes

            require_boxes(task.data.dataset, task.boxed_clips())
        area = cached(task, CLIPS["train"][0])["area"]
    assert area[0].any() and not area[:, :, 5:].any()


def test_a_guess_is_taken_where_it_is_asked_for(home: Path, lrs2: Path, tmp_path: Path) -> None:
    assert main(command(home, lrs2, tmp_path / "out", "--boxes", "centred")) == 0
    facts = json.loads((tmp_path / "cache/latents/lrs2-train/cache.json").read_text())["facts"]
    assert facts["face boxes"] == "centred"
    task = task_of(home, lrs2, tmp_path / "config", "data.boxes=centred")
    expected = np.zeros((FRAMES, 32, 32), np.bool_)
    expected[:, 16:26, 6:26] = True  # 0.6 of 64 pixels in the middle, x1 = y1 = 13, x2 = y2 = 51
    torch.testing.assert_close(cached(task, CLIPS["train"][0])["area"], share(expected))


# ------------------------------------------------------------------------------------------- steadier areas

JAW = torch.tensor([[10.0, 30.0, 50.0, y] for y in [60, 60, 72, 60, 60]])


def test_areas_of_a_clip_are_one_that_holds_all() -> None:
    moving = torch.tensor([[10.0, 30.0, 50.0, 60.0], [12.0, 28.0, 52.0, 58.0]])
    assert steadied(moving, "frame").equal(moving)
    assert steadied(moving, "clip").tolist() == [[10.0, 28.0, 52.0, 60.0]] * 2


def test_smoothed_areas_spread_an_opening_jaw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncdiff_methods.syncdiff.masking.REACH", 1)
    # outermost within a frame: 60 72 72 72 60; its means, of two at the ends: 66 68 72 68 66
    assert steadied(JAW, "smoothed")[:, 3].tolist() == [66.0, 68.0, 72.0, 68.0, 66.0]
    assert steadied(JAW, "smoothed")[:, :3].equal(JAW[:, :3])
    areas = torch.from_numpy(np.random.default_rng(0).normal(50, 20, (60, 4))).float()
    smooth = steadied(areas, "smoothed")
    assert (smooth[:, :2] <= areas[:, :2]).all() and (smooth[:, 2:] >= areas[:, 2:]).all()
    assert smooth.diff(dim=0).abs().mean() < areas.diff(dim=0).abs().mean() / 2


def test_the_mask_is_the_same_in_training_and_at_inference(home: Path, lrs2: Path, tmp_path: Path) -> None:
    give_boxes(lrs2 / "boxes")
    clip_id = CLIPS["train"][0]
    whole = "options.model.condition.mask_boxes=clip"
    task, plain = (task_of(home, lrs2, tmp_path / "cache", *more) for more in ((whole,), ()))
    tensors = cached(task, clip_id)
    expected = np.zeros((FRAMES, 32, 32), np.bool_)
    expected[:, 12:24, 0:17] = True  # rows (8 + 40) / 4 .. (40 + 4 + 4) / 2, columns 1 / 2 .. 33 / 2
    torch.testing.assert_close(tensors["area"], share(expected))
    assert not cached(plain, clip_id)["area"].equal(tensors["area"])
    assert {path.name for path in (tmp_path / "cache/latents").iterdir()} >= {"lrs2-train", "lrs2-train-clip"}
    model = SyncDiffModel(task.options.model).eval()
    model.autoencoder = task.autoencoder
    model.save_pretrained(tmp_path / "model")
    loaded = SyncDiffModel.from_pretrained(tmp_path / "model")
    clip = LRS2(lrs2).clip(clip_id)
    assert loaded.config.condition.mask_boxes == "clip"
    np.testing.assert_array_equal(clip_mask(clip, loaded.config.condition, 32).numpy(), expected)
    masked = clip_conditions(loaded, clip).masked
    torch.testing.assert_close(masked, tensors["masked"].float(), rtol=2e-3, atol=2e-3)


def test_a_plan_of_the_paper_says_what_its_trainings_lack(
    lrs2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the autoencoder: the weights that the config names, and face boxes; each once, however many rows."""
    monkeypatch.chdir(tmp_path)
    (lrs2 / "test.txt").write_text((lrs2 / "val.txt").read_text())
    plan = ["paper", "reproduce", "--table", "3", "--train", "--dry-run", "--dataset", "lrs2", "--data-root", str(lrs2)]
    assert main(plan) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("training: weights avhubert-base-vox-iter5 missing;") == 1
    assert told.count("clips have no face boxes") == 1 and "training: lrs2 train" in told
    give_boxes(lrs2 / "boxes")
    assert main(plan) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "training: weights avhubert-base-vox-iter5 missing;" in told and "no face boxes" not in told
