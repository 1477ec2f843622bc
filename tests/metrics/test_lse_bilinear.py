"""The resize against OpenCV: stored results everywhere, random sizes where OpenCV is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.media.bilinear import resize_linear

STORED = np.load(Path(__file__).parents[1] / "data" / "syncnet_resize.npz")


@pytest.mark.parametrize("case", range(4))
def test_equals_stored_results_of_opencv(case: int):
    expected = STORED[f"to{case}"]
    np.testing.assert_array_equal(resize_linear(STORED[f"from{case}"], *expected.shape[:2]), expected)


def test_equals_opencv_on_random_sizes():
    cv2 = pytest.importorskip("cv2")
    random = np.random.default_rng(0)
    for _ in range(40):
        height, width, to_height, to_width = (int(side) for side in random.integers(4, 300, 4))
        picture = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        np.testing.assert_array_equal(
            resize_linear(picture, to_height, to_width), cv2.resize(picture, (to_width, to_height))
        )


def test_the_same_size_is_left_alone():
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert resize_linear(picture, 4, 4) is picture
