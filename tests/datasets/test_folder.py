"""Any tree of videos: ids, transcripts, and what is passed over or refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_datasets.folder import Folder
from syncdiff_datasets.on_disk import fingerprint_clips

WriteClip = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path, write_clip: WriteClip) -> Path:
    root = tmp_path / "videos"
    write_clip(root / "b.mp4", side=32, text="Plain  words\nover lines\n")
    write_clip(root / "a" / "clip.v2.mp4", side=32, text="Text:  LRS WORDS\nRef:  x\n")
    write_clip(root / "a" / "same.mp4", side=32)
    write_clip(root / "a" / "same.mp4", side=32).replace(root / "a" / "same.MOV")
    write_clip(root / "a" / "same.mp4", side=48)
    write_clip(root / ".hidden" / "no.mp4", side=32)
    write_clip(root / ".no.mp4", side=32)
    (root / "notes.doc").touch()
    return root


def test_ids_are_relative_paths_and_keep_the_extension_only_where_they_must(tree: Path) -> None:
    dataset = Folder(tree)
    assert dataset.clip_ids("all") == ("a/clip.v2", "a/same.MOV", "a/same.mp4", "b")
    assert dataset.clip_ids("test") == dataset.clip_ids("all")
    assert dataset.clip("a/same.MOV").frames.shape[1] == 32
    assert dataset.clip("a/same.mp4").frames.shape[1] == 48


def test_transcripts_are_plain_or_sections_or_none(tree: Path) -> None:
    dataset = Folder(tree)
    words = [dataset.clip(clip_id).transcript for clip_id in ("b", "a/clip.v2", "a/same.mp4")]
    assert words == ["plain words over lines", "lrs words", None]


def test_a_link_out_of_the_folder_is_no_clip_and_told(tree: Path, tmp_path: Path, write_clip: WriteClip) -> None:
    outside = write_clip(tmp_path / "outside.mp4", side=32)
    (tree / "link.mp4").symlink_to(outside)
    (tree / "inner.mp4").symlink_to(tree / "b.mp4")
    dataset = Folder(tree)
    assert "link" not in dataset.clip_ids("all")
    assert len(dataset.clip("inner").frames) == 5
    errors = [finding for finding in dataset.verify("all") if finding.level == "error"]
    assert [(one.where, one.message) for one in errors] == [("link.mp4", f"is a link that leads out of {tree}")]
    assert len(dataset.fingerprint("all")) == 64


def test_links_to_folders_are_not_followed(tree: Path) -> None:
    before = Folder(tree).clip_ids("all")
    (tree / "loop").symlink_to(tree)
    assert Folder(tree).clip_ids("all") == before


def test_an_unknown_id_is_a_missing_clip(tree: Path) -> None:
    for clip_id in ("nothing", "../outside", "a/same"):
        with pytest.raises(ClipError) as caught:
            Folder(tree).clip(clip_id)
        assert caught.value.kind == "missing"


def test_unusable_roots_are_told(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for root, words in (
        (tmp_path / "empty", "no video file"),
        (tree / "b.mp4", "is a file"),
        (None, "--data-root"),
    ):
        with pytest.raises(UsageError, match=words):
            Folder(root).clip_ids("all")
    with pytest.raises(UsageError, match="no split 'train'; choose one of: all, test"):
        Folder(tree).clip_ids("train")


def test_folders_train_val_and_test_are_splits(tree: Path, write_clip: WriteClip) -> None:
    (tree / "test").mkdir()  # without a folder `train` it is a folder like any other
    assert Folder(tree).splits() == ("all", "test") and len(Folder(tree).clip_ids("test")) == 4
    write_clip(tree / "train" / "ann" / "1.mp4", side=32)
    write_clip(tree / "training" / "2.mp4", side=32)
    dataset = Folder(tree)
    assert dataset.splits() == ("all", "train", "test")
    assert dataset.clip_ids("train") == ("train/ann/1",)
    assert len(dataset.clip_ids("all")) == 6
    with pytest.raises(UsageError, match=r"videos/test: no video file"):
        dataset.clip_ids("test")
    with pytest.raises(UsageError, match="no split 'val'; choose one of: all, train, test"):
        dataset.clip_ids("val")


def test_boxes_of_the_folder_are_found(tree: Path) -> None:
    (tree / "boxes").mkdir()
    np.save(tree / "boxes" / "b.npy", np.tile([0, 0, 9, 9], (5, 1)))
    assert Folder(tree).clip("b").face_boxes.source == "file"


def test_verify_notes_what_is_unusual_and_reports_only_what_cannot_be_read(tree: Path, write_clip: WriteClip) -> None:
    write_clip(tree / "silent.mp4", side=32, sound=False)
    (tree / "broken.avi").write_bytes(b"nothing at all")
    found = list(Folder(tree).verify("all"))
    assert [finding.where for finding in found if finding.level == "error"] == ["broken"]
    notes = [(finding.where, finding.message) for finding in found if finding.level == "note"]
    assert any(where == "silent" and "no audio track" in message for where, message in notes)
    assert any("4 of 6 clips have no .txt" in message for _, message in notes)


SHARED = Path(os.environ.get("SYNCDIFF_BENCH_SHARED", Path(__file__).parents[2].parent / "shared")) / "clips"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared clips are not here")
def test_real_clips() -> None:
    grid = Folder(SHARED / "grid")
    assert grid.clip_ids("test") == ("bbaf2n", "lbax4n", "lrwp9a", "pwij3p", "sbwe5n", "swiz3n")
    assert all(grid.clip(clip_id).frames.shape == (75, 288, 360, 3) for clip_id in grid.clip_ids("test"))
    edge = Folder(SHARED / "edge")
    refused = {finding.where for finding in edge.verify("all") if finding.level == "error"}
    assert refused == {"empty", "novideo", "truncated"}
    assert len(edge.clip_ids("all")) == 29


def test_a_name_that_is_not_utf_8_is_refused_in_one_line() -> None:
    """As a file system of bytes hands it over: byte 0xff stands as a lone surrogate."""
    with pytest.raises(UsageError, match=r"bad\\xff: the name of this file is not UTF-8"):
        fingerprint_clips([("bad\udcff", [])])
