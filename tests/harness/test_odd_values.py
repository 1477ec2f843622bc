"""Values that a damaged file may hold: told in one line of bearable length, and never computed with."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from syncdiff_bench.arrays import Media
from syncdiff_bench.errors import ClipError, UsageError, one_line
from syncdiff_bench.faces.boxes import read_boxes
from syncdiff_bench.faces.landmarks import landmarks_in
from syncdiff_bench.listing import leads_below
from syncdiff_bench.report.results import read_run
from syncdiff_bench.significance.comparison import load_recorded

MEDIA = Media(np.zeros((2, 8, 8, 3), np.uint8), None)


def test_of_a_very_long_error_the_middle_is_left_out() -> None:
    said = str(UsageError(f"no clip {'9' * 5000}; give another one"))
    assert said.startswith("no clip 999") and said.endswith("999; give another one") and len(said) < 2010
    assert str(UsageError("x" * 2000)) == "x" * 2000
    assert len(one_line(ValueError("x" * 5000))) < 520


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20, 2.0**31])
def test_boxes_that_are_no_pixels_are_refused(tmp_path: Path, value: float) -> None:
    np.save(tmp_path / "a.npy", np.array([[0, 0, 4, 4], [0, 0, value, 4]], np.float64))
    with pytest.raises(ClipError, match=r"a\.npy: holds NaN, or numbers beyond any picture"):
        read_boxes(tmp_path / "a.npy", MEDIA)


def test_landmarks_beyond_float32_are_no_face(tmp_path: Path) -> None:
    points = np.ones((2, 68, 2))
    points[1, 3, 0] = 1e300
    np.save(tmp_path / "a.npy", points)
    landmarks = landmarks_in(tmp_path / "a.npy", MEDIA)
    assert np.isfinite(landmarks[0]).all() and np.isinf(landmarks[1, 3, 0])


def test_an_interval_that_is_a_number_is_named(tmp_path: Path) -> None:
    summary = [{"metric": "psnr", "protocol": "face96", "column": "psnr", "mean": 1.0, "ci95": 5}]
    summary[0] |= {"direction": "up", "n": 1, "failed": 0}
    record = {"schema": 1, "method": {"name": "a"}, "dataset": {"name": "b"}, "summary": summary}
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"run\.json .*ci95"):
        read_run(tmp_path / "run.json")


def test_a_metric_with_options_that_it_has_not_names_the_side() -> None:
    key = ("psnr", "face96", "")
    side: Any = SimpleNamespace(source="runs/a", metrics={key: SimpleNamespace(options={"regiom": "mouth"})})
    with pytest.raises(UsageError, match=r"^runs/a was scored by what is not here: unknown option 'regiom' of psnr"):
        load_recorded(side, key)


@pytest.mark.parametrize(
    ("path", "below"), [("a/b", True), ("a", True), ("a/..", False), ("a/../ab", False), ("ab", False), ("a/up", False)]
)
def test_what_leads_out_of_a_folder_is_seen_by_its_last_part_too(tmp_path: Path, path: str, below: bool) -> None:
    for name in ("a/b", "ab"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "up").symlink_to("..")
    assert leads_below(tmp_path / path, tmp_path / "a") is below
