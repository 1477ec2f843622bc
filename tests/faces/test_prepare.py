"""`data prepare faces` and `landmarks`: the cache, what data sets make of it, what a run records; told detectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syncdiff_bench import clips
from syncdiff_bench.cli import main
from syncdiff_bench.clips import landmarks_of
from syncdiff_bench.contracts import Clip, Frames, Media, WeightsUsed
from syncdiff_bench.errors import ClipError, NoBoxes, NotApplicable, UsageError
from syncdiff_bench.faces import cache, detection, landmarks
from syncdiff_bench.faces.boxes import DETECTORS, FaceBoxes, read_boxes, read_detected
from syncdiff_bench.faces.detectors import Faces
from syncdiff_bench.faces.landmarks import Landmarks
from syncdiff_bench.media.writing import write_video
from syncdiff_bench.preparing import prepare_clip
from syncdiff_datasets.folder import Folder

SIDE = 64


class Told:
    """Sees a face in every frame whose corner is bright, at a place that the brightness says."""

    identity = "s3fd-told"
    most_pixels = 1 << 20
    surest = False

    def __init__(self) -> None:
        self.frames = 0

    def detect(self, frames: Frames) -> list[Faces]:
        self.frames += len(frames)
        corners = [float(frame[0, 0, 0]) for frame in frames]
        return [np.array([[v, v, v + 30, v + 40, 0.9]] if v else [], np.float32).reshape(-1, 5) for v in corners]

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return ()


def write(path: Path, corners: list[int]) -> None:
    frames = np.zeros((len(corners), SIDE, SIDE, 3), np.uint8)
    frames[:, :8, :8] = np.reshape(corners, (-1, 1, 1, 1))
    write_video(path, Media(frames, np.zeros(640 * len(corners), np.int16)))


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))

    real = detection.load_detector

    def none(name: str, runtime: Any) -> Any:
        if name in DETECTORS:
            raise NotApplicable(f"package of {name} missing")
        return real(name, runtime)

    monkeypatch.setattr(detection, "load_detector", none)
    detection._loaded.cache_clear()
    return tmp_path


@pytest.fixture
def tree(work_folder: Path) -> Path:
    root = work_folder / "videos"
    write(root / "steady.mp4", [4, 4, 4])
    write(root / "gap.mp4", [4, 0, 8])
    write(root / "empty.mp4", [0, 0, 0])
    (root / "broken.mp4").write_bytes(b"")
    return root


Use = Callable[[Any], None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    def replace_detectors(detector: Any) -> None:
        monkeypatch.setattr(detection, "load_detector", lambda _name, _runtime: detector)
        detection._loaded.cache_clear()

    return replace_detectors


def outcomes(root: Path, detector: Told) -> dict[str, tuple[str, int, int]]:
    dataset = Folder(root)
    prepared = [prepare_clip(dataset, clip_id, detector) for clip_id in dataset.clip_ids("all")]
    return {one.clip: (one.outcome, one.frames, one.faceless) for one in prepared}


def test_every_clip_is_detected_once(tree: Path) -> None:
    detector = Told()
    first, again = outcomes(tree, detector), outcomes(tree, detector)
    assert first == {
        "broken": ("failed", 0, 0),
        "empty": ("detected", 3, 3),
        "gap": ("detected", 3, 1),
        "steady": ("detected", 3, 0),
    }
    assert detector.frames == 9
    assert again == {name: ("known" if one[0] == "detected" else one[0], *one[1:]) for name, one in first.items()}


def source(root: Path, clip_id: str) -> str:
    return Folder(root).clip(clip_id).face_boxes.source


def test_the_dataset_finds_the_boxes_and_names_the_detector(tree: Path) -> None:
    before = Folder(tree).fingerprint("all")
    with pytest.raises(NoBoxes, match=r"gap: no face boxes, .*package of s3fd missing.*--boxes DIR") as none:
        source(tree, "gap")
    assert none.value.kind == "no-boxes"
    outcomes(tree, Told())
    found = Folder(tree).clip("gap").face_boxes
    assert (found.source, found.faceless) == ("s3fd-told", 1)
    assert found.boxes.tolist() == [[4, 4, 34, 44], [6, 6, 36, 46], [8, 8, 38, 48]]
    with pytest.raises(NoBoxes, match="empty: s3fd-told finds no face in any frame") as faceless:
        source(tree, "empty")
    assert faceless.value.kind == "no-face"
    assert Folder(tree).fingerprint("all") == before  # the clips are the same; their boxes have a name of their own


def test_entries_belong_to_the_content_of_a_file(tree: Path) -> None:
    outcomes(tree, Told())
    (tree / "elsewhere").mkdir()
    (tree / "steady.mp4").rename(tree / "elsewhere" / "moved.mp4")
    assert source(tree, "elsewhere/moved") == "s3fd-told"
    write(tree / "gap.mp4", [9, 9, 9])
    with pytest.raises(NoBoxes):
        source(tree, "gap")


def test_boxes_of_another_tool_come_first(tree: Path) -> None:
    (tree / "boxes").mkdir()
    np.save(tree / "boxes" / "gap.npy", np.array([[1, 2, 30, 40]] * 3))
    detector = Told()
    assert outcomes(tree, detector)["gap"] == ("given", 0, 0)
    assert Folder(tree).clip("gap").face_boxes.source == "file"
    assert Folder(tree).clip("steady").face_boxes.source == "s3fd-told"


def test_the_preferred_detector_counts(tree: Path) -> None:
    fallback = Told()
    fallback.identity = "dlib-hog-1"
    outcomes(tree, fallback)
    assert Folder(tree).clip("steady").face_boxes.source == "dlib-hog-1"
    outcomes(tree, Told())
    assert Folder(tree).clip("steady").face_boxes.source == "s3fd-told"


def test_a_detector_that_breaks_on_one_clip_costs_that_clip(tree: Path) -> None:
    class Breaking(Told):
        def detect(self, frames: Frames) -> list[Faces]:
            if frames[1, 0, 0, 0] == 0:
                raise RuntimeError("out of memory")
            return super().detect(frames)

    assert {name: one[0] for name, one in outcomes(tree, Breaking()).items()} == {
        "broken": "failed",
        "empty": "failed",
        "gap": "failed",
        "steady": "detected",
    }


def test_a_clip_in_memory_is_told(work_folder: Path) -> None:
    class OneClip(Folder):
        def clip(self, clip_id: str) -> Clip:
            return Clip(clip_id, "memory", preloaded=Media(np.zeros((1, 8, 8, 3), np.uint8), np.zeros(0, np.int16)))

    failed = prepare_clip(OneClip(work_folder), "a", Told())
    assert (failed.outcome, failed.problem) == ("failed", "a: lies in memory; faces are prepared for clips in files")


# ------------------------------------------------------------------------------------------------- the files


def entry(folder: Path) -> Path:
    path = folder / "home" / "faces" / "ab-s3fd-1.npz"
    detection.keep_boxes(path, FaceBoxes(np.array([[1, 2, 3, 4]] * 2, np.int32), "s3fd-1", np.array([True, False])))
    return path


def of_frames(n: int) -> Media:
    return Media(np.zeros((n, 8, 8, 3), np.uint8), np.zeros(0, np.int16))


def test_an_entry_fits_itself_to_the_frames(work_folder: Path) -> None:
    path = entry(work_folder)
    assert read_boxes(path, of_frames(1)).boxes.tolist() == [[1, 2, 3, 4]]
    assert read_boxes(path, of_frames(3)).boxes.tolist() == [[1, 2, 3, 4]] * 3
    assert read_detected(path).faceless == 1
    first = path.read_bytes()
    assert entry(work_folder).read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x93NUMPY no"])
def test_a_damaged_entry_is_told_and_made_again(tree: Path, content: bytes) -> None:
    detector = Told()
    outcomes(tree, detector)
    path = cache.entry("faces", Folder(tree).clip("steady").content, detector.identity)
    path.write_bytes(content)
    with pytest.raises(ClipError, match=r"damaged face boxes .* delete it and prepare faces again") as caught:
        read_detected(path)
    assert caught.value.kind == "boxes"
    assert outcomes(tree, detector)["steady"] == ("detected", 3, 0)
    assert Folder(tree).clip("steady").face_boxes.source == "s3fd-told"


@pytest.mark.parametrize(
    "arrays",
    [
        {"boxes": np.zeros((0, 4), np.int32), "found": np.zeros(0, bool), "detector": np.array("a")},
        {"boxes": np.zeros((2, 4)), "found": np.ones(2, bool), "detector": np.array("a")},
        {"boxes": np.zeros((2, 4), np.int32), "found": np.ones(3, bool), "detector": np.array("a")},
        {"boxes": np.zeros((2, 4), np.int32), "found": np.ones(2, bool)},
        {"boxes": np.zeros((2, 4), np.int32), "found": np.ones(2, bool), "detector": np.array({"a": 1})},
    ],
)
def test_foreign_archives_are_refused(work_folder: Path, arrays: dict[str, Any]) -> None:
    path = work_folder / "foreign.npz"
    np.savez(path, **arrays)
    with pytest.raises(ClipError, match=r"foreign\.npz: .*face boxes"):
        read_detected(path)


def test_a_folder_that_cannot_be_written_ends_it(tree: Path, work_folder: Path) -> None:
    (work_folder / "home").write_text("a file is in the way")
    with pytest.raises(UsageError, match=r"cannot be written .* set SYNCDIFF_BENCH_HOME"):
        outcomes(tree, Told())


# ----------------------------------------------------------------------------------------- the command line


def test_the_command_tells_what_it_found(tree: Path, use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    use(Told())
    command = ["data", "prepare", "faces", "--dataset", "folder", "--data-root", str(tree), "--detector", "s3fd"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert told.out == (
        "folder test: 3 clips by s3fd-told (3 now, 0 before); 1 with gaps: 1 of 3 frames interpolated; "
        "1 without any face; 1 failed\n"
    )
    assert "failed: " in told.err
    assert "broken.mp4: the file has no bytes" in told.err
    assert main([*command, "--limit", "2"]) == 0
    assert "1 clips by s3fd-told (0 now, 1 before)" in capsys.readouterr().out


def test_a_run_names_the_detector_and_counts_the_gaps(tree: Path, work_folder: Path) -> None:
    outcomes(tree, Told())
    out = work_folder / "runs"
    command = ["run", "--method", "gt", "--dataset", "folder", "--data-root", str(tree), "--metrics", "psnr"]
    assert main([*command, "--out", str(out)]) == 0
    (manifest,) = out.glob("*/run.json")
    run = json.loads(manifest.read_text())
    assert run["boxes"] == {"s3fd-told": 2}
    assert run["notes"] == {"gap": ["no face in 1 of 3 frames: boxes interpolated"]}


def test_pocket_has_boxes_of_its_own(use: Use, capsys: pytest.CaptureFixture[str]) -> None:
    use(Told())
    assert main(["data", "prepare", "faces", "--dataset", "pocket", "--detector", "s3fd", "--limit", "2"]) == 0
    assert "2 have boxes of their own" in capsys.readouterr().out


def test_an_unknown_detector_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare", "faces", "--dataset", "pocket", "--detector", "s3f"]) == 2
    assert "unknown face detector 's3f'; did you mean 's3fd'?" in capsys.readouterr().err


def test_auto_passes_over_what_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"dlib-hog": Told()}

    def load(name: str, _runtime: Any) -> Any:
        if name not in here:
            raise NotApplicable(f"package of {name} missing")
        return here[name]

    monkeypatch.setattr(detection, "load_detector", load)
    detector, passed_over = detection.choose_detector("auto", "cpu")
    assert detector is here["dlib-hog"]
    assert passed_over == ["s3fd: package of s3fd missing"]
    here.clear()
    with pytest.raises(UsageError, match=r"no face detector can be used here .*package of dlib-hog missing"):
        detection.choose_detector("auto", "cpu")


# ------------------------------------------------------------------------------------------------------------ landmarks


FACE = np.stack([np.arange(68), np.arange(68) / 2], axis=1).astype(np.float32)


class ToldPoints:
    """Sees a face where a frame's corner is bright, as far right as the brightness says."""

    identity = "told"
    calls = 0

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def detect(self, frames: Frames) -> Landmarks:
        type(self).calls += 1
        found = np.full((len(frames), 68, 2), np.nan, np.float32)
        for points, frame in zip(found, frames, strict=True):
            if frame[0, 0, 0]:
                points[:] = FACE + np.array([float(frame[0, 0, 0]), 0])
        return found

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return ()

    def provenance(self) -> dict[str, str]:
        return {}


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (clips, landmarks):
        monkeypatch.setattr(module, "FaceAlignmentSource", ToldPoints)
    monkeypatch.setattr(ToldPoints, "calls", 0)
    clips._face_alignment.cache_clear()


def test_the_command_detects_once_and_tells_gaps_and_failures(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "prepare", "landmarks", "--dataset", "folder", "--data-root", str(tree), "--device", "cpu"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert told.out == (
        "folder test: 3 clips by told (3 now, 0 before); 1 with gaps: 1 of 3 frames interpolated;"
        " 1 without any face; 1 failed\n"
    )
    assert "broken.mp4: the file has no bytes" in told.err
    assert main(command) == 0
    assert "3 clips by told (0 now, 3 before)" in capsys.readouterr().out
    assert ToldPoints.calls == 3


def test_landmarks_of_the_dataset_come_first(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "landmarks").mkdir()
    np.save(tree / "landmarks" / "steady.npy", np.stack([FACE] * 3))
    command = ["data", "prepare", "landmarks", "--dataset", "folder", "--data-root", str(tree), "--device", "cpu"]
    assert main(command) == 0
    assert "1 have landmarks of their own" in capsys.readouterr().out
    clip = Clip("steady", "folder", path=tree / "steady.mp4", landmarks_path=tree / "landmarks" / "steady.npy")
    np.testing.assert_array_equal(landmarks_of(clip), np.stack([FACE] * 3))


def test_without_the_package_it_says_what_to_install(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_device: str = "cpu") -> None:
        raise NotApplicable("package face-alignment missing; pip install 'syncdiff-bench[faces]'")

    for module in (clips, landmarks):
        monkeypatch.setattr(module, "FaceAlignmentSource", missing)
    assert main(["data", "prepare", "landmarks", "--dataset", "folder", "--data-root", str(tree)]) == 2
    assert "pip install 'syncdiff-bench[faces]'" in capsys.readouterr().err
    with pytest.raises(ClipError, match=r"gap: no landmarks, and none can be detected .*landmarks=DIR"):
        landmarks_of(Clip("gap", "folder", path=tree / "gap.mp4"))


def test_a_clip_gets_its_gaps_filled(tree: Path) -> None:
    found = landmarks_of(Clip("gap", "folder", path=tree / "gap.mp4"))
    np.testing.assert_allclose(found[1], (found[0] + found[2]) / 2, atol=1e-4)
    with pytest.raises(ClipError, match="empty: no frame has the landmarks of a face"):
        landmarks_of(Clip("empty", "folder", path=tree / "empty.mp4"))


def test_a_folder_of_them_comes_before_everything(tree: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "gap.npy", np.stack([FACE] * 3) + 5)
    clip = Clip("gap", "folder", path=tree / "gap.mp4")
    np.testing.assert_array_equal(landmarks_of(clip, str(tmp_path)), np.stack([FACE] * 3) + 5)
    np.save(tmp_path / "gap.npy", np.stack([FACE] * 2))
    with pytest.raises(ClipError, match=r"gap\.npy holds \(2, 68, 2\) float32, expected \(3, 68, 2\)"):
        landmarks_of(clip, str(tmp_path))
