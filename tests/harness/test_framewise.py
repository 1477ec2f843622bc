"""Boxes and landmarks go with the frames of their file; and `score --align faces` compares two files' faces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoded import encode

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Frames, Media, WeightsUsed
from syncdiff_bench.errors import ClipError, NotApplicable
from syncdiff_bench.faces import detection
from syncdiff_bench.faces.boxes import rows_of_frames
from syncdiff_bench.faces.detectors import Faces
from syncdiff_bench.faces.landmarks import landmarks_in
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.media.writing import write_video
from syncdiff_datasets.folder import Folder
from syncdiff_metrics.psnr import psnr_per_frame

PICTURES = 36  # at 30 per second: 30 frames at 25
SIDE = 64


def shown(media: Media) -> list[int]:
    """The number of the picture that each frame is, by what is to be seen in it."""
    return [round(float(frame.mean()) / 5) for frame in media.frames]


@pytest.fixture
def clips(work_folder: Path) -> Path:
    numbered = np.repeat(5 * np.arange(PICTURES, dtype=np.uint8), SIDE * SIDE * 3)  # picture i is of grey level 5 i
    encode(work_folder / "clips" / "a.mp4", numbered.reshape(PICTURES, SIDE, SIDE, 3), rate=30)
    (work_folder / "clips" / "boxes").mkdir()
    (work_folder / "clips" / "landmarks").mkdir()
    return work_folder / "clips"


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


BOX = {120: (12, 6, 108, 102), 320: (112, 36, 208, 132)}  # by the width of the frame: 96 x 96, the same face


class ByWidth:
    """Knows where the face is in a crop, and in the whole frame."""

    identity, most_pixels, surest = "dlib-hog-told", 1 << 22, False

    def detect(self, frames: Frames) -> list[Faces]:
        return [np.array([[*BOX[frames.shape[2]], 1.0]], np.float32)] * len(frames)

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return ()


def face(noise: int) -> Frames:
    rng = np.random.default_rng(1)
    clean = rng.integers(60, 190, (4, 96, 96, 3))
    return (clean + rng.integers(-noise, noise + 1, clean.shape)).astype(np.uint8)


@pytest.fixture
def folders(work_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    def load(name: str, _runtime: Any) -> ByWidth:
        if name != "dlib-hog":
            raise NotApplicable(f"{name} is not here")
        return ByWidth()

    monkeypatch.setattr(detection, "load_detector", load)
    detection._loaded.cache_clear()
    for name, (height, width), noise in (("theirs", (240, 320), 0), ("crops", (120, 120), 20)):
        frames = np.full((4, height, width, 3), 90, np.uint8)
        x1, y1, x2, y2 = BOX[width]
        frames[:, y1:y2, x1:x2] = face(noise)
        write_video(work_folder / name / "a.mp4", Media(frames, np.zeros(640 * 4, np.int16)))
    yield work_folder
    detection._loaded.cache_clear()


def score(*options: str, out: str = "out", metrics: str = "psnr,ssim,psnr[region=mouth]") -> dict[str, Any]:
    command = ["score", "--videos", "crops", "--reference", "theirs", "--metrics", metrics, "--out", out]
    main([*command, *options])
    run: dict[str, Any] = json.loads(Path(out, "videos", "run.json").read_text())
    return run


def test_faces_are_compared_in_columns_of_their_own(folders: Path) -> None:
    run = score("--align", "faces")
    psnr, ssim, mouth = run["summary"]
    assert [(one["metric"], one["protocol"]) for one in (psnr, ssim, mouth)] == [
        ("psnr", "own-face96"),
        ("ssim", "own-face96"),
        ("psnr", "own-mouth"),
    ]
    assert psnr["mean"] == pytest.approx(psnr_per_frame(face(20), face(0)).mean(), abs=1e-6)
    assert mouth["mean"] == pytest.approx(psnr_per_frame(face(20)[:, 48:], face(0)[:, 48:]).mean(), abs=1e-6)
    assert run["boxes"] == {"dlib-hog-told": 1}
    (aligned,) = (one for one in run["caveats"] if one["kind"] == "aligned")
    assert aligned["example"] == "120x120 against 320x240"


def test_without_it_another_shape_fails_and_says_so(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [one["failed"] for one in score()["summary"]] == [1, 1, 1]
    assert "or score with --align faces" in capsys.readouterr().err


def test_it_is_another_run(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    score("--align", "faces")
    capsys.readouterr()
    command = ["score", "--videos", "crops", "--reference", "theirs", "--metrics", "psnr", "--out", "out"]
    assert main(command) == 2
    assert "align" in capsys.readouterr().err


def test_the_papers_arithmetic_has_a_column_of_its_own_too(folders: Path) -> None:
    (entry,) = score("--align", "faces", metrics="psnr[protocol=talklip]")["summary"]
    assert (entry["protocol"], entry["n"]) == ("talklip-own-face96", 1)


def test_boxes_of_two_sources_are_no_pair(folders: Path) -> None:
    (folders / "theirs" / "boxes").mkdir()
    np.save(folders / "theirs" / "boxes" / "a.npy", np.tile(BOX[320], (4, 1)))
    (entry,) = score("--align", "faces", metrics="psnr")["summary"]
    assert entry["mean"] is None and "give one detector for both" in entry["reason"]
    (entry,) = score("--align", "faces", "--boxes", "dlib-hog", metrics="psnr", out="other")["summary"]
    assert entry["mean"] is not None


def test_there_has_to_be_a_reference(folders: Path) -> None:
    assert main(["score", "--videos", "crops", "--align", "faces", "--out", "out"]) == 2
