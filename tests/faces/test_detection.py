"""One box per frame out of the faces that a detector finds, and dlib's detector."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from syncdiff_bench.contracts import Boxes, Frames
from syncdiff_bench.errors import NotApplicable
from syncdiff_bench.faces.detection import surest_face
from syncdiff_bench.faces.detectors import DlibHOG, Faces
from syncdiff_bench.media.reading import read_media
from syncdiff_datasets.pocket.dataset import Pocket


def faces(*rows: tuple[float, ...]) -> Faces:
    return np.array(rows, np.float32).reshape(-1, 5)


NONE = faces()


def test_the_first_face_counts_and_its_sides_are_cut_off_to_whole_pixels() -> None:
    found = surest_face([faces((1.9, 2.9, 30.9, 40.9, 0.9), (50, 50, 60, 60, 0.6))], 48, 48, "told")
    assert found.boxes.tolist() == [[1, 2, 30, 40]]
    assert found.boxes.dtype == np.int32
    assert found.found.tolist() == [True]


def test_only_negative_sides_are_clipped() -> None:
    """docs/spec/face-boxes.md#s3fd: right and bottom may lie beyond the frame."""
    assert surest_face([faces((-4.5, -0.5, 60.5, 70.5, 0.9))], 48, 48, "told").boxes.tolist() == [[0, 0, 60, 70]]


def test_gaps_get_the_line_between_and_ends_the_nearest_box() -> None:
    found = surest_face(
        [NONE, faces((10, 20, 30, 40, 1)), NONE, NONE, faces((16, 26, 39, 46, 1)), NONE], 48, 48, "told"
    )
    assert found.boxes.tolist() == [
        [10, 20, 30, 40],
        [10, 20, 30, 40],
        [12, 22, 33, 42],
        [14, 24, 36, 44],
        [16, 26, 39, 46],
        [16, 26, 39, 46],
    ]
    assert found.found.tolist() == [False, True, False, False, True, False]


@pytest.mark.parametrize(("height", "width", "box"), [(160, 160, [32, 32, 128, 128]), (100, 200, [70, 20, 130, 80])])
def test_a_clip_without_any_face_gets_the_centred_box(height: int, width: int, box: list[int]) -> None:
    found = surest_face([NONE, NONE], height, width, "told")
    assert found.boxes.tolist() == [box, box]
    assert not found.found.any()


# ----------------------------------------------------------------------------------------------------------------- dlib


SHARED = Path(os.environ.get("SYNCDIFF_BENCH_SHARED", Path(__file__).parents[3] / "shared"))


def rectangle(left: int, top: int, right: int, bottom: int) -> SimpleNamespace:
    sides = {"left": left, "top": top, "right": right, "bottom": bottom}
    return SimpleNamespace(**{name: (lambda value=value: value) for name, value in sides.items()})


def test_boxes_end_behind_their_last_pixel_and_small_faces_are_looked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, float]] = []

    def run(picture: Frames, upsampled: int, threshold: float) -> Any:
        assert picture.flags.c_contiguous
        asked.append((upsampled, threshold))
        if picture[0, 0, 0] == 0 and not upsampled:
            return [], [], []
        if picture[0, 0, 0] == 2:
            return [], [], []
        return [rectangle(0, 1, 9, 11), rectangle(20, 20, 39, 49)], [0.2, 1.5], [0, 0]

    dlib = SimpleNamespace(__version__="1.0", get_frontal_face_detector=lambda: SimpleNamespace(run=run))
    monkeypatch.setitem(sys.modules, "dlib", dlib)
    detector = DlibHOG()
    frames = np.zeros((3, 4, 4, 3), np.uint8)
    frames[1], frames[2] = 1, 2
    first, second, none = detector.detect(frames)
    np.testing.assert_allclose(first, [[20, 20, 40, 50, 1.5], [0, 1, 10, 12, 0.2]])
    np.testing.assert_array_equal(first, second)
    assert none.shape == (0, 5)
    assert asked == [(0, 0.0), (1, 0.0), (0, 0.0), (0, 0.0), (1, 0.0)]
    assert (detector.identity, detector.weights_used()) == ("dlib-hog-1.0", ())


def test_a_missing_package_is_not_applicable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(NotApplicable, match=r"package dlib missing .*pip install dlib-bin"):
        DlibHOG()


# ------------------------------------------------------------------------------------------------- the real one


@pytest.fixture
def detector() -> DlibHOG:
    return DlibHOG()


def overlaps(a: Boxes, b: Boxes) -> Any:
    common = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0).prod(axis=1)
    areas = sum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b))
    return common / (areas - common)


def test_drawn_faces_are_found_where_they_were_drawn(detector: DlibHOG) -> None:
    pocket = Pocket()
    for clip_id in pocket.clip_ids("test")[::6]:
        clip = pocket.clip(clip_id)
        frames, drawn = clip.frames[::8], clip.face_boxes.boxes[::8]
        found = surest_face(detector.detect(frames), *frames.shape[1:3], "told")
        assert found.found.mean() > 0.9, clip_id
        assert np.median(overlaps(found.boxes, drawn)) > 0.4, clip_id


def test_noise_holds_no_face(detector: DlibHOG) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype(np.uint8)
    found = surest_face(detector.detect(noise), 96, 96, "told")
    assert not found.found.any()
    assert found.boxes.tolist() == [[19, 19, 77, 77]] * 2


@pytest.mark.skipif(not (SHARED / "clips").is_dir(), reason="the shared clips are not here")
@pytest.mark.parametrize(
    ("name", "at_least"),
    [("grid/bbaf2n.mpg", 1.0), ("lrs3/test/OzA6jRYjVQs/00004.mp4", 1.0), ("voxceleb2/00373.mp4", 1.0)],
)
def test_real_faces_are_found(detector: DlibHOG, name: str, at_least: float) -> None:
    frames = read_media(SHARED / "clips" / name).frames[::10]
    assert surest_face(detector.detect(frames), *frames.shape[1:3], "told").found.mean() >= at_least
