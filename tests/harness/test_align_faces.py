"""`score --align faces`: a face crop against a whole frame, each cut by boxes of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Frames, Media, WeightsUsed
from syncdiff_bench.errors import NotApplicable
from syncdiff_bench.faces import detection
from syncdiff_bench.faces.detectors import Faces
from syncdiff_bench.media.writing import write_video
from syncdiff_metrics.psnr import psnr_per_frame

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
