"""Frame choice: ffmpeg's constant-rate rule on cases worked out by hand, nearest frames by brute force."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from syncdiff_bench.media.retiming import constant_rate_indices, nearest_indices, rate_label


def test_a_clip_of_constant_rate_passes_untouched() -> None:
    assert constant_rate_indices([(t, 1) for t in range(75)]) == list(range(75))


def test_jitter_below_a_frame_neither_drops_nor_repeats() -> None:
    jitter = np.random.default_rng(0).uniform(-0.05, 0.05, 100)
    timed = [(max(0.0, t + jitter[t]), 1.0) for t in range(100)]
    assert constant_rate_indices(timed) == list(range(100))


@pytest.mark.parametrize(
    ("timed", "shown"),
    [
        ([(0, 1), (1, 2), (3, 1)], [0, 1, 1, 2]),  # a long frame is held
        ([(0, 1), (1, 1), (3, 1)], [0, 1, 2, 2]),  # an unannounced gap of one is filled with the next frame
        ([(0, 1), (1, 1), (5, 1)], [0, 1, 1, 1, 2, 2]),  # a longer one with the frame before it, too
        ([(6, 1), (7, 1)], [0] * 7 + [1]),  # a late start repeats the first frame
        (
            [(0, 1), (0.2, 0.2), (0.4, 0.2), (0.6, 0.2), (0.8, 0.2), (1, 1)],
            [0, 1, 4, 5],
        ),  # crowded ones are dropped
    ],
)
def test_cases_worked_out_by_hand_from_ffmpegs_rule(timed: list[tuple[float, float]], shown: list[int]) -> None:
    assert constant_rate_indices(timed) == shown


def test_half_rate_frames_that_say_a_short_duration_are_each_shown_twice() -> None:
    # Two output frames apart, one long: ffmpeg fills each gap, and the last three gaps decide about the end.
    shown = constant_rate_indices([(2 * t, 1) for t in range(10)])
    assert len(shown) == 19
    assert shown == sorted(shown)
    assert set(shown) == set(range(10))


@pytest.mark.parametrize(
    ("n", "rate"),
    [
        (90, Fraction(30)),
        (72, Fraction(24000, 1001)),
        (150, Fraction(50)),
        (7, Fraction(15)),
        (1, Fraction(60)),
    ],
)
def test_nearest_frames_equal_an_exhaustive_search(n: int, rate: Fraction) -> None:
    target = Fraction(25)
    expected = []
    for k in range(max(1, round(n * target / rate))):
        # min() takes the first of equals, hence the earlier frame on a tie.
        expected.append(min(range(n), key=lambda source: abs(source / rate - k / target)))
    assert nearest_indices(n, rate, target).tolist() == expected


def test_rates_read_as_people_write_them() -> None:
    assert [rate_label(Fraction(25)), rate_label(Fraction(24000, 1001)), rate_label(29.97)] == [
        "25",
        "23.976",
        "29.97",
    ]
