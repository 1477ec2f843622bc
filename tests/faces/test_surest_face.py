"""One box per frame: rounding, gaps and clips without a face, against hand-made boxes."""

from __future__ import annotations

import numpy as np
import pytest

from syncdiff_bench.faces.detection import surest_face
from syncdiff_bench.faces.detectors import Faces


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
