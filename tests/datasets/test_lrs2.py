"""The LRS2 layout: where it is found, what its lists mean, and what `verify` says about a damaged copy."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.contracts import Finding
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_datasets.lrs import LRS2
from syncdiff_datasets.on_disk import BoxOptions

FIRST, SECOND = "6330311066473698535/00011", "6331559613336179781/00001"


def findings(dataset: LRS2, split: str = "test") -> list[tuple[str, str, str]]:
    found: list[Finding] = list(dataset.verify(split))
    return [(finding.level, finding.where, finding.message) for finding in found]


def errors(dataset: LRS2, split: str = "test") -> list[tuple[str, str]]:
    return [(where, message) for level, where, message in findings(dataset, split) if level == "error"]


@pytest.mark.parametrize("above", [0, 1, 2])
def test_the_root_may_be_the_dataset_or_above_it(lrs2_home: Path, above: int) -> None:
    root = [lrs2_home, *lrs2_home.parents][above]
    assert LRS2(root).clip_ids("test") == (FIRST, SECOND)


def test_a_folder_that_holds_main_needs_no_special_name(lrs2_home: Path) -> None:
    moved = lrs2_home.rename(lrs2_home.parent / "lrs2_copy")
    assert LRS2(moved).clip_ids("test") == (FIRST, SECOND)


@pytest.mark.parametrize("above", [0, 1])
def test_lists_may_lie_in_the_dataset_or_in_its_parent(lrs2_home: Path, above: int) -> None:
    (lrs2_home / "test.txt").rename(lrs2_home.parent / "test.txt")
    root = [lrs2_home, *lrs2_home.parents][above]
    assert LRS2(root).clip_ids("test") == (FIRST, SECOND)


def test_splits_are_those_with_a_list_and_valid_means_val(lrs2_home: Path) -> None:
    assert LRS2(lrs2_home).splits() == ("pretrain", "test")
    (lrs2_home / "valid.txt").write_text(f"{SECOND}\n")
    assert LRS2(lrs2_home).splits() == ("pretrain", "val", "test")
    assert LRS2(lrs2_home).clip_ids("val") == (SECOND,)


def test_a_clip_has_its_words_its_speaker_and_its_media(lrs2_home: Path) -> None:
    clip = LRS2(lrs2_home).clip(SECOND)
    assert (clip.transcript, clip.speaker, clip.dataset) == ("it's late", "6331559613336179781", "lrs2")
    assert clip.frames.shape == (5, 160, 160, 3)
    assert clip.boxes_path is None


def test_pretrain_is_another_folder_and_its_words_come_from_the_table(lrs2_home: Path) -> None:
    dataset = LRS2(lrs2_home)
    (clip_id,) = dataset.clip_ids("pretrain")
    clip = dataset.clip(clip_id)
    assert clip_id == f"pretrain/{FIRST}"
    assert clip.path == lrs2_home / "pretrain" / f"{FIRST}.mp4"
    assert (clip.transcript, clip.speaker) == ("good morning", "6330311066473698535")


def test_a_listed_clip_without_a_file_stays_listed_and_fails_alone(lrs2_home: Path) -> None:
    (lrs2_home / "main" / f"{FIRST}.mp4").unlink()
    dataset = LRS2(lrs2_home)
    assert dataset.clip_ids("test") == (FIRST, SECOND)
    with pytest.raises(ClipError, match=FIRST) as caught:
        dataset.clip(FIRST)
    assert caught.value.kind == "missing"
    assert dataset.clip(SECOND).transcript == "it's late"


def test_a_missing_transcript_is_none_and_windows_1252_is_read(lrs2_home: Path) -> None:
    (lrs2_home / "main" / f"{FIRST}.txt").unlink()
    (lrs2_home / "main" / f"{SECOND}.txt").write_bytes("Text:  CAFÉ NOIR\n".encode("cp1252"))
    dataset = LRS2(lrs2_home)
    assert dataset.clip(FIRST).transcript is None
    assert dataset.clip(SECOND).transcript == "café noir"
    assert errors(dataset) == [(FIRST, "transcript 00011.txt is missing: the clip has no word error rate")]
    note = "transcript 00001.txt: not UTF-8; taken for cp1252: 'café noir'"
    assert ("note", SECOND, note) in findings(dataset)
    assert [dataset.clip(clip_id).transcript_note for clip_id in (FIRST, SECOND)] == ["", "not UTF-8; taken for cp1252"]


def test_lists_in_the_encodings_of_windows_are_read_and_others_refused(lrs2_home: Path) -> None:
    path = lrs2_home / "test.txt"
    path.write_bytes(f"{FIRST} NF\r\n{SECOND} MV\r\n".encode("utf-16"))
    assert LRS2(lrs2_home).clip_ids("test") == (FIRST, SECOND)
    assert ("note", "test.txt", "decoded from utf-16-le") in findings(LRS2(lrs2_home))
    path.write_bytes(f"{FIRST}\n{SECOND}\x81\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"test\.txt line 2: byte 0x81 is neither UTF-8 nor Windows-1252"):
        LRS2(lrs2_home).clip_ids("test")


@pytest.mark.parametrize("line", ["../../etc/passwd", "/etc/passwd", "a/../../b", "C:/clip", r"a\b", ".."])
def test_a_list_that_leads_out_of_the_dataset_is_refused(lrs2_home: Path, line: str) -> None:
    (lrs2_home / "test.txt").write_text(f"{FIRST}\n{line}\n")
    with pytest.raises(UsageError, match=r"test\.txt line 2"):
        LRS2(lrs2_home).clip_ids("test")


def test_a_clip_that_is_a_link_out_of_the_dataset_is_refused(lrs2_home: Path, tmp_path: Path) -> None:
    path = lrs2_home / "main" / f"{FIRST}.mp4"
    path.rename(tmp_path / "elsewhere.mp4")
    path.symlink_to(tmp_path / "elsewhere.mp4")
    with pytest.raises(ClipError, match="leads out of") as caught:
        LRS2(lrs2_home).clip(FIRST)
    assert caught.value.kind == "outside"


def test_main_itself_may_be_a_link_to_another_disk(lrs2_home: Path, tmp_path: Path) -> None:
    (lrs2_home / "main").rename(tmp_path / "big_disk")
    (lrs2_home / "main").symlink_to(tmp_path / "big_disk")
    assert LRS2(lrs2_home).clip(FIRST).transcript == "hello world"


def test_boxes_lie_beside_main_or_where_the_option_says(lrs2_home: Path, tmp_path: Path) -> None:
    for folder in (lrs2_home / "boxes", tmp_path / "mine"):
        (folder / FIRST).parent.mkdir(parents=True)
        np.save(folder / f"{FIRST}.npy", np.tile([1, 2, 30, 40], (5, 1)))
    beside, given = LRS2(lrs2_home), LRS2(lrs2_home, BoxOptions(boxes=str(tmp_path / "mine")))
    assert beside.clip(FIRST).boxes_path == lrs2_home / "boxes" / f"{FIRST}.npy"
    assert given.clip(FIRST).boxes_path == tmp_path / "mine" / f"{FIRST}.npy"
    assert beside.clip(FIRST).face_boxes.boxes.tolist() == [[1, 2, 30, 40]] * 5
    assert beside.clip(SECOND).boxes_path is None
    assert any(where == SECOND and "no face boxes" in text for _, where, text in findings(beside))


def test_a_boxes_folder_that_is_not_there_is_refused(lrs2_home: Path, tmp_path: Path) -> None:
    dataset = LRS2(lrs2_home, BoxOptions(boxes=str(tmp_path / "nowhere")))
    with pytest.raises(UsageError, match="--dataset-set boxes=DIR"):
        dataset.clip(FIRST)


def test_roots_that_cannot_be_used_are_told(lrs2_home: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (lrs2_home.parent / "second" / "main").mkdir(parents=True)
    for root, words in (
        (None, "--data-root"),
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path / "other", "main/ or pretrain/"),
        (lrs2_home.parent, "more than one"),
    ):
        with pytest.raises(UsageError, match=words):
            LRS2(root).clip_ids("test")


def test_splits_that_cannot_be_read_are_told(lrs2_home: Path) -> None:
    (lrs2_home / "test.txt").write_text("\n  \n")
    for split, words in (
        ("tset", "pretrain, train, val, test"),
        ("train", r"train\.txt.*splits found: pretrain, test"),
        ("test", "names no clip"),
    ):
        with pytest.raises(UsageError, match=words):
            LRS2(lrs2_home).clip_ids(split)


class TestVerify:
    def test_a_sound_copy_has_no_errors(self, lrs2_home: Path) -> None:
        found = findings(LRS2(lrs2_home))
        assert [level for level, _, _ in found if level == "error"] == []
        assert ("ok", FIRST, "5 frames 160x160, 0.20 s of audio") in found
        assert any("2 clips, published: 1,243" in text for _, _, text in found)

    def test_every_fault_is_told_with_its_place(self, lrs2_home: Path, write_clip: Callable[..., Path]) -> None:
        main = lrs2_home / "main"
        write_clip(main / "speaker" / "small.mp4", side=96, text="Text:  A\n")
        write_clip(main / "speaker" / "silent.mp4", sound=False, text="Text:  A\n")
        write_clip(main / "speaker" / "mute.mp4", text="Conf:  3\n")
        cut = write_clip(main / "speaker" / "cut.mp4", text="Text:  A\n")
        os.truncate(cut, 100)
        names = ["small", "silent", "mute", "cut", "gone"]
        (lrs2_home / "test.txt").write_text("".join(f"speaker/{name}\n" for name in [*names, "small"]))
        told = errors(LRS2(lrs2_home))
        assert [where for where, _ in told] == [f"speaker/{name}" for name in names]
        texts = [text for _, text in told]
        for text, expected in zip(
            texts, ["96x96", "no audio track", "holds no words", "cut short", "does not exist"], strict=True
        ):
            assert expected in text
        assert any("second time" in text for _, _, text in findings(LRS2(lrs2_home)))

    def test_boxes_that_do_not_fit_are_told(self, lrs2_home: Path) -> None:
        for clip_id, boxes in ((FIRST, np.zeros((3, 4), int)), (SECOND, np.zeros((5, 2), int))):
            (lrs2_home / "boxes" / clip_id).parent.mkdir(parents=True)
            np.save(lrs2_home / "boxes" / f"{clip_id}.npy", boxes)
        found = findings(LRS2(lrs2_home))
        assert ("note", FIRST, "3 rows of boxes for 5 frames") in found
        assert [where for where, _ in errors(LRS2(lrs2_home))] == [SECOND]


class TestFingerprint:
    def test_it_does_not_depend_on_where_the_dataset_lies(self, lrs2_home: Path, tmp_path: Path) -> None:
        before = LRS2(lrs2_home).fingerprint("test")
        moved = lrs2_home.rename(tmp_path / "elsewhere")
        assert LRS2(moved).fingerprint("test") == before
        assert len(before) == 64

    def test_it_does_not_depend_on_the_order_of_the_list(self, lrs2_home: Path) -> None:
        before = LRS2(lrs2_home).fingerprint("test")
        (lrs2_home / "test.txt").write_text(f"{SECOND}\n{FIRST}\n")
        assert LRS2(lrs2_home).fingerprint("test") == before

    def test_it_changes_with_a_byte_of_a_clip_a_word_a_box_a_line_and_a_loss(self, lrs2_home: Path) -> None:
        video, text = (lrs2_home / "main" / f"{FIRST}{suffix}" for suffix in (".mp4", ".txt"))
        seen = [LRS2(lrs2_home).fingerprint("test")]
        data = bytearray(video.read_bytes())
        data[-5] ^= 1
        video.write_bytes(data)
        seen.append(LRS2(lrs2_home).fingerprint("test"))
        text.write_text("Text:  HELLO WORLX\nConf:  4\n")
        seen.append(LRS2(lrs2_home).fingerprint("test"))
        (lrs2_home / "boxes" / FIRST).parent.mkdir(parents=True)
        np.save(lrs2_home / "boxes" / f"{FIRST}.npy", np.zeros((5, 4), int))
        seen.append(LRS2(lrs2_home).fingerprint("test"))
        video.unlink()
        seen.append(LRS2(lrs2_home).fingerprint("test"))
        (lrs2_home / "test.txt").write_text(f"{SECOND}\n")
        seen.append(LRS2(lrs2_home).fingerprint("test"))
        assert len(set(seen)) == len(seen)


def test_the_layout_can_be_embedded_by_a_subclass(lrs2_home: Path) -> None:
    class Embedded(LRS2):
        name = "embedded"
        embedded = True
        published = {}  # noqa: RUF012

        def locate(self) -> Path:
            return lrs2_home

    dataset = Embedded()
    assert dataset.clip_ids("test") == (FIRST, SECOND)
    assert dataset.clip(FIRST).dataset == "embedded"
    assert next(iter(dataset.verify("test"))) == Finding("ok", "test.txt", "2 clips")
