"""Scene cuts: colours against OpenCV and by hand, cuts where they were made."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_metrics.real_video import content_changes, hue_saturation_value, scenes


def plain(*levels: int, side: int = 16) -> NDArray[np.uint8]:
    return np.stack([np.full((side, side, 3), level, np.uint8) for level in levels])


@pytest.mark.parametrize(
    ("rgb", "hsv"),
    [
        ((255, 0, 0), (0, 255, 255)),
        ((0, 255, 0), (60, 255, 255)),
        ((0, 0, 255), (120, 255, 255)),
        ((255, 0, 255), (150, 255, 255)),
        ((255, 0, 8), (179, 255, 255)),
        ((128, 128, 128), (0, 0, 128)),
        ((0, 0, 0), (0, 0, 0)),
        ((200, 50, 50), (0, 191, 200)),
    ],
)
def test_colours_by_hand(rgb: tuple[int, ...], hsv: tuple[int, ...]) -> None:
    assert hue_saturation_value(np.array([[rgb]], np.uint8))[0, 0].tolist() == list(hsv)


def test_colours_are_those_of_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    levels = np.arange(0, 256, 3, dtype=np.uint8)
    every = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    np.testing.assert_array_equal(hue_saturation_value(every), cv2.cvtColor(every[..., ::-1].copy(), cv2.COLOR_BGR2HSV))


def test_the_change_is_the_mean_over_three_channels() -> None:
    assert content_changes(plain(10, 40, 40)) == [10, 0]  # grey: only value changes, by 30


@pytest.mark.parametrize(("step", "found"), [(89, ((0, 40),)), (90, ((0, 20), (20, 40)))])
def test_a_change_of_30_is_a_cut(step: int, found: tuple[tuple[int, int], ...]) -> None:
    assert scenes(plain(*[0] * 20, *[step] * 20)) == found


def test_cuts_are_15_frames_apart() -> None:
    def cut_at(*cuts: int) -> tuple[tuple[int, int], ...]:
        return scenes(plain(*(200 * (sum(t >= cut for cut in cuts) % 2) for t in range(60))))

    assert cut_at(20, 34) == ((0, 20), (20, 60))
    assert cut_at(20, 35) == ((0, 20), (20, 35), (35, 60))
    assert cut_at(1) == ((0, 1), (1, 60))  # the first cut may be anywhere


def test_wide_videos_are_looked_at_in_every_second_pixel() -> None:
    frames = np.zeros((2, 4, 400, 3), np.uint8)
    frames[1, :, 1::2] = 255
    assert content_changes(frames) == [0]
    assert content_changes(frames[:, :, :398]) == [pytest.approx(255 / 2 / 3)]


def test_a_single_frame_is_a_scene() -> None:
    assert scenes(plain(7)) == ((0, 1),)
