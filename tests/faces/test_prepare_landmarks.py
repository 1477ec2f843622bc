"""`prepare landmarks` and where a clip's landmarks come from, with a detector that is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Frames, Media, WeightsUsed
from syncdiff_bench.errors import ClipError, NotApplicable
from syncdiff_bench.faces import landmarks
from syncdiff_bench.faces.landmarks import Landmarks, landmarks_of
from syncdiff_bench.media.writing import write_video

FACE = np.stack([np.arange(68), np.arange(68) / 2], axis=1).astype(np.float32)


class Told:
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
                points[:] = FACE + np.array([round(float(frame[0, 0, 0]) / 10), 0])
        return found

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return ()

    def provenance(self) -> dict[str, str]:
        return {}


@pytest.fixture(autouse=True)
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(landmarks, "FaceAlignmentSource", Told)
    monkeypatch.setattr(Told, "calls", 0)
    landmarks._face_alignment.cache_clear()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    for name, corners in (("steady", [40, 40]), ("gap", [40, 0, 80]), ("empty", [0, 0])):
        frames = np.zeros((len(corners), 64, 64, 3), np.uint8)
        frames[:, :8, :8] = np.reshape(corners, (-1, 1, 1, 1))
        write_video(root / f"{name}.mp4", Media(frames, np.zeros(640 * len(corners), np.int16)))
    (root / "broken.mp4").write_bytes(b"")
    return root


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
    assert Told.calls == 3


def test_landmarks_of_the_dataset_come_first(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "landmarks").mkdir()
    np.save(tree / "landmarks" / "steady.npy", np.stack([FACE, FACE]))
    command = ["data", "prepare", "landmarks", "--dataset", "folder", "--data-root", str(tree), "--device", "cpu"]
    assert main(command) == 0
    assert "1 have landmarks of their own" in capsys.readouterr().out
    clip = Clip("steady", "folder", path=tree / "steady.mp4", landmarks_path=tree / "landmarks" / "steady.npy")
    np.testing.assert_array_equal(landmarks_of(clip), np.stack([FACE, FACE]))


def test_without_the_package_it_says_what_to_install(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_device: str = "cpu") -> None:
        raise NotApplicable("package face-alignment missing; pip install 'syncdiff-bench[faces]'")

    monkeypatch.setattr(landmarks, "FaceAlignmentSource", missing)
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
