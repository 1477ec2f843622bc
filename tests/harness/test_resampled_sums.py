"""Intervals and tests of metrics that add up: as drawn clip by clip in plain loops, and as scipy has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from syncdiff_bench.contracts import AdditiveMetric, Column, Metric, Pair
from syncdiff_bench.plugins import load_metric
from syncdiff_bench.runs.summary import ClipStatistics, bootstrap, column_values
from syncdiff_bench.statistics.resampling import permutation_p_values
from syncdiff_bench.statistics.trainings import difference_tests, value_intervals

Array = NDArray[np.float64]
SPEAKERS = [f"s{number % 13}" for number in range(60)]


@dataclass(frozen=True)
class Errors:
    errors: float
    words: float


class Rate(AdditiveMetric[Errors]):
    """Errors per word, and the mean of the errors of clips."""

    name = "rate"
    columns = (Column("rate", "Rate", "down"), Column("mean", "Mean", "down"))
    Stats = Errors

    def measure(self, pair: Pair) -> Errors:
        raise NotImplementedError

    def summands(self, stats: Errors) -> tuple[float, ...]:
        return stats.errors, stats.words, 1

    def of_sums(self, *sums: Array) -> Mapping[str, Array]:
        errors, words, clips = sums
        return {"rate": errors / words, "mean": errors / clips}


class ByClips(Metric[Errors]):
    """The same in lists of clips."""

    name = "by-clips"
    columns = Rate.columns
    Stats = Errors

    def measure(self, pair: Pair) -> Errors:
        raise NotImplementedError

    def aggregate(self, stats: Sequence[Errors]) -> Mapping[str, float | None]:
        errors, words = sum(one.errors for one in stats), sum(one.words for one in stats)
        return {"rate": errors / words if words else None, "mean": errors / len(stats) if stats else None}


class Doubled(Rate):
    """Says for itself what a column is."""

    def aggregate(self, stats: Sequence[Errors]) -> Mapping[str, float | None]:
        return {name: None if value is None else 2 * value for name, value in super().aggregate(stats).items()}


def clips(seed: int, n: int = 60, *, silent: int = 0) -> list[Errors]:
    """silent: clips without a word."""
    rng = np.random.default_rng(seed)
    words = rng.integers(1, 12, n) * (np.arange(n) >= silent)
    return [Errors(float(rng.poisson(0.3 * one)), float(one)) for one in words]


def drawn_speakers(values: Mapping[str, list[Errors]], draws: int) -> Array:
    """(draws, 2) rate and mean of whole speakers, drawn one by one."""
    names, rng = list(values), np.random.default_rng(0)
    found = []
    for _ in range(draws):
        chosen = [one for index in rng.integers(len(names), size=len(names)) for one in values[names[index]]]
        errors = sum(one.errors for one in chosen)
        found.append((errors / sum(one.words for one in chosen), errors / len(chosen)))
    return np.array(found)


def of_speakers(stats: Sequence[Errors]) -> dict[str, list[Errors]]:
    found: dict[str, list[Errors]] = {}
    for one, speaker in zip(stats, SPEAKERS, strict=True):
        found.setdefault(speaker, []).append(one)
    return found


def test_the_interval_is_that_of_speakers_drawn_clip_by_clip() -> None:
    stats = clips(1)
    intervals = bootstrap(Rate(), stats, SPEAKERS, resamples=400)
    centres = sum(one.errors for one in stats) / np.array([sum(one.words for one in stats), len(stats)])
    half = scipy_stats.t.ppf(0.975, 12) * drawn_speakers(of_speakers(stats), 400).std(axis=0) * np.sqrt(13 / 12)
    for interval, centre, width in zip(intervals, centres, half, strict=True):
        assert interval == pytest.approx((centre - width, centre + width), rel=1e-9)


def test_the_standard_error_is_scipys_within_monte_carlo_error() -> None:
    stats = clips(2)
    sums = np.array(
        [[sum(x) for x in zip(*((s.errors, s.words) for s in one), strict=True)] for one in of_speakers(stats).values()]
    )
    theirs = scipy_stats.bootstrap(
        tuple(sums.T), lambda e, w, axis: e.sum(axis) / w.sum(axis), paired=True, vectorized=True, n_resamples=9999
    ).standard_error
    (interval, _) = bootstrap(Rate(), stats, SPEAKERS, resamples=9999)
    assert interval is not None
    ours = (interval[1] - interval[0]) / 2 / scipy_stats.t.ppf(0.975, 12) / np.sqrt(13 / 12)
    assert ours == pytest.approx(theirs, rel=0.03)


@pytest.mark.parametrize("trainings", [1, 3])
@pytest.mark.parametrize("paired", [True, False])
def test_sums_give_the_intervals_and_p_of_lists(trainings: int, paired: bool) -> None:
    of_trainings = [number for number in range(trainings) for _ in SPEAKERS]
    sides = [[one for number in range(trainings) for one in clips(side + 10 * number, silent=3)] for side in (1, 2)]
    found = []
    for metric in (Rate(), ByClips()):
        (a, value), (b, _) = (
            ClipStatistics(metric, side).resampled(SPEAKERS * trainings, of_trainings) for side in sides
        )
        assert isinstance(a, np.ndarray) == isinstance(metric, AdditiveMetric)
        tests = difference_tests(a, b, lambda x, y, value=value: value(y) - value(x), paired=paired, resamples=300)
        intervals = value_intervals(column_values(metric, sides[0]), a, value, resamples=300)
        found.append([(*one.ci, one.p, one.error.se, *row) for one, row in zip(tests, intervals, strict=True)])  # type: ignore[misc, union-attr]
    assert np.array(found[0]) == pytest.approx(np.array(found[1]), rel=1e-9)


def test_the_exact_p_is_scipys() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1, 9), rng.normal(0.8, 1, 9)

    def difference(x: Array, y: Array) -> Array:
        return np.asarray((y - x) / 9)

    (p,) = permutation_p_values(a[None], b[None], difference)
    theirs = scipy_stats.permutation_test(
        (a, b), lambda x, y: np.mean(y) - np.mean(x), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert p == pytest.approx(theirs)


def test_a_drawn_p_counts_exchanges_as_a_plain_loop_does() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(0, 1, 40), rng.normal(0.35, 1, 40)
    (p,) = permutation_p_values(a[None], b[None], lambda x, y: (y - x) / 40, resamples=500)
    exchanges, hits = np.random.default_rng(0), 0
    for _ in range(500):
        signs = [-1 if exchange < 0.5 else 1 for exchange in exchanges.random(40)]
        hits += abs(sum(s * (y - x) for s, x, y in zip(signs, a, b, strict=True))) >= abs((b - a).sum()) * (1 - 1e-9)
    assert p == (1 + hits) / 501


def test_sides_that_are_equal_do_not_differ() -> None:
    """However the sums round: no exchange changes anything."""
    stats = [replace(one, errors=one.errors + 0.1) for one in clips(5)]
    (grid, value), (same, _) = (ClipStatistics(Rate(), stats).resampled(SPEAKERS, [0] * 60) for _ in range(2))
    tests = difference_tests(grid, same, lambda x, y: value(y) - value(x), resamples=200)
    assert [(one.ci, one.p) for one in tests] == [((0.0, 0.0), 1.0)] * 2


def test_what_is_undefined_stays_so() -> None:
    silent = [Errors(2.0, 0.0)] * 3
    assert Rate().aggregate(silent) == {"rate": None, "mean": 2.0}
    assert Rate().aggregate([]) == {"rate": None, "mean": None}
    assert np.array_equal(
        ClipStatistics(Rate(), [silent[0], Errors(1.0, 4.0)]).each(), [[np.nan, 2.0], [0.25, 1.0]], equal_nan=True
    )
    # One speaker of two never says a word: more than one in twenty resamples have no rate.
    rate, mean = bootstrap(Rate(), [Errors(1.0, 4.0), *silent], ["a", "b", "b", "b"], resamples=200)
    assert rate is None and mean is not None


def test_a_subclass_with_an_aggregate_of_its_own_is_believed() -> None:
    stats = clips(6)
    plain, doubled = (bootstrap(metric, stats, SPEAKERS, resamples=100) for metric in (Rate(), Doubled()))
    assert np.array(doubled) == pytest.approx(2 * np.array(plain))
    assert ClipStatistics(Doubled(), stats).each() == pytest.approx(
        2 * ClipStatistics(Rate(), stats).each(), nan_ok=True
    )


SHIPPED: dict[str, list[dict[str, Any]]] = {
    "psnr": [{"total_db": 90.5, "frames": 3, "identical": 1}, {"total_db": 0.0, "frames": 0, "identical": 4}],
    "psnr[talklip]": [
        {"total_db": 90.5, "frames": 3, "identical": 1},
        {"total_db": 400.0, "frames": 4, "identical": 4},
    ],
    "ssim": [{"total": 2.5, "frames": 3}, {"total": 0.7, "frames": 1}],
    "lse": [
        {"lse_c": c, "lse_d": d, "offset": 0, "windows": 9, "shift_means": [1.0]} for c, d in ((6.5, 7.0), (2.0, 9.0))
    ],
    "wer": [
        {"errors": 3, "words": 7, "hypothesis": "", "reference": ""},
        {"errors": 1, "words": 0, "hypothesis": "", "reference": ""},
    ],
    "avs": [{"unimodal": 2.0, "frames": 4}, {"unimodal": 0.0, "frames": 0, "visual": 3.0, "paired_frames": 4}],
    "lmd": [
        {"mouth": 3.0, "face": 5.0, "frames": 4, "faceless": 0},
        {"mouth": 0.0, "face": 0.0, "frames": 0, "faceless": 9},
    ],
}
# By hand, of the first clip, the second, and both.
BY_HAND = {
    "psnr": [[90.5 / 3], [None], [90.5 / 3]],
    "psnr[talklip]": [[90.5 / 3], [None], [490.5 / 7]],
    "ssim": [[2.5 / 3], [0.7], [3.2 / 4]],
    "lse": [[6.5, 7.0], [2.0, 9.0], [4.25, 8.0]],
    "wer": [[300 / 7], [None], [400 / 7]],
    "avs": [[0.5, None, None], [None, None, 0.75], [0.5, None, 0.75]],
    "lmd": [[0.75, 1.25], [None, None], [0.75, 1.25]],
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_metrics_have_the_values_that_hands_compute(name: str) -> None:
    base, _, protocol = name.removesuffix("]").partition("[")
    metric = load_metric(base, {"protocol": protocol} if protocol else {})
    stats = [metric.stats_from_json(one) for one in SHIPPED[name]]
    wanted = np.array(BY_HAND[name], dtype=float)
    assert isinstance(metric, AdditiveMetric)
    assert ClipStatistics(metric, stats).each() == pytest.approx(wanted[:2], nan_ok=True)
    assert ClipStatistics(metric, stats).together() == pytest.approx(wanted[2], nan_ok=True)
    assert column_values(metric, stats) == pytest.approx(wanted[2], nan_ok=True)
