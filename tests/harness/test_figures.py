"""The strip: frames of a clip, one row per method."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from console import refusal
from PIL import Image, ImageFont

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Spoken
from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.report.page.material import (
    Material,
)
from syncdiff_bench.report.page.strip import Strip, draw_strip, make_strip, sampled_frames
from syncdiff_bench.runs.directory import Run, load_run


@pytest.fixture
def runs(work_folder: Path, toy_plugins: Path, toy_runs: Path) -> list[Run]:
    """Two methods over the toy dataset, with errors of 3 and of 0 grey levels; see `toy_runs` for the others there."""
    shutil.copytree(toy_runs, work_folder, dirs_exist_ok=True)
    return [load_run(Path("runs/toy-test") / name) for name in ("toy-noise", "toy-truth")]


def shifted(folder: str) -> Run:
    """The run of toy-noise in a/ or b/."""
    return load_run(Path(folder) / "toy-noise")


def pocket_runs(folder: Path) -> list[Run]:
    """`gt` and `static` on a clip of pocket, scored by PSNR."""
    options = ["--dataset", "pocket", "--limit", "1", "--metrics", "psnr", "--out", str(folder)]
    assert main(["run", "--method", "gt", "--method", "static", *options]) == 0
    return [load_run(folder / name) for name in ("gt", "static")]


# ----------------------------------------------------------------------------------------- strip


def test_frames_lie_in_the_middle_of_what_is_spoken() -> None:
    spoken = [Spoken("a", 0.0, 0.4), Spoken("b", 0.4, 0.48), Spoken("c", 0.48, 1.0), Spoken("late", 9, 10)]
    assert sampled_frames(spoken, 20, 3) == ([5, 11, 18], ("a", "b", "c"))
    assert sampled_frames(spoken, 20, 2) == ([5, 18], ("a", "c"))


def test_a_strip_shows_the_frames_of_each_run(runs: list[Run], tmp_path: Path) -> None:
    material = Material(runs)
    strip = make_strip(material, "s0/1", columns=3)
    assert list(strip.rows) == ["reference", "toy-noise", "toy-truth"]
    truth = read_media(runs[1].path / "videos" / "s0" / "1.mp4").frames
    np.testing.assert_array_equal(strip.rows["toy-truth"], truth[[0, round((len(truth) - 1) / 2), len(truth) - 1]])
    np.testing.assert_array_equal(strip.rows["reference"], np.full((3, 16, 16, 3), 10))  # clip 1 of toy is all 10
    difference = strip.rows["toy-noise"].astype(int) - strip.rows["toy-truth"]
    assert np.abs(difference).max() == 3
    draw_strip(strip, tmp_path / "figures" / "strip.png")
    draw_strip(strip, tmp_path / "figures" / "strip.pdf")
    picture = Image.open(tmp_path / "figures" / "strip.png")
    assert picture.height == 3 * 16 + 2 * 4
    np.testing.assert_array_equal(np.asarray(picture)[20:36, -48:], np.full((16, 48, 3), 13))
    pdf = (tmp_path / "figures" / "strip.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    # 72 points are an inch, 150 pixels of a frame as well; the text has two dots per pixel.
    width, height = (float(x) for x in re.findall(rb"MediaBox \[ 0 0 (\S+) (\S+) \]", pdf)[0])
    dots = (int(re.findall(rb"/Width (\d+)", pdf)[0]), int(re.findall(rb"/Height (\d+)", pdf)[0]))
    assert (height, dots[1]) == (pytest.approx(56 * 72 / 150), 2 * 56)
    assert dots[0] / width * 72 == pytest.approx(300)


def test_a_name_of_any_length_is_readable(tmp_path: Path) -> None:
    """The ink of a name ends before the first frame, and none of it is missing."""
    name = "a-method-with-a-very-long-name (runs/seed-0)"
    draw_strip(Strip("c", ("",), {name: np.full((1, 40, 30, 3), 255, np.uint8)}), tmp_path / "x.png")
    (columns,) = np.nonzero(np.asarray(Image.open(tmp_path / "x.png").convert("L")).min(axis=0) < 255)
    left, _, right, _ = ImageFont.load_default(size=18).getbbox(name)
    assert columns[-1] - columns[0] == pytest.approx(right - left, abs=4)
    assert Image.open(tmp_path / "x.png").width - 30 > columns[-1]


def test_a_figure_of_another_kind_is_refused(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "runs/toy-test", "--strip", "x.svg"]) == 2
    assert "--strip x.svg: a figure is a .png or a .pdf" in capsys.readouterr().err
    assert not (tmp_path / "x.svg").exists()


def test_a_strip_without_the_dataset_says_so(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "runs/toy-test", "--strip", "x.png", "--data-root", "nowhere"]) == 0
    assert "without the reference: --data-root nowhere: does not exist" in capsys.readouterr().err
    assert Image.open(tmp_path / "x.png").height == 2 * 16 + 4


def test_a_mouth_is_the_lower_half_of_the_box(tmp_path: Path) -> None:
    runs = pocket_runs(tmp_path / "runs")
    clip_id = runs[0].identity.clips[0]
    material = Material(runs)
    strip = make_strip(material, clip_id, columns=4, area="mouth")
    reference = material.reference(clip_id)
    assert list(strip.rows) == ["gt", "static"]  # gt is the reference
    # Of P L EY S W AY T AE T EH L S IH K S S UW N, as CMUdict writes it, evenly.
    assert reference.transcript == "place white at l six soon"
    assert strip.spoken == ("P", "T", "S", "N")
    sizes = reference.face_boxes.boxes
    width, height = np.median(sizes[:, 2] - sizes[:, 0]), np.median(sizes[:, 3] - sizes[:, 1])
    assert strip.rows["gt"].shape[2] == pytest.approx(width, abs=2)
    assert strip.rows["gt"].shape[1] == pytest.approx(height / 2, abs=2)


def test_runs_are_called_what_the_user_says(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("runs/toy-test/toy-noise")
    capsys.readouterr()
    assert main(["report", "runs/toy-test", "--label", f"{folder}=Ours = new", "--format", "csv"]) == 2
    assert f"--label {folder}=Ours = new: expected" not in (error := capsys.readouterr().err)
    assert "is none of the runs" in error
    assert main(["report", "runs/toy-test", "--label", f"{folder}= Ours ", "--format", "markdown"]) == 0
    assert "| Ours" in capsys.readouterr().out
    assert "--label Ours: expected RUN=NAME" in refusal(capsys, ["report", "runs/toy-test", "--label", "Ours"])


def test_a_missing_clip_is_named(runs: list[Run]) -> None:
    with pytest.raises(UsageError, match="has no video of clip 'nobody'"):
        make_strip(Material(runs), "nobody")
