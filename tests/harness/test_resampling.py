"""Resampling of clusters: against scipy, Student's interval and Holm's worked example."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats as scipy_stats

from syncdiff_bench.statistics.resampling import difference_intervals, holm, permutation_p_values


def mean_difference(a: Sequence[object], b: Sequence[object]) -> np.ndarray:
    return np.array([np.mean(b) - np.mean(a)])  # type: ignore[arg-type]


def test_the_exact_permutation_p_is_scipys() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1, 9), rng.normal(0.8, 1, 9)
    clusters = [([x], [y]) for x, y in zip(a, b, strict=True)]
    (p,) = permutation_p_values(clusters, mean_difference)
    theirs = scipy_stats.permutation_test(
        (a, b), lambda x, y: np.mean(y) - np.mean(x), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert p == pytest.approx(theirs)


@pytest.mark.parametrize("speakers", [2, 3, 10])
def test_the_interval_of_a_mean_is_students_however_few_the_clusters(speakers: int) -> None:
    deltas = np.random.default_rng(5).normal(1, 2, speakers)
    clusters = [([0.0], [delta]) for delta in deltas]
    (interval,) = difference_intervals(clusters, mean_difference, confidence=0.99, resamples=4000)
    t = scipy_stats.t.interval(0.99, speakers - 1, loc=deltas.mean(), scale=scipy_stats.sem(deltas))
    assert interval == pytest.approx(t, abs=0.03 * (t[1] - t[0]))


@pytest.mark.slow
@pytest.mark.parametrize("speakers", [2, 4, 12])
def test_ten_independent_columns_raise_few_false_alarms_however_few_the_speakers(speakers: int) -> None:
    """400 simulated comparisons in which nothing differs, one side of the gate's level."""
    rng, alarms = np.random.default_rng(speakers), 0
    for _ in range(400):
        sides = rng.normal(0, 1, (2, speakers, 10))
        clusters = [([sides[0, i]], [sides[1, i]]) for i in range(speakers)]

        def difference(a: Sequence[object], b: Sequence[object]) -> np.ndarray:
            change: np.ndarray = np.mean(np.array(b), axis=0) - np.mean(np.array(a), axis=0)
            return change

        intervals = difference_intervals(clusters, difference, confidence=1 - 0.05 / 10, resamples=200)
        alarms += any(one is not None and one[0] > 0 for one in intervals)
    assert alarms <= 0.05 * 400


def test_no_interval_of_one_cluster() -> None:
    assert difference_intervals([([1.0], [2.0])], mean_difference) == [None]


def test_holm_against_the_worked_example() -> None:
    # Sorted p times (m, m - 1, ...), made monotone: .01 x 4, .02 x 3, .03 x 2 -> .06, .04 x 1 -> .06
    assert holm([0.04, 0.01, None, 0.03, 0.02]) == pytest.approx([0.06, 0.04, None, 0.06, 0.06])
