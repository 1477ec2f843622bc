"""Square crops around a face: where they lie, that they come back to where they were, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_bench.faces.framing import (
    as_of_s3fd,
    boxes_into,
    cut,
    feather,
    into_squares,
    is_framed,
    moved_inside,
    paste,
    relative_size,
    squares_of,
    steadied_boxes,
)


def smooth_picture(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width].astype(float)
    channels = [128 + 100 * np.sin(x / 60), 128 + 100 * np.cos(y / 50), 128 + 50 * np.sin((x + y) / 80)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def test_the_square_is_that_of_syncnets_pipeline() -> None:
    """run_pipeline.py, bs half of the longer side: rows my - bs to my + 1.8 bs, columns mx - 1.4 bs to mx + 1.4 bs."""
    x1, y1, x2, y2 = 300, 120, 420, 280
    bs, my, mx = (y2 - y1) / 2, (y1 + y2) / 2, (x1 + x2) / 2
    (square,) = squares_of(np.array([[x1, y1, x2, y2]]), "s3fd-619a316812")
    np.testing.assert_allclose(square, [mx - 1.4 * bs, my - bs, 2.8 * bs])


def test_dlibs_box_gives_about_the_square_of_s3fds() -> None:
    """A clip of LRS3, 224x224: dlib's box and the one that the official scripts were given."""
    dlib, given = np.array([[38, 16, 163, 141]]), np.array([53, 1, 171, 159])
    (square,), (box,) = squares_of(dlib, "dlib-hog-20.0.1"), as_of_s3fd(dlib, "dlib-hog-20.0.1")
    assert np.abs(square - [0, 0, 224]).max() < 13
    assert np.abs(box - given).max() < 15
    assert as_of_s3fd(dlib, "given") is dlib


def test_which_frames_are_in_the_framing_of_lrs() -> None:
    box = np.tile([50, 3, 171, 154], (5, 1))
    assert is_framed(box, (224, 224), "given")
    assert relative_size(box, (224, 224), "given") == pytest.approx(151 / (224 / 1.4))
    assert not is_framed(box, (1080, 1920), "given")
    assert not is_framed(box, (224, 288), "given"), "not square"
    assert not is_framed(box[:, [0, 1, 2, 3]] // 2, (224, 224), "given"), "the face is small"
    assert is_framed(np.array([[192, 192, 768, 768]]), (960, 960), "centred")


def test_a_track_is_steady_and_does_not_cross_a_cut() -> None:
    rng = np.random.default_rng(0)
    drift = np.linspace(0, 40, 200)[:, None]
    true = np.array([100.0, 50.0, 180.0, 150.0]) + drift
    noisy = true + rng.normal(0, 4, (200, 4))
    noisy[60] += 30  # one miss
    steady = steadied_boxes(noisy)
    assert np.abs(steady - true)[15:-15].max() < 4
    assert np.abs(np.diff(steady, axis=0)).max() < 2
    cut_away = np.concatenate([np.tile([0.0, 0, 50, 50], (30, 1)), np.tile([400.0, 90, 500, 190], (30, 1))])
    np.testing.assert_allclose(steadied_boxes(cut_away), cut_away)
    at_50 = steadied_boxes(np.repeat(noisy, 2, axis=0), 50.0)[::2]
    assert np.abs(at_50 - steady).max() < 2.5


@pytest.mark.parametrize("square", [(300.3, 200.7, 400.0), (-40.0, -25.5, 300.0), (1000.2, 500.1, 400.4), (0, 0, 720)])
def test_what_is_cut_out_comes_back_to_its_place(square: tuple[float, float, float]) -> None:
    frame, at = smooth_picture(720, 1280), np.array(square, float)
    crop = cut(frame, at, 256)
    assert crop.shape == (256, 256, 3)
    before = frame.copy()
    paste(frame, crop, at, feather(np.array([60, 20, 196, 200]), 256, "face"))
    assert np.abs(frame.astype(int) - before).max() <= 3


def test_a_square_of_whole_pixels_is_copied() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    np.testing.assert_array_equal(cut(frame, np.array([10.0, 5, 64]), 64), frame[5:69, 10:74])
    over = cut(frame, np.array([-8.0, 5, 64]), 64)
    np.testing.assert_array_equal(over[:, 8:], frame[5:69, :56])
    np.testing.assert_array_equal(over[:, :8], np.repeat(frame[5:69, :1], 8, axis=1))


def test_pasting_changes_the_area_and_no_other_pixel() -> None:
    frame, at = np.full((300, 400, 3), 90, np.uint8), np.array([100.0, 40, 200])
    box = np.array([30, 10, 98, 100])
    mask = feather(box, 128)
    paste(frame, np.full((128, 128, 3), 255, np.uint8), at, mask)
    changed = np.argwhere((frame != 90).any(axis=2))
    scale = 200 / 128
    low, high = changed.min(axis=0), changed.max(axis=0)
    assert low[0] >= 40 + (55 - 9) * scale and high[0] <= 40 + (109 + 9) * scale, "the lower half, and what a jaw opens"
    assert low[1] >= 100 + (30 - 9) * scale and high[1] <= 100 + (98 + 9) * scale
    assert (frame[int(40 + 80 * scale), int(100 + 64 * scale)] == 255).all()
    steps = np.abs(np.diff(frame[int(40 + 80 * scale), :, 0].astype(int)))
    assert 0 < steps.max() < 40, "a soft edge"


@pytest.mark.parametrize("area", ["mouth", "face", "crop"])
def test_a_mask_ends_before_the_crop_does(area: str) -> None:
    mask = feather(np.array([5, 2, 125, 127]), 128, area)  # type: ignore[arg-type]
    assert max(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) == 0
    assert mask[90, 64] == 1
    assert (mask[30, 64] == 0) == (area == "mouth")


def test_boxes_and_points_move_with_the_square() -> None:
    squares = np.array([[100.0, 50, 200], [110.0, 60, 200]])
    boxes = np.array([[150, 100, 250, 200], [150, 100, 900, 200]])
    assert boxes_into(boxes, squares, 100).tolist() == [[25, 25, 75, 75], [20, 20, 100, 70]]
    points = np.array([[[100.0, 50.0], [300, 250]], [[110, 60], [210, 160]]])
    assert into_squares(points, squares, 100).tolist() == [[[0, 0], [100, 100]], [[0, 0], [50, 50]]]
    assert moved_inside(np.array([[-20.0, 900, 300], [5, 5, 2000]]), (1080, 1920)).tolist() == [
        [0, 780, 300],
        [-40, -460, 2000],
    ]
