"""Names on disk that look like clips and are none: told by every data set, and no clip is lost beside them."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.contracts import Dataset, Finding
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces.boxes import read_detected
from syncdiff_bench.views import AcceptingDataset, PairedDataset
from syncdiff_datasets.folder import Folder
from syncdiff_datasets.lrs import LRS2, LRS3
from syncdiff_datasets.on_disk import BoxOptions
from syncdiff_datasets.pocket.dataset import Pocket

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")

WriteClip = Callable[..., Path]
NFC, NFD = "caf\u00e9", "cafe\u0301"


def told(dataset: Dataset, split: str) -> dict[str, str]:
    return {one.where: one.message for one in dataset.odd_files(split)}


def errors(dataset: Dataset, split: str) -> dict[str, str]:
    return {one.where: one.message for one in dataset.verify(split) if one.level == "error"}


def test_a_folder_tells_what_is_no_clip_of_the_split(tmp_path: Path, write_clip: WriteClip) -> None:
    write_clip(tmp_path / "train" / "a.mp4", side=32)
    write_clip(tmp_path / "test" / "b.mp4", side=32)
    os.mkfifo(tmp_path / "train" / "pipe.mp4")
    (tmp_path / "test" / "loop.mp4").symlink_to("loop.mp4")
    dataset = Folder(tmp_path)
    assert told(dataset, "train") == {"train/pipe.mp4": "is a named pipe"}
    assert told(dataset, "test") == {"test/loop.mp4": "is a link that leads in a circle"}
    assert told(dataset, "all").keys() == {"train/pipe.mp4", "test/loop.mp4"}
    assert errors(dataset, "test") == told(dataset, "test")
    assert AcceptingDataset(dataset, None).odd_files("test") == dataset.odd_files("test")


def test_a_folder_that_holds_nothing_else_says_what_it_holds(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(UsageError, match=r"no video file here or below.*; pipe\.mp4 is a named pipe"):
        Folder(tmp_path).clip_ids("all")


def test_two_names_that_differ_in_how_letters_are_composed_are_one_id_and_refused(
    tmp_path: Path, write_clip: WriteClip
) -> None:
    for name in (NFC, NFD, "other"):
        write_clip(tmp_path / f"{name}.mp4", side=32)
    dataset = Folder(tmp_path)
    assert dataset.clip_ids("all") == ("other",)
    assert told(dataset, "all").keys() == {f"{NFC}.mp4", f"{NFD}.mp4"}
    assert all("one of 2 files of this name" in message for message in told(dataset, "all").values())


def test_ids_that_suffixes_would_make_equal_stay_apart(tmp_path: Path, write_clip: WriteClip) -> None:
    for name in ("x.mov", "x.mp4.avi", "x.mp4"):
        write_clip(tmp_path / "x.mp4", side=32).replace(tmp_path / name)
    dataset = Folder(tmp_path)
    assert dataset.clip_ids("all") == ("x.mov", "x.mp4", "x.mp4.avi")
    paths = [dataset.clip(clip_id).path for clip_id in dataset.clip_ids("all")]
    assert paths == [tmp_path / name for name in ("x.mov", "x.mp4", "x.mp4.avi")]


@pytest.mark.parametrize("there", [NFC, NFD])
def test_a_clip_its_words_and_its_boxes_are_found_composed_or_not(
    tmp_path: Path, write_clip: WriteClip, there: str
) -> None:
    write_clip(tmp_path / f"{there}.mp4", side=32).replace(tmp_path / f"{there}.MP4")
    (tmp_path / f"{NFD}.TXT").write_text("plain words")
    (tmp_path / "boxes").mkdir()
    np.save(tmp_path / "boxes" / f"{NFD}.npy", np.tile([0, 0, 9, 9], (5, 1)))
    dataset = Folder(tmp_path)
    assert dataset.clip_ids("all") == (NFC,)  # on every system the same
    for asked in (NFC, NFD):
        clip = dataset.clip(asked)
        assert (clip.id, clip.transcript, clip.face_boxes.source) == (asked, "plain words", "file")
    given = Folder(tmp_path, BoxOptions(boxes=str(tmp_path / "boxes"))).clip(NFC)
    assert given.face_boxes.source == "given"
    assert not any(".txt beside" in one.message for one in dataset.verify("all"))


def test_a_list_names_clips_composed_or_not_in_any_suffix(lrs2_home: Path) -> None:
    folder = lrs2_home / "main" / "6330311066473698535"
    folder.rename(folder.with_name(NFD))
    video = lrs2_home / "main" / NFD / "00011.mp4"
    video.rename(video.with_suffix(".MP4"))
    (lrs2_home / "test.txt").write_text(f"{NFC}/00011\n{NFD}/00011\n", encoding="utf-8")
    dataset = LRS2(lrs2_home)
    assert dataset.clip_ids("test") == (f"{NFC}/00011",)
    assert dataset.clip(f"{NFC}/00011").transcript == "hello world"
    assert len(dataset.clip(f"{NFC}/00011").frames) == 5


def test_what_a_list_names_and_is_no_file_fails_alone(lrs2_home: Path) -> None:
    main = lrs2_home / "main"
    os.mkfifo(main / "6330311066473698535" / "pipe.mp4")
    (main / "6330311066473698535" / "loop.mp4").symlink_to("loop.mp4")
    names = ["pipe", "loop", "n" * 300]
    listed = [f"6330311066473698535/{name}" for name in ["00011", *names]]
    (lrs2_home / "test.txt").write_text("\n".join(listed))
    reasons = ["is a named pipe", "is a link that leads in a circle", "cannot be read (File name too long)"]
    dataset = LRS2(lrs2_home)
    for clip_id, reason in zip(listed[1:], reasons, strict=True):
        with pytest.raises(ClipError) as caught:
            dataset.clip(clip_id)
        assert caught.value.kind == "missing" and reason in str(caught.value)
    assert len(dataset.clip(listed[0]).frames) == 5
    assert errors(dataset, "test").keys() == set(listed[1:])
    assert len(dataset.fingerprint("test")) == 64


def test_lrs3_lists_files_in_any_suffix_and_tells_the_rest(lrs3_home: Path) -> None:
    talk = lrs3_home / "test" / "0Fi83BHQsMA"
    (talk / "00002.mp4").rename(talk / "00002.MP4")
    os.mkfifo(talk / "pipe.mp4")
    (talk / "zero.txt").symlink_to("/dev/zero")
    (lrs3_home / "test" / "elsewhere").symlink_to(talk)
    dataset = LRS3(lrs3_home)
    ids = ("test/0Fi83BHQsMA/00002", "test/0Fi83BHQsMA/00006", "test/QoT0S2vu9m4/00002")
    assert dataset.clip_ids("test") == ids
    assert dataset.clip(ids[0]).transcript == "we really don't"
    assert told(dataset, "test") == {
        "0Fi83BHQsMA/pipe.mp4": "is a named pipe",
        "0Fi83BHQsMA/zero.txt": "is a device",
        "elsewhere": "is a link to a folder and not followed",
    }
    assert errors(dataset, "test").keys() == {"0Fi83BHQsMA/pipe.mp4", "0Fi83BHQsMA/zero.txt"}


def test_files_beside_a_clip_that_are_none_cost_what_they_stand_for(lrs2_home: Path) -> None:
    """A pipe in place of the words, and one in place of the boxes: the frames are none the worse for it."""
    first, second = "6330311066473698535/00011", "6331559613336179781/00001"
    (lrs2_home / "main" / f"{first}.txt").unlink()
    os.mkfifo(lrs2_home / "main" / f"{first}.txt")
    (lrs2_home / "boxes" / first).parent.mkdir(parents=True)
    os.mkfifo(lrs2_home / "boxes" / f"{first}.npy")
    dataset = LRS2(lrs2_home)
    clip = dataset.clip(first)
    assert clip.transcript is None and "00011.txt: is a named pipe" in clip.transcript_note
    assert len(clip.frames) == 5
    with pytest.raises(ClipError, match=r"00011\.npy.*no regular file"):
        _ = clip.face_boxes
    assert len(dataset.fingerprint("test")) == 64
    found = [one for one in dataset.verify("test") if one.level == "error"]
    assert {one.where for one in found} == {first} and len(found) == 2
    assert Finding("ok", second, "5 frames 160x160, 0.20 s of audio") in list(dataset.verify("test"))


@pytest.mark.parametrize("rows", [10**12, 10**6, 6])
def test_boxes_whose_header_claims_more_than_the_file_holds_are_that_clips_failure(lrs2_home: Path, rows: int) -> None:
    first, second = "6330311066473698535/00011", "6331559613336179781/00001"
    (lrs2_home / "boxes" / first).parent.mkdir(parents=True)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i4", "fortran_order": False, "shape": (rows, 4)})
    file = lrs2_home / "boxes" / f"{first}.npy"
    file.write_bytes(header.getvalue() + b"\0" * 5 * 16)
    dataset = LRS2(lrs2_home)
    with pytest.raises(ClipError, match=rf"header claims {rows * 16:,} bytes, the file holds 80\b") as caught:
        _ = dataset.clip(first).face_boxes
    assert caught.value.kind == "boxes"
    assert errors(dataset, "test").keys() == {first}
    assert any(one.where == second and one.level == "ok" for one in dataset.verify("test"))


def test_detected_boxes_whose_header_claims_too_much_are_a_damaged_entry(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i4", "fortran_order": False, "shape": (10**12, 4)})
    with zipfile.ZipFile(tmp_path / "entry.npz", "w") as archive:
        archive.writestr("boxes.npy", header.getvalue() + b"\0" * 80)
    with pytest.raises(ClipError, match=r"entry\.npz: damaged face boxes"):
        read_detected(tmp_path / "entry.npz")


def test_pairs_name_clips_composed_or_not(tmp_path: Path, write_clip: WriteClip) -> None:
    for name in (NFC, "b"):
        write_clip(tmp_path / "clips" / f"{name}.mp4", side=32)
    (tmp_path / "pairs.txt").write_text(f"{NFD} b\nb {NFC}\n", encoding="utf-8")
    of = Folder(tmp_path / "clips")
    options = PairedDataset.options_with(type(of.options))(pairs=tmp_path / "pairs.txt")
    assert PairedDataset(of, options).clip_ids("all") == (
        f"00001/b/with-sound-of/{NFC}",
        f"00002/{NFC}/with-sound-of/b",
    )


def test_pocket_tells_of_its_own_folder() -> None:
    assert list(Pocket().odd_files("test")) == []
