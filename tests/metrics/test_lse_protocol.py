"""The arithmetic of LSE against stored official numbers, closed forms and the official loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from syncdiff_metrics.lse import score, shift_means, window_count

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "syncnet_golden.npz")


def wave(shift: int) -> Tensor:
    i, j = np.arange(25)[:, None] + shift, np.arange(1024)[None]
    return torch.tensor(np.sin(0.9 * i + 0.013 * j * (1 + 0.1 * i)), dtype=torch.float32)


def test_synthetic_embeddings_score_as_the_official_code_scores_them():
    means = shift_means(wave(0), wave(2))
    np.testing.assert_allclose(means, GOLDEN["synthetic_mdist"], rtol=1e-6)
    found = score(means)
    assert found.offset == 2
    assert found.lse_c == pytest.approx(26.721554, rel=1e-6)
    assert found.lse_d == pytest.approx(1.812995, rel=1e-6)
    assert found.shift_means == tuple(means.tolist())


def test_official_shift_means_score_as_published():
    lse_c, lse_d, offset = GOLDEN["scores"]
    found = score(torch.tensor(GOLDEN["mdist"], dtype=torch.float32))
    assert (found.lse_c, found.lse_d, found.offset) == (lse_c, lse_d, offset)


def test_windows_beyond_the_sound_count_with_the_norm_of_their_lips():
    n, size = 4, 9
    lips, sound = torch.full((n, size), 2.0), torch.full((n, size), 2.0)
    means = shift_means(lips, sound)
    # k matching windows at distance |1e-6|, the others at |2 + 1e-6| * sqrt(9)
    expected = [6.0 * min(abs(shift), n) / n for shift in range(-15, 16)]
    np.testing.assert_allclose(means, expected, atol=1e-5)


def test_epsilon_is_added_to_the_difference():
    same = torch.rand(16, 1024)
    assert shift_means(same, same)[15] == pytest.approx(1e-6 * np.sqrt(1024), rel=1e-3)


def test_the_first_of_two_minima_gives_the_offset():
    means = torch.ones(31)
    means[[4, 20]] = 0.25
    found = score(means)
    assert (found.offset, found.lse_d, found.lse_c) == (11, 0.25, 0.75)


@pytest.mark.parametrize(
    ("frames", "samples", "windows"),
    [
        (75, 48_128, 70),
        (75, 16_384, 20),
        (41, 26_624, 36),
        (6, 48_128, 1),
        (5, 48_128, 0),
        (75, 2_048, -2),
        (75, 640 * 75 - 1, 69),
    ],
)
def test_window_count(frames: int, samples: int, windows: int):
    assert window_count(frames, samples) == windows
