"""Boxes and landmarks made on a file's own pictures go with the frames that are read from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Media
from syncdiff_bench.errors import ClipError
from syncdiff_bench.faces.boxes import rows_of_frames
from syncdiff_bench.faces.landmarks import landmarks_in
from syncdiff_bench.media.reading import read_media
from syncdiff_datasets.folder import Folder

PICTURES = 36  # at 30 per second: 30 frames at 25
SIDE = 64


def write_numbered(path: Path, rate: int = 30, pictures: int = PICTURES) -> None:
    """Picture i is a square of grey level 5 i, lossless."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=rate, options={"qp": "0"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "rgb24"
        for i in range(pictures):
            picture = np.full((SIDE, SIDE, 3), 5 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def shown(media: Media) -> list[int]:
    """The number of the picture that each frame is, by what is to be seen in it."""
    return [round(float(frame.mean()) / 5) for frame in media.frames]


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    write_numbered(tmp_path / "clips" / "a.mp4")
    (tmp_path / "clips" / "boxes").mkdir()
    (tmp_path / "clips" / "landmarks").mkdir()
    return tmp_path / "clips"


def save_boxes(clips: Path, rows: int) -> None:
    """Row i begins at x = i."""
    corners = np.arange(rows)
    np.save(clips / "boxes" / "a.npy", np.stack([corners, 0 * corners, corners + 20, 0 * corners + 20], axis=1))


def test_a_box_goes_with_the_picture_that_it_was_made_on(clips: Path) -> None:
    save_boxes(clips, PICTURES)
    clip = Folder(clips).clip("a")
    assert len(clip.frames) == 30
    assert clip.face_boxes.boxes[:, 0].tolist() == shown(clip.media)
    assert clip.face_boxes.boxes[:, 0].tolist() != list(range(30))
    assert clip.face_boxes.caveats == ()


def test_boxes_made_on_the_frames_are_used_as_they_are(clips: Path) -> None:
    save_boxes(clips, 30)
    assert Folder(clips).clip("a").face_boxes.boxes[:, 0].tolist() == list(range(30))


@pytest.mark.parametrize(
    ("rows", "detail"), [(28, "28 rows of boxes for 30 frames"), (37, "37 rows of boxes for 36 pictures")]
)
def test_a_few_rows_more_or_fewer_are_a_caveat(clips: Path, rows: int, detail: str) -> None:
    save_boxes(clips, rows)
    clip = Folder(clips).clip("a")
    expected = [min(number, 27) for number in range(30)] if rows == 28 else shown(clip.media)
    assert clip.face_boxes.boxes[:, 0].tolist() == expected
    (caveat,) = clip.face_boxes.caveats
    assert (caveat.kind, caveat.detail) == ("rows", detail)


@pytest.mark.parametrize("rows", [1, 20, 60])
def test_boxes_of_another_video_fail_the_clip_with_both_counts(clips: Path, rows: int) -> None:
    save_boxes(clips, rows)
    command = ["run", "--method", "static", "--dataset", "folder", "--data-root", str(clips), "--out", "runs"]
    assert main([*command, "--metrics", "psnr,psnr[region=full]"]) == 0
    face, full = json.loads(Path("runs/static/run.json").read_text())["summary"]
    assert (face["n"], face["failed"], full["n"]) == (0, 1, 1)
    error = json.loads(Path("runs/static/scores.jsonl").read_text().splitlines()[0])["error"]
    assert error["kind"] == "boxes"
    assert f"{rows} rows of boxes for 30 frames (36 pictures in the file)" in error["message"]


def test_landmarks_go_with_their_pictures_too(clips: Path) -> None:
    file = clips / "landmarks" / "a.npy"
    media = read_media(clips / "a.mp4")
    np.save(file, np.tile(np.arange(PICTURES, dtype=np.float32)[:, None, None], (1, 68, 2)))
    assert landmarks_in(file, media)[:, 0, 0].tolist() == shown(media)
    np.save(file, np.zeros((29, 68, 2), np.float32))
    with pytest.raises(ClipError, match=r"holds \(29, 68, 2\) float32, expected \(30, 68, 2\)"):
        landmarks_in(file, media)


def test_a_clip_made_in_memory_has_frames_alone() -> None:
    media = Media(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(0, np.int16))
    rows, doubts = rows_of_frames(4, media, "boxes", Path("a.npy"))
    assert (rows.tolist(), doubts) == ([0, 1, 2, 3], ())
    with pytest.raises(ClipError, match="9 rows of boxes for 4 frames; they are"):
        rows_of_frames(9, media, "boxes", Path("a.npy"))


@pytest.mark.parametrize("rows", [PICTURES, 30])
def test_a_clip_that_is_cut_keeps_the_boxes_of_its_file(clips: Path, rows: int) -> None:
    """A given video may be up to five frames shorter than its reference, which is then cut to it."""
    save_boxes(clips, rows)
    whole = Folder(clips).clip("a")
    short = whole.first(25)
    assert len(short.frames) == 25
    assert short.face_boxes.boxes[:, 0].tolist() == (shown(short.media) if rows == PICTURES else list(range(25)))
    assert short.face_boxes.caveats == ()


def test_boxes_of_a_pair_belong_to_the_pictures(clips: Path) -> None:
    """The sound may be shorter than the video that the boxes were made on."""
    save_boxes(clips, PICTURES)
    sound = Clip("s", "test", preloaded=Media(np.zeros((9, 8, 8, 3), np.uint8), np.zeros(640 * 9, np.int16)))
    pictures = Folder(clips).clip("a")
    pair = replace(pictures, audio_from=sound)
    assert pair.face_boxes.boxes[:, 0].tolist() == shown(pair.media)
    assert len(pair.face_boxes.boxes) == 9
