"""Cutting faces out and pasting them back, against hand-made boxes and pictures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_bench.errors import ClipError
from syncdiff_methods.wav2lip.config import BoxConfig
from syncdiff_methods.wav2lip.faces import cut_faces, face_areas, inside, network_input, paste, smoothed

PLAIN = BoxConfig(pads=(0, 0, 0, 0), smooth=False)


def boxes(*rows: tuple[int, int, int, int]) -> NDArray[np.int32]:
    return np.array(rows, np.int32)


def test_the_worked_example_of_smoothing() -> None:
    """docs/spec/wav2lip.md#boxes."""
    x1 = np.array([10, 12, 14, 16, 18, 20], np.int32)
    assert smoothed(x1).tolist() == [14, 16, 16, 17, 17, 17]
    assert x1.tolist() == [10, 12, 14, 16, 18, 20]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([10], [10]),  # boxes[-4:] is all of them
        ([10, 20], [15, 17]),  # boxes[-3:]; the second sees the first already averaged
        ([10, 20, 30], [25, 25, 27]),  # boxes[-2:]
        ([10, 20, 30, 40], [40, 40, 40, 40]),  # boxes[-1:]
    ],
)
def test_smoothing_of_fewer_boxes_than_it_averages(given: list[int], expected: list[int]) -> None:
    assert smoothed(np.array(given, np.int32)).tolist() == expected


def test_pads_are_cut_at_the_border_before_smoothing() -> None:
    given = boxes(*[(10, 20, 90, 95)] * 5)
    assert face_areas(given, (100, 120), BoxConfig()).tolist() == [[10, 20, 90, 100]] * 5
    padded = face_areas(given, (100, 120), BoxConfig(pads=(30, 0, 4, 50), smooth=False))
    assert padded.tolist() == [[6, 0, 120, 95]] * 5


def test_boxes_reach_no_further_than_each_side_of_a_frame() -> None:
    """Width bounds x and height bounds y (the official TalkLip bounds both by the height)."""
    assert inside(boxes((-5, -6, 200, 200)), (60, 150)).tolist() == [[0, 0, 150, 60]]


@pytest.mark.parametrize("box", [(50, 10, 50, 40), (70, 10, 90, 40), (10, 45, 20, 60), (-9, 0, 0, 9)])
def test_a_box_without_pixels_names_its_frame(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ClipError, match=r"of frame 1 holds no pixel of 64x40") as caught:
        face_areas(boxes((0, 0, 9, 9), box), (40, 64), PLAIN)
    assert caught.value.kind == "boxes"


def test_faces_are_bgr() -> None:
    frames = np.zeros((2, 50, 60, 3), np.uint8)
    frames[:, 10:40, 5:35] = (200, 100, 50)
    faces = cut_faces(frames, boxes((5, 10, 35, 40), (5, 10, 35, 40)))
    assert faces.shape == (2, 96, 96, 3)
    assert (faces == (50, 100, 200)).all()


def test_the_network_sees_half_a_face_and_a_whole_reference() -> None:
    faces, references = (np.full((1, 96, 96, 3), level, np.uint8) for level in (51, 255))
    seen = network_input(faces, references)
    assert seen.shape == (1, 6, 96, 96) and seen.dtype == np.float32
    np.testing.assert_allclose(seen[:, :3, :48], 0.2)
    assert (seen[:, :3, 48:] == 0).all()
    assert (seen[:, 3:] == 1).all()


def test_what_is_cut_out_goes_back_to_its_place() -> None:
    """A box of 96 x 96 needs no resizing: cutting and pasting is the identity, and nothing else moves."""
    frames = np.random.default_rng(0).integers(0, 256, (1, 120, 130, 3), np.uint8)
    area = boxes((20, 10, 116, 106))
    face = cut_faces(frames, area)[0]
    canvas = np.zeros((120, 130, 3), np.uint8)
    paste(canvas, face, area[0])
    np.testing.assert_array_equal(canvas[10:106, 20:116], frames[0, 10:106, 20:116])
    canvas[10:106, 20:116] = 0
    assert not canvas.any()
