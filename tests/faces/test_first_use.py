"""Boxes at their first use: a real face by the detector that every installation has, and who asked for what."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import data
from skimage.feature import Cascade

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Frames, Media, WeightsUsed
from syncdiff_bench.errors import NoBoxes, NotApplicable
from syncdiff_bench.faces import cache, detection
from syncdiff_bench.faces.boxes import BOX_CAVEATS, DETECTORS
from syncdiff_bench.faces.detection import detected_boxes, detecting, reduced
from syncdiff_bench.faces.detectors import DlibHOG, Faces
from syncdiff_bench.media.writing import write_video
from syncdiff_bench.views import expected_source
from syncdiff_datasets.folder import Folder

FACE = data.astronaut()[20:220, 120:320]  # 200 x 200, a face of about 90 pixels


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    detection._loaded.cache_clear()
    yield tmp_path
    detection._loaded.cache_clear()


def video(path: Path, pictures: Frames, value: int = 0) -> None:
    """value: added to the red of a corner, so that two videos of one face are two files."""
    frames = pictures.copy()
    frames[:, :4, :4, 0] = value
    write_video(path, Media(frames, np.full(640 * len(frames), 100, np.int16)))


def wide(n: int = 3) -> Frames:
    """The face at the left edge of a frame of stripes, where the centred guess sees none of it."""
    frames = np.zeros((n, 240, 640, 3), np.uint8)
    frames[:, :, ::8] = 200
    frames[:, 20:220, 10:210] = FACE
    return frames


@pytest.fixture
def clips(work_folder: Path) -> Path:
    video(work_folder / "clips" / "a.mp4", wide())
    return work_folder / "clips"


def run(root: Path, *options: str, out: str = "runs", method: str = "static", metrics: str = "psnr") -> int:
    command = ["run", "--method", method, "--dataset", "folder", "--data-root", str(root), "--out", out]
    return main([*command, "--metrics", metrics, *options])


def manifest(out: str = "runs", method: str = "static") -> Any:
    return json.loads(Path(out, method, "run.json").read_text())


def kinds(out: str = "runs", method: str = "static") -> set[str]:
    return {one["kind"] for one in manifest(out, method)["caveats"]} - {"few-speakers", "frames-left-out"}


class Told:
    """A detector that says where the face is; of a name that decides what comes first."""

    most_pixels = 1 << 22
    surest = False

    def __init__(self, identity: str, box: tuple[int, ...] = (20, 30, 90, 120)) -> None:
        self.identity, self.box = identity, box

    def detect(self, frames: Frames) -> list[Faces]:
        return [np.array([[*self.box, 0.9]], np.float32) for _ in frames]

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return ()


def only(monkeypatch: pytest.MonkeyPatch, **known: Any) -> None:
    """Only these detectors can be used ("s3fd", "dlib_hog")."""

    def load(name: str, _runtime: Any) -> Any:
        found = known.get(name.replace("-", "_"))
        if found is None:
            raise NotApplicable(f"{name} is not here")
        return found

    monkeypatch.setattr(detection, "load_detector", load)
    detection._loaded.cache_clear()


# -------------------------------------------------------------------------------------------------- the real one


def test_the_box_is_where_another_detector_sees_the_face(clips: Path) -> None:
    found = Folder(clips).clip("a").face_boxes
    assert found.source.startswith("dlib-hog-")
    assert not found.caveats
    cascade = Cascade(data.lbp_frontal_face_cascade_filename())
    faces = cascade.detect_multi_scale(FACE, 1.2, 1, (60, 60), (150, 150))
    corners = np.array([(one["c"], one["r"], one["c"] + one["width"], one["r"] + one["height"]) for one in faces])
    assert np.abs(found.boxes[0] - (corners + np.array([10, 20, 10, 20]))).max(axis=1).min() < 20
    assert (found.boxes == found.boxes[0]).all()


def test_a_very_large_frame_is_looked_at_reduced() -> None:
    detector = DlibHOG()
    large = np.repeat(np.repeat(wide(1), 4, axis=1), 4, axis=2)  # 2560 x 960
    small, k = reduced(large, detector.most_pixels)
    assert (k, small.shape) == (2, (1, 480, 1280, 3))
    np.testing.assert_array_equal(small, np.repeat(np.repeat(wide(1), 2, axis=1), 2, axis=2))
    clip = Clip("large", "test", preloaded=Media(large, np.zeros(0, np.int16)))
    (box,) = clip.face_boxes.boxes
    (plain,) = Clip("a", "test", preloaded=Media(wide(1), np.zeros(0, np.int16))).face_boxes.boxes
    np.testing.assert_allclose(box, 4 * plain, atol=4 * 12)  # a face of another size falls on another grid


def test_a_clip_is_looked_at_once_and_progress_is_told(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []
    with detecting("cpu", lambda *one: told.append(one)):
        first = Folder(clips).clip("a").face_boxes
        assert told == [("a", 0, 3), ("a", 3, 3)]
        again = Folder(clips).clip("a").face_boxes
    assert len(told) == 2
    np.testing.assert_array_equal(again.boxes, first.boxes)
    # without a detector, what was found before is still known
    only(monkeypatch)
    np.testing.assert_array_equal(Folder(clips).clip("a").face_boxes.boxes, first.boxes)


def test_a_home_that_cannot_be_written_costs_time_alone(clips: Path, work_folder: Path) -> None:
    (work_folder / "home").write_text("a file is in the way")
    assert Folder(clips).clip("a").face_boxes.source.startswith("dlib-hog-")


def test_a_clip_in_memory_is_looked_at_as_well() -> None:
    clip = Clip("a", "memory", preloaded=Media(wide(2), np.zeros(0, np.int16)))
    assert clip.face_boxes.boxes.shape == (2, 4)


def test_what_was_found_belongs_to_the_frames_that_were_looked_at(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames in place of those of a file have an entry of their own; one of another length is not taken."""
    only(monkeypatch, dlib_hog=Told("dlib-hog-1"))
    whole = Folder(clips).clip("a")
    other = Clip("a", "test", whole.path, preloaded=Media(wide(5)[:, :, ::-1], np.zeros(0, np.int16)))
    assert (len(whole.face_boxes.boxes), len(other.face_boxes.boxes)) == (3, 5)
    assert whole.content != other.content
    only(monkeypatch)
    assert expected_source(Folder(clips).clip("a"), cache.kept(DETECTORS)) == "dlib-hog-1"
    only(monkeypatch, dlib_hog=Told("dlib-hog-1"))
    assert len(detected_boxes("a", whole.content, wide(4), "").boxes) == 4


# ---------------------------------------------------------------------------------------------- who asks, who pays


def test_what_needs_no_face_looks_for_none(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Never(Told):
        def detect(self, frames: Frames) -> list[Faces]:
            raise AssertionError("nobody needs a face here")

    video(clips / "a.mp4", wide(8))
    only(monkeypatch, dlib_hog=Never("dlib-hog-never"))
    assert run(clips, metrics="psnr[region=full],lse[weights=pocket]") == 0
    assert manifest()["boxes"] == {}
    assert [entry["boxes"]["sources"] for entry in manifest()["protocols"]] == [{}, {}]
    assert not kinds() & BOX_CAVEATS
    assert [one["n"] for one in manifest()["summary"]] == [1, 1, 1]


def test_boxes_are_recorded_by_column(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(clips, metrics="psnr,psnr[region=full],ssim[region=mouth]") == 0
    (source,) = manifest()["boxes"]
    face, full, mouth = (entry["boxes"] for entry in manifest()["protocols"])
    assert (full["sources"], face["sources"], mouth["sources"]) == ({}, {source: 1}, {source: 1})
    assert face["sha256"] == mouth["sha256"] != full["sha256"]
    assert [one["boxes"] for one in manifest()["summary"]] == [{source: 1}, {}, {source: 1}]
    assert f"Face boxes: {source}; numbers on others do not compare." in capsys.readouterr().out


def test_the_guess_is_for_those_who_mean_it(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(clips, "--boxes", "centred") == 0
    assert manifest()["boxes"] == {"centred": 1}
    assert kinds() == {"guessed-boxes"}
    assert "1 of 1 clips: the face box is the centred guess" in capsys.readouterr().out
    # nobody looked at a face: nothing was guessed
    assert run(clips, "--boxes", "centred", out="full", metrics="psnr[region=full]") == 0
    assert kinds("full") == set()


def test_a_guess_is_said_once_however_many_columns_rest_on_it(clips: Path) -> None:
    assert run(clips, "--boxes", "centred", metrics="psnr,ssim,psnr[region=mouth]") == 0
    assert [one["kind"] for one in manifest()["caveats"]].count("guessed-boxes") == 1


def test_any_dataset_can_be_guessed_and_pocket_is_no_guess() -> None:
    command = ["run", "--method", "static", "--limit", "1", "--metrics", "psnr"]
    assert main([*command, "--out", "own"]) == 0
    assert kinds("own") == set()
    assert manifest("own")["boxes"] == {"file": 1}
    assert manifest("own")["dataset"]["options"] == {}
    assert main([*command, "--out", "guessed", "--boxes", "centred"]) == 0
    assert kinds("guessed") == {"guessed-boxes"}
    assert manifest("guessed")["dataset"]["options"] == {"boxes": "centred"}


def test_a_folder_of_boxes_comes_before_everything(
    clips: Path, work_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work_folder / "mine").mkdir()
    np.save(work_folder / "mine" / "a.npy", np.tile([20, 30, 90, 120], (3, 1)))
    assert run(clips, "--boxes", "mine") == 0
    assert manifest()["boxes"] == {"given": 1}
    assert manifest()["dataset"]["boxes"].startswith("given ")
    np.save(work_folder / "mine" / "a.npy", np.tile([21, 30, 90, 120], (3, 1)))
    assert run(clips, "--boxes", "mine") == 2
    assert re.search(r"boxes given \w{8} -> given \w{8}", capsys.readouterr().err)
    assert run(clips, "--boxes", "no-such-folder", out="other") == 2


def test_no_face_is_no_number(work_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wall = np.zeros((3, 240, 320, 3), np.uint8)
    wall[:, :, ::8] = 200
    video(work_folder / "clips" / "wall.mp4", wall)
    video(work_folder / "clips" / "face.mp4", wide())
    root = work_folder / "clips"
    with pytest.raises(NoBoxes, match=r"wall: dlib-hog-.* finds no face in any frame"):
        _ = Folder(root).clip("wall").face_boxes
    assert run(root, metrics="psnr,psnr[region=full]") == 0
    face, full = manifest()["summary"]
    assert (face["n"], face["failed"], full["n"]) == (1, 0, 2)
    assert "over 1 of 2 clips (1 n/a, dlib-hog-" in capsys.readouterr().out
    # a method that has to know where the mouth is fails there, and only there
    options = ("--set", "checkpoint=pocket")
    assert run(root, *options, out="drawn", method="wav2lip", metrics="psnr[region=full]") == 0
    (failed,) = [
        row for row in map(json.loads, Path("drawn/wav2lip/generation.jsonl").read_text().splitlines()) if row["error"]
    ]
    assert (failed["clip"], failed["error"]["kind"]) == ("wall", "no-face")
    assert manifest("drawn", "wav2lip")["boxes"] == {DlibHOG().identity: 1}


def test_of_two_people_the_box_stays_with_one(work_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Flickering(Told):
        """Two people; who is surer changes from frame to frame."""

        def detect(self, frames: Frames) -> list[Faces]:
            left, right = [10, 20, 90, 120], [200, 20, 280, 120]
            return [
                np.array([[*(left if i % 2 else right), 0.9], [*(right if i % 2 else left), 0.8]], np.float32)
                for i in range(len(frames))
            ]

    video(work_folder / "clips" / "two.mp4", wide(4))
    only(monkeypatch, dlib_hog=Flickering("dlib-hog-1"))
    assert Folder(work_folder / "clips").clip("two").face_boxes.boxes[:, 0].tolist() == [200] * 4
    official = Flickering("s3fd-1")
    official.surest = True
    only(monkeypatch, s3fd=official)
    found = Folder(work_folder / "clips").clip("two").face_boxes
    assert found.boxes[:, 0].tolist() == [200, 10, 200, 10]
    assert [one.kind for one in found.caveats] == ["jumping-boxes"]


def test_figures_do_without_a_face(work_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video(work_folder / "clips" / "wall.mp4", np.full((3, 240, 320, 3), 90, np.uint8))
    assert run(work_folder / "clips", metrics="psnr[region=full]") == 0
    assert main(["report", "runs", "--html", "page.html"]) == 0
    assert main(["report", "runs", "--strip", "strip.png"]) == 0
    assert main(["report", "runs", "--strip", "mouths.png", "--area", "mouth"]) == 2
    assert "finds no face in any frame" in capsys.readouterr().err


def test_a_face_that_jumps_is_said(work_folder: Path) -> None:
    both = np.zeros((4, 240, 640, 3), np.uint8)
    both[:2, 20:220, 10:210] = FACE
    both[2:, 20:220, 420:620] = FACE
    video(work_folder / "clips" / "two.mp4", both)
    assert run(work_folder / "clips") == 0
    assert kinds() == {"jumping-boxes"}


# ------------------------------------------------------------------------------------------------ other boxes


def test_other_boxes_are_another_run_and_it_says_so(
    clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(monkeypatch, dlib_hog=Told("dlib-hog-1"))
    assert run(clips) == 0
    assert run(clips) == 0
    only(monkeypatch, s3fd=Told("s3fd-2"), dlib_hog=Told("dlib-hog-1"))
    assert main(["data", "prepare", "faces", "--dataset", "folder", "--data-root", str(clips)]) == 0
    capsys.readouterr()
    assert run(clips) == 2
    assert "boxes dlib-hog-1 -> s3fd-2" in capsys.readouterr().err
    assert main(["score", "runs", "--metrics", "ssim"]) == 2
    # the boxes that the run rests on can be asked for
    assert run(clips, "--boxes", "dlib-hog") == 0
    assert main(["score", "runs", "--metrics", "ssim", "--boxes", "dlib-hog"]) == 0
    assert {frozenset(entry["boxes"]["sources"]) for entry in manifest()["protocols"]} == {frozenset({"dlib-hog-1"})}


def test_boxes_that_nobody_asked_for_may_change(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, dlib_hog=Told("dlib-hog-1"))
    assert run(clips, metrics="psnr[region=full]") == 0
    only(monkeypatch, dlib_hog=Told("dlib-hog-2"))
    assert run(clips, metrics="psnr[region=full],psnr") == 0
    assert manifest()["dataset"]["boxes"] == "dlib-hog-2"
    only(monkeypatch, dlib_hog=Told("dlib-hog-1"))
    assert run(clips, metrics="psnr[region=full],psnr") == 2


@pytest.mark.parametrize("counted", [{"centred": 1}, {"dlib-hog-0": 1}])
def test_a_run_of_an_older_version_keeps_its_boxes(
    clips: Path, counted: dict[str, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counted the sources, and recorded nothing by column."""
    only(monkeypatch, dlib_hog=Told("dlib-hog-1"))
    assert run(clips) == 0
    old = manifest()
    old["boxes"] = counted
    del old["dataset"]["boxes"]
    for entry in (*old["protocols"], *old["summary"]):
        del entry["boxes"]
    Path("runs/static/run.json").write_text(json.dumps(old))
    assert main(["report", "runs"]) == 0
    assert run(clips) == 2
    assert f"boxes {next(iter(counted))} -> dlib-hog-1" in capsys.readouterr().err
    if "centred" in counted:
        assert run(clips, "--boxes", "centred", metrics="psnr,ssim") == 0


def test_a_run_that_was_stopped_keeps_its_boxes(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, dlib_hog=Told("dlib-hog-1"))
    command = ["generate", "--method", "static", "--dataset", "folder", "--data-root", str(clips), "--out", "runs"]
    assert main(command) == 0
    stopped = manifest()
    stopped["boxes"] = None  # as it is before the last clip
    Path("runs/static/run.json").write_text(json.dumps(stopped))
    only(monkeypatch, dlib_hog=Told("dlib-hog-2"))
    assert main(command) == 2


def test_compare_and_check_refuse_other_boxes(
    clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only(monkeypatch, s3fd=Told("s3fd-1"), dlib_hog=Told("dlib-hog-1", (60, 30, 150, 120)))
    assert run(clips, out="one") == 0
    assert run(clips, "--boxes", "dlib-hog", out="other") == 0
    words = "psnr (face96): boxes s3fd-1 against boxes dlib-hog-1"
    capsys.readouterr()
    assert main(["compare", "one/static", "other/static"]) == 2
    assert words in capsys.readouterr().err
    assert main(["compare", "one/static", "other/static", "--any-boxes"]) == 0
    assert words in capsys.readouterr().out
    assert main(["check", "one/static", "--baseline", "base.json", "--update"]) == 0
    assert main(["check", "one/static", "--baseline", "base.json"]) == 0
    assert main(["check", "other/static", "--baseline", "base.json"]) == 2
    assert "boxes s3fd-1 -> dlib-hog-1" in capsys.readouterr().err
    assert main(["check", "other/static", "--baseline", "base.json", "--any-boxes"]) in (0, 1)
    # two boxes, two columns
    Path("other/static").rename("one/other")
    capsys.readouterr()
    assert main(["report", "one", "--format", "markdown"]) == 0
    told = capsys.readouterr().out
    assert "face96 boxes" in told and "s3fd-1" in told and "dlib-hog-1" in told


def test_boxes_of_several_sources_are_said(
    clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video(clips / "b.mp4", wide(), value=9)
    (clips / "boxes").mkdir()
    np.save(clips / "boxes" / "b.npy", np.tile([20, 30, 90, 120], (3, 1)))
    only(monkeypatch, dlib_hog=Told("dlib-hog-1"))
    assert run(clips) == 0
    assert kinds() == {"mixed-boxes"}
    assert "face boxes of several sources: dlib-hog-1 (1 clips), file (1 clips)" in capsys.readouterr().out
