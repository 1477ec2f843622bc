"""Intervals and tests of what K trainings of a row scored on N speakers: they hold the luck of training as well.

Trainings and speakers are crossed: every model is scored on every speaker. Each of the two is resampled while the
other is kept whole, as `grid[training][speaker]`, and their errors add up:

    se² = s_T² + s_S²,  s_T = sqrt(K / (K - 1)) * sd over resampled trainings, df K - 1
                        s_S = sqrt(N / (N - 1)) * sd over resampled speakers,  df N - 1

with the degrees of freedom of `student.combined`. For additive data, value = row + training + speaker + noise, the
noise counts in both: the interval is then a little too wide, never too narrow, as Owen's "pigeonhole bootstrap" is
(Owen 2007, Annals of Applied Statistics 1, section 4), which resamples both at once and has no degrees of freedom.
The degrees of freedom are themselves an estimate: of three trainings whose luck dominates, a 95 % interval holds the
truth in 92.5 % of cases, of five in 94.5 %, of two in 87 %. With one training there is no s_T, and all of this is
`resampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import factorial, prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.statistics.resampling import (
    RESAMPLES,
    Difference,
    Sums,
    bootstrap_error,
    cluster_draws,
    permutation_p_values,
    some_at_once,
    weighted_sums,
)
from syncdiff_bench.statistics.student import Interval, StandardError, combined, t_interval, t_p_value

T = TypeVar("T")
Indices = Sequence[int] | NDArray[np.int64]
ENUMERATED = 6  # trainings of which all resamples are gone through, 462 of six; of more they are drawn
Cells = list[list[list[T]]]  # training, speaker -> the statistics of its clips, none where all failed
Grid = Sequence[Sequence[Sequence[Any]]] | Sums  # cells, or the sums of each: (K, trainings, speakers)


@dataclass(frozen=True)
class DifferenceTest:
    """Of one column.

    ci: interval of the difference, None where it has no error.
    p: two-sided; None where the difference is undefined, or, of several trainings, where it has no error.
    error: standard error of the difference, None where resamples leave it undefined or there is one speaker.
    """

    ci: Interval | None
    p: float | None
    error: StandardError | None


def grid_of(stats: Iterable[T], speakers: Iterable[str], trainings: Iterable[Hashable]) -> Cells[T]:
    """grid[training][speaker], both in the order in which they come. speakers, trainings: of each of `stats`.

    >>> grid_of([1, 2, 3, 4], ["s", "t", "s", "s"], [0, 0, 1, 0])
    [[[1, 4], [2]], [[3], []]]
    """
    found: dict[Hashable, dict[str, list[T]]] = {}
    order: dict[str, None] = {}
    for one, speaker, training in zip(stats, speakers, trainings, strict=True):
        order[speaker] = None
        found.setdefault(training, {}).setdefault(speaker, []).append(one)
    return [[cells.get(speaker, []) for speaker in order] for cells in found.values()]


def grid_of_sums(summands: NDArray[np.float64], speakers: Iterable[str], trainings: Iterable[Hashable]) -> Sums:
    """(K, trainings, speakers): the same grid, of (clips, K) numbers that add up over the clips of a cell.

    >>> grid_of_sums(np.array([[1.0], [2.0], [3.0], [4.0]]), ["s", "t", "s", "s"], [0, 0, 1, 0]).tolist()
    [[[5.0, 2.0], [3.0, 0.0]]]
    """
    columns: dict[str, int] = {}
    rows: dict[Hashable, int] = {}
    column = np.array([columns.setdefault(one, len(columns)) for one in speakers])
    row = np.array([rows.setdefault(one, len(rows)) for one in trainings])
    size = len(rows), len(columns)
    cell = row * len(columns) + column
    sums = (np.bincount(cell, weights=one, minlength=size[0] * size[1]) for one in summands.T)
    return np.array([one.reshape(size) for one in sums])


def value_intervals(
    observed: np.ndarray,
    grid: Grid,
    value: Callable[[Any], np.ndarray],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> list[Interval | None]:
    """Interval of each column over the trainings and speakers of one row.

    value: a list of statistics that was drawn of the grid -> one number per column, NaN where it is undefined; of a
        grid of sums, sums (K, draws) -> (columns, draws). observed: the same of all statistics.
    None for a column that one in twenty resamples leaves undefined, and with fewer than two speakers.
    """
    errors = _errors((grid,), (0,), value, len(observed), resamples)
    return [
        None if error is None or not np.isfinite(one) else t_interval(float(one), error, confidence)
        for one, error in zip(observed, errors, strict=True)
    ]


def difference_tests(
    a: Grid,
    b: Grid,
    difference: Difference,
    *,
    paired: bool = True,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> list[DifferenceTest]:
    """B minus A, column by column; both grids have the same speakers.

    paired: training i of both sides is resampled together (the same seed: they share initialisation and batches), and
        s_T is that of the K differences. Else each side's trainings are resampled alone, s_T² is the sum of both, and a
        side of one training adds nothing.
    p is Student's t; K trainings exchanged whole give no p below 2 / 2^K. Where each side has one training, it is the
    permutation over speakers (`resampling.permutation_p_values`).
    """
    observed = difference(_whole(a), _whole(b))
    errors = _errors((a, b), (0, 0 if paired else 1), difference, len(observed), resamples)
    if max(len(_trainings(a)), len(_trainings(b))) > 1:
        p_values = [
            None if error is None or not np.isfinite(one) else t_p_value(float(one), error)
            for one, error in zip(observed, errors, strict=True)
        ]
    else:
        only_a, only_b = (side[:, 0] if isinstance(side, np.ndarray) else side[0] for side in (a, b))
        p_values = permutation_p_values(only_a, only_b, difference, resamples=resamples)
    found = []
    for one, error, p in zip(observed, errors, p_values, strict=True):
        known = error is not None and np.isfinite(one)
        ci = t_interval(float(one), error, confidence) if error is not None and known else None
        found.append(DifferenceTest(ci, p, error if known else None))
    return found


def _trainings(grid: Grid) -> range:
    return range(grid.shape[1] if isinstance(grid, np.ndarray) else len(grid))


def _speakers(grid: Grid) -> range:
    return range(grid.shape[2] if isinstance(grid, np.ndarray) else len(grid[0]))


def _whole(grid: Grid) -> Any:
    """All statistics of a grid, or their sums (K,)."""
    return grid.sum(axis=(1, 2)) if isinstance(grid, np.ndarray) else _chosen(grid, _trainings(grid), _speakers(grid))


def _chosen(grid: Any, trainings: Sequence[int], speakers: Sequence[int]) -> list[Any]:
    """The statistics of some cells."""
    return [one for speaker in speakers for training in trainings for one in grid[training][speaker]]


def _errors(
    grids: Sequence[Grid], axes: Sequence[int], value: Callable[..., np.ndarray], columns: int, resamples: int
) -> list[StandardError | None]:
    """Of each column, the errors of all axes together: one or two axes of trainings, then that of the speakers.

    axes: of each grid, the axis of its trainings. value: what was drawn of each grid -> columns.
    An axis of size 1 has no error of its own.
    """
    speakers = len(_speakers(grids[0]))
    if speakers < 2:
        return [None] * columns
    sizes = {axis: len(_trainings(grid)) for grid, axis in zip(grids, axes, strict=True)}
    resample = _resampled_sums if isinstance(grids[0], np.ndarray) else _resampled_lists
    parts = []
    for drawn, size in sizes.items():
        if size > 1:
            along = [TRAININGS if axis == drawn else WHOLE for axis in axes]
            values, weights = resample(grids, along, value, _draws(size, resamples))
            parts.append([bootstrap_error(one, size, weights) for one in values.T])
    values, weights = resample(grids, [SPEAKERS] * len(grids), value, cluster_draws(speakers, resamples))
    parts.append([bootstrap_error(one, speakers, weights) for one in values.T])
    found = []
    for each in zip(*parts, strict=True):
        known = [part for part in each if part is not None]
        found.append(combined(known) if len(known) == len(each) else None)
    return found


WHOLE, TRAININGS, SPEAKERS = range(3)  # along which axis of a grid is drawn
Draws = Iterable[tuple[Indices, float]]


def _resampled_lists(
    grids: Sequence[Any], along: Sequence[int], value: Callable[..., np.ndarray], draws: Draws
) -> tuple[np.ndarray, list[float]]:
    """(draws, columns) of grids of statistics, and how often each draw counts."""
    values, weights = [], []
    for indices, weight in draws:
        drawn = [int(index) for index in indices]
        sides = [
            _chosen(
                grid,
                drawn if axis == TRAININGS else _trainings(grid),
                drawn if axis == SPEAKERS else _speakers(grid),
            )
            for grid, axis in zip(grids, along, strict=True)
        ]
        values.append(value(*sides))
        weights.append(weight)
    return np.array(values), weights


def _resampled_sums(
    grids: Sequence[Any], along: Sequence[int], value: Callable[..., np.ndarray], draws: Draws
) -> tuple[np.ndarray, list[float]]:
    """The same of grids of sums: a cell that is drawn twice counts twice."""
    values, weights = [], []
    for some in some_at_once(draws):
        sides = []
        for grid, axis in zip(grids, along, strict=True):
            if axis == WHOLE:
                sides.append(grid.sum(axis=(1, 2))[:, np.newaxis])
                continue
            counts = [np.bincount(indices, minlength=grid.shape[axis]) for indices, _ in some]
            kept = grid.sum(axis=SPEAKERS if axis == TRAININGS else TRAININGS)
            sides.append(weighted_sums(kept, np.array(counts, float)))
        values.append(value(*sides).T)
        weights += [weight for _, weight in some]
    return np.concatenate(values), weights


def _draws(trainings: int, resamples: int) -> Iterator[tuple[Indices, float]]:
    """Trainings drawn with replacement, and how many draws of the k^k are alike."""
    if trainings > ENUMERATED:
        yield from cluster_draws(trainings, resamples)
        return
    for drawn in combinations_with_replacement(range(trainings), trainings):
        alike = factorial(trainings) // prod(factorial(drawn.count(one)) for one in set(drawn))
        yield drawn, float(alike)
