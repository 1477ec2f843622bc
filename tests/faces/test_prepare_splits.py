"""`data prepare faces` of several splits: each once, all that are there, and none where one is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Frames, Media, WeightsUsed
from syncdiff_bench.faces import detection
from syncdiff_bench.faces.detectors import Faces
from syncdiff_bench.media.writing import write_video


class Told:
    """Sees one face wherever it looks."""

    identity = "s3fd-told"
    most_pixels = 1 << 20
    surest = True
    frames = 0

    def detect(self, frames: Frames) -> list[Faces]:
        self.frames += len(frames)
        return [np.array([[1, 2, 30, 40, 0.9]], np.float32) for _ in frames]

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return ()


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(detection, "load_detector", lambda _name, _device: told)
    return told


@pytest.fixture
def lrs2(tmp_path: Path) -> Path:
    """LRS2's layout with two training clips, one for validation and one for tests, of a frame each."""
    root = tmp_path / "lrs2"
    for grey, (split, ids) in enumerate({"train": ("s/1", "s/2"), "val": ("s/3",), "test": ("s/4",)}.items()):
        root.mkdir(exist_ok=True)
        (root / f"{split}.txt").write_text("\n".join(ids))
        for i, clip_id in enumerate(ids):
            frames = np.full((1, 64, 64, 3), 20 * grey + i, np.uint8)
            write_video(root / "main" / f"{clip_id}.mp4", Media(frames, np.zeros(640, np.int16)))
    return root


def prepare(root: Path, *splits: str) -> int:
    chosen = [part for split in splits for part in ("--split", split)]
    return main(["data", "prepare", "faces", "--dataset", "lrs2", "--data-root", str(root), *chosen])


def test_several_splits(lrs2: Path, detector: Told, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(lrs2, "train", "val", "train") == 0
    assert capsys.readouterr().out.splitlines() == [
        "lrs2 train: 2 clips by s3fd-told (2 now, 0 before)",
        "lrs2 val: 1 clips by s3fd-told (1 now, 0 before)",
    ]
    assert detector.frames == 3
    assert prepare(lrs2, "all") == 0
    assert capsys.readouterr().out.splitlines() == [
        "lrs2 train: 2 clips by s3fd-told (0 now, 2 before)",
        "lrs2 val: 1 clips by s3fd-told (0 now, 1 before)",
        "lrs2 test: 1 clips by s3fd-told (1 now, 0 before)",
    ]


def test_without_a_split_it_is_the_one_that_is_tested(
    lrs2: Path, detector: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(lrs2) == 0
    assert capsys.readouterr().out.startswith("lrs2 test: 1 clips")


@pytest.mark.parametrize("wrong", ["trian", "pretrain"])
def test_a_wrong_split_is_told_before_anything_is_looked_at(
    lrs2: Path, detector: Told, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    assert prepare(lrs2, "train", wrong) == 2
    error = capsys.readouterr().err
    assert wrong in error and all(split in error for split in ("train", "val", "test"))
    assert detector.frames == 0
