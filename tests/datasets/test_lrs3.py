"""The LRS3 layout: folders are splits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_datasets.lrs import LRS3

IDS = ("test/0Fi83BHQsMA/00002", "test/0Fi83BHQsMA/00006", "test/QoT0S2vu9m4/00002")


@pytest.mark.parametrize("above", [0, 1, 2])
def test_the_root_may_be_the_dataset_or_above_it(lrs3_home: Path, above: int) -> None:
    dataset = LRS3([lrs3_home, *lrs3_home.parents][above])
    assert dataset.clip_ids("test") == IDS
    assert dataset.splits() == ("trainval", "test")


def test_a_clip_has_its_words_its_talk_and_its_media(lrs3_home: Path) -> None:
    dataset = LRS3(lrs3_home)
    clip = dataset.clip(IDS[0])
    assert (clip.transcript, clip.speaker) == ("we really don't", "0Fi83BHQsMA")
    assert clip.frames.shape == (3, 224, 224, 3)
    assert dataset.clip("trainval/00j9bKdiOjk/50001").transcript == "so"


@pytest.mark.parametrize("clip_id", ["test/0Fi83BHQsMA/99999", "val/0Fi83BHQsMA/00002", "test"])
def test_an_id_without_a_file_fails_alone(lrs3_home: Path, clip_id: str) -> None:
    with pytest.raises(ClipError) as caught:
        LRS3(lrs3_home).clip(clip_id)
    assert caught.value.kind == "missing"


def test_an_id_cannot_leave_the_dataset(lrs3_home: Path) -> None:
    with pytest.raises(UsageError, match="leaves the dataset"):
        LRS3(lrs3_home).clip("test/../../secret")


def test_splits_that_are_not_there_are_told_with_those_that_are(lrs3_home: Path) -> None:
    with pytest.raises(UsageError, match="pretrain, trainval, test"):
        LRS3(lrs3_home).clip_ids("val")
    with pytest.raises(UsageError, match="splits found: trainval, test"):
        LRS3(lrs3_home).clip_ids("pretrain")
    (lrs3_home / "pretrain").mkdir()
    with pytest.raises(UsageError, match="is empty"):
        LRS3(lrs3_home).clip_ids("pretrain")


def test_verify_tells_sizes_leftovers_and_counts(lrs3_home: Path) -> None:
    os.truncate(lrs3_home / f"{IDS[1]}.mp4", 0)
    (lrs3_home / "test" / "QoT0S2vu9m4" / "00009.txt").write_text("Text:  LOST\n")
    found = list(LRS3(lrs3_home).verify("test"))
    errors = {finding.where: finding.message for finding in found if finding.level == "error"}
    assert set(errors) == {"test/", IDS[1]}
    assert "test/QoT0S2vu9m4/00009" in errors["test/"]
    assert "no bytes" in errors[IDS[1]]
    assert any("published: 1,321" in finding.message for finding in found)


def test_frames_of_another_size_are_not_lrs3(lrs3_home: Path, write_clip: object) -> None:
    assert callable(write_clip)
    write_clip(lrs3_home / f"{IDS[2]}.mp4", side=160)
    errors = [finding for finding in LRS3(lrs3_home).verify("test") if finding.level == "error"]
    assert [(error.where, "160x160, expected 224x224" in error.message) for error in errors] == [(IDS[2], True)]


SHARED = Path(os.environ.get("SYNCDIFF_BENCH_SHARED", Path(__file__).parents[2].parent / "shared")) / "clips"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared clips are not here")
@pytest.mark.parametrize("root", [SHARED, SHARED / "lrs3"])
def test_real_clips(root: Path) -> None:
    dataset = LRS3(root)
    clips = [dataset.clip(clip_id) for clip_id in dataset.clip_ids("test")]
    assert [len(clip.frames) for clip in clips] == [41, 27, 35, 55]
    assert clips[0].transcript == "we really don't walk anymore"
    assert [finding for finding in dataset.verify("test") if finding.level == "error"] == []
