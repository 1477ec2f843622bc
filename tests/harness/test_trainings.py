"""Intervals and tests over K trainings and N speakers: closed forms, scipy, and simulated data of known parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from syncdiff_bench.statistics.resampling import permutation_p_values
from syncdiff_bench.statistics.student import StandardError, combined, smallest_effect, t_interval, t_p_value
from syncdiff_bench.statistics.trainings import difference_tests, grid_of, value_intervals

Array = NDArray[np.float64]
Cells = list[list[list[object]]]


def mean(drawn: Sequence[object]) -> Array:
    return np.array([np.mean(np.asarray(drawn, float))])


def mean_difference(a: Sequence[object], b: Sequence[object]) -> Array:
    change: Array = mean(b) - mean(a)
    return change


def grid(values: Array) -> Cells:
    """(K, N) -> one value per training and speaker."""
    return [[[value] for value in row] for row in values.tolist()]


def additive(rng: np.random.Generator, trainings: int, speakers: int, luck: float, noise: float = 0.3) -> Array:
    """value = training + speaker + noise."""
    of_trainings, of_speakers = rng.normal(0, luck, (trainings, 1)), rng.normal(0, 0.6, (1, speakers))
    values: Array = of_trainings + of_speakers + rng.normal(0, noise, (trainings, speakers))
    return values


def crossed_error(values: Array) -> StandardError:
    """In closed form, of the mean of (K, N)."""
    parts = (scipy_stats.sem(values.mean(axis)) for axis in (1, 0))
    sizes = (one - 1 for one in values.shape)
    return combined([StandardError(se, df) for se, df in zip(parts, sizes, strict=True)])


# --------------------------------------------------------------------------------------------- Student's t


def test_degrees_of_freedom_are_welchs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 5), rng.normal(0.5, 4, 12)
    theirs = scipy_stats.ttest_ind(a, b, equal_var=False)
    error = combined([StandardError(scipy_stats.sem(one), len(one) - 1) for one in (a, b)])
    assert error.df == pytest.approx(theirs.df)
    assert t_p_value(float(a.mean() - b.mean()), error) == pytest.approx(theirs.pvalue)
    interval = theirs.confidence_interval(0.9)
    assert t_interval(float(a.mean() - b.mean()), error, 0.9) == pytest.approx((interval.low, interval.high))


def test_without_an_error_any_difference_counts() -> None:
    nothing = combined([StandardError(0.0, 2), StandardError(0.0, 11)])
    assert nothing == StandardError(0.0, 13)
    assert (t_p_value(0.1, nothing), t_p_value(0.0, nothing)) == (0.0, 1.0)


def test_the_smallest_effect_is_cohens() -> None:
    """Power of the paired t test, two-sided at 5 %: 34 pairs see an effect of .5 in 80.77784 % (G*Power)."""
    pairs = StandardError(1 / np.sqrt(34), 33)
    assert smallest_effect(pairs, power=0.8077784) == pytest.approx(0.5, abs=1e-4)
    assert smallest_effect(StandardError(3.0, 33)) == pytest.approx(3 * smallest_effect(StandardError(1.0, 33)))


@pytest.mark.parametrize("df", [1, 2, 3.7, 47])
@pytest.mark.parametrize("level", [0.05, 0.05 / 3])
def test_the_smallest_effect_has_its_power_by_the_noncentral_t(df: float, level: float) -> None:
    effect = smallest_effect(StandardError(0.2, df), power=0.8, level=level)
    critical = scipy_stats.t.ppf(1 - level / 2, df)
    assert scipy_stats.nct.sf(critical, df, effect / 0.2) == pytest.approx(0.8, abs=1e-4)


# --------------------------------------------------------------------------------------------- crossed


@pytest.mark.parametrize("trainings", [2, 3, 5, 8])
def test_the_interval_of_a_mean_adds_trainings_and_speakers(trainings: int) -> None:
    values = additive(np.random.default_rng(1), trainings, 12, luck=0.4)
    (interval,) = value_intervals(mean(values), grid(values), mean, resamples=3000)
    theirs = t_interval(values.mean(), crossed_error(values))
    assert interval == pytest.approx(theirs, abs=0.03 * (theirs[1] - theirs[0]))


def test_trainings_alone_are_gone_through_one_and_all() -> None:
    """Speakers that do not differ add nothing: the interval is Student's over the trainings, to rounding."""
    values = np.repeat(np.array([[1.0], [2.0], [6.0]]), 4, axis=1)
    (interval,) = value_intervals(mean(values), grid(values), mean, resamples=100)
    students = scipy_stats.t.interval(0.95, 2, loc=3.0, scale=scipy_stats.sem([1.0, 2.0, 6.0]))
    assert interval == pytest.approx(students)


def test_one_training_is_the_bootstrap_and_the_permutation_of_speakers() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, (1, 9)), rng.normal(0.8, 1, (1, 9))
    (test,) = difference_tests(grid(a), grid(b), mean_difference, resamples=500)
    (p,) = permutation_p_values(grid(a)[0], grid(b)[0], mean_difference)
    drawn = np.random.default_rng(0)
    changes = (b - a)[0]
    resampled = [changes[drawn.integers(9, size=9)].mean() for _ in range(500)]
    half = scipy_stats.t.ppf(0.975, 8) * np.sqrt(9 / 8) * np.std(resampled)
    assert test.p == p
    assert test.ci == pytest.approx((changes.mean() - half, changes.mean() + half))


def test_paired_trainings_share_their_luck_and_others_do_not() -> None:
    rng = np.random.default_rng(3)
    a = additive(rng, 4, 12, luck=2.0)
    b = a + 0.3 + rng.normal(0, 0.1, a.shape)
    (paired,) = difference_tests(grid(a), grid(b), mean_difference, resamples=2000)
    (apart,) = difference_tests(grid(a), grid(b[::-1]), mean_difference, paired=False, resamples=2000)
    assert paired.error is not None and apart.error is not None
    theirs = crossed_error(b - a)
    assert (paired.error.se, paired.error.df) == pytest.approx((theirs.se, theirs.df), rel=0.05)
    assert paired.p == pytest.approx(t_p_value(float((b - a).mean()), theirs), rel=0.3)
    sems = [StandardError(scipy_stats.sem(side.mean(axis=1)), 3) for side in (a, b)]
    theirs = combined([*sems, StandardError(scipy_stats.sem((b - a).mean(axis=0)), 11)])
    assert (apart.error.se, apart.error.df) == pytest.approx((theirs.se, theirs.df), rel=0.01)


def test_a_side_of_one_training_adds_nothing() -> None:
    """Ground truth against four trainings."""
    values = additive(np.random.default_rng(4), 4, 12, luck=0.5)
    truth = np.zeros((1, 12))
    (test,) = difference_tests(grid(truth), grid(values), mean_difference, paired=False, resamples=2000)
    theirs = crossed_error(values)
    assert test.error is not None
    assert (test.error.se, test.error.df) == pytest.approx((theirs.se, theirs.df), rel=0.05)


def test_a_speaker_that_failed_in_one_training_leaves_the_others() -> None:
    cells = grid_of([1.0, 2.0, 3.0, 4.0, 5.0], "abcab", [0, 0, 0, 1, 1])
    assert cells == [[[1.0], [2.0], [3.0]], [[4.0], [5.0], []]]
    (interval,) = value_intervals(np.array([3.0]), cells, mean, resamples=200)
    assert interval is not None and interval[0] < 3 < interval[1]


def test_what_resamples_leave_undefined_has_no_error() -> None:
    """A column that needs the second of three trainings: 8 of 27 draws of trainings are without it."""

    def value(drawn: Sequence[object]) -> Array:
        numbers = np.asarray(drawn, float)
        return np.array([numbers.mean(), numbers.mean() if (numbers == 2).any() else np.nan])

    values = np.repeat(np.array([[1.0], [2.0], [3.0]]), 4, axis=1)
    defined, undefined = value_intervals(np.array([2.0, 2.0]), grid(values), value, resamples=100)
    assert defined is not None and undefined is None
    assert value_intervals(np.array([2.0]), grid(values[:, :1]), mean) == [None]  # one speaker


# --------------------------------------------------------------------------------------------- simulated


@pytest.mark.slow
@pytest.mark.parametrize(("trainings", "speakers"), [(3, 12), (5, 12), (3, 48), (5, 48)])
def test_coverage_false_alarms_and_power_over_simulated_trainings(trainings: int, speakers: int) -> None:
    """300 data sets each: 95 % intervals hold the truth in 93 to 97 %, give or take the error of 300 draws (1.3 %); at
    most 7 % of tests of nothing are alarms; the smallest effect of the true error is seen in about 80 %.
    """
    rng, luck, noise, sets = np.random.default_rng(trainings * speakers), 0.2, 0.2, 300
    held = alarms = seen = 0
    # Of a difference of two rows: two trainings' luck, and noise in all four corners; speakers are common to both.
    variance = 2 * luck**2 / trainings + 2 * noise**2 / (trainings * speakers)
    effect = smallest_effect(StandardError(np.sqrt(variance), trainings - 1))
    for _ in range(sets):
        values = additive(rng, trainings, speakers, luck, noise)
        (interval,) = value_intervals(mean(values), grid(values), mean, resamples=100)
        held += interval is not None and interval[0] < 0 < interval[1]
        same = rng.normal(0, 0.6, (1, speakers))
        a, b = (same + rng.normal(0, luck, (trainings, 1)) + rng.normal(0, noise, values.shape) for _ in range(2))
        (null,) = difference_tests(grid(a), grid(b), mean_difference, resamples=100)
        (real,) = difference_tests(grid(a), grid(b + effect), mean_difference, resamples=100)
        alarms += null.p is not None and null.p < 0.05
        seen += real.p is not None and real.p < 0.05 and float((b + effect - a).mean()) > 0
    assert 0.92 <= held / sets <= 0.98, held
    assert alarms / sets <= 0.08, alarms
    assert 0.75 <= seen / sets <= 0.92, seen
