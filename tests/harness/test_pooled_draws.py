"""Two sides of several trainings and seeds, compared: which rows pair, and what the test rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from right_plugins import Distance
from scipy import stats as scipy_stats

from syncdiff_bench import plugins
from syncdiff_bench.contracts import Column
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.comparison import comparison_table
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.draws import Draw
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.significance.comparison import ColumnComparison, compare
from syncdiff_bench.significance.scored import MetricScores, Scored, pooled, require_alike

CLIPS = tuple(f"s{i // 2}/{i % 2}" for i in range(16))
IDENTITY = Identity("mine", {}, (), "pocket", "test", "f" * 64, CLIPS, {}, 0, "lossless")
KEY = ("level", "default")


class Level(Distance):
    name = "level"
    columns = (Column("c", "C", "up"),)


@pytest.fixture(autouse=True)
def level_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "load_metric", lambda *_args, **_options: Level())


def scored(level: float) -> Scored:
    """Every clip at that level."""
    stats = {clip: {"total": level, "n": 1} for clip in CLIPS}
    metrics = {KEY: MetricScores({}, (), stats, {})}
    return Scored("runs/mine", IDENTITY, metrics, {clip: clip.partition("/")[0] for clip in CLIPS})


def side(levels: Mapping[int | None, Sequence[float]]) -> Scored:
    """Training -> level at each seed."""
    return pooled({Draw(one, seed): scored(at) for one, all_ in levels.items() for seed, at in enumerate(all_)})


def column_of(a: Scored, b: Scored) -> ColumnComparison:
    (column,) = compare(a, b, resamples=100).columns
    return column


def test_the_same_training_seeds_pair_and_sampling_seeds_are_averaged() -> None:
    """Differences of 1, 2 and 6, each the mean over two seeds; that trainings differ by hundreds cancels."""
    a = side({0: (100, 100), 1: (300, 302), 2: (700, 698)})
    b = side({0: (100.5, 101.5), 1: (301, 305), 2: (705, 705)})
    column = column_of(a, b)
    theirs = scipy_stats.ttest_1samp([1.0, 2.0, 6.0], 0.0)
    assert (column.delta, column.n, column.clusters) == (pytest.approx(3.0), 16 * 6, 8)
    assert column.trainings == (3, 3)
    assert column.p == pytest.approx(theirs.pvalue)
    assert column.ci == pytest.approx(tuple(theirs.confidence_interval()))
    assert column.changes[0].clip.startswith("s0/0 training 0 seed 0")
    (note,) = [note.text for note in comparison_table(compare(a, b, resamples=100)).notes if "resampled" in note.text]
    assert "whole trainings (3) and whole speakers (8) are resampled. p: Student's t" in note


def test_other_training_seeds_are_welchs_test() -> None:
    a, b = side({0: (1,), 1: (2,), 2: (6,)}), side({7: (3,), 8: (9,), 9: (8,), 10: (7,)})
    column = column_of(a, b)
    theirs = scipy_stats.ttest_ind([3.0, 9.0, 8.0, 7.0], [1.0, 2.0, 6.0], equal_var=False)
    assert (column.trainings, column.n) == ((3, 4), 16)
    assert column.p == pytest.approx(theirs.pvalue)
    assert column.ci == pytest.approx(tuple(theirs.confidence_interval()))
    assert (column.changes[0].clip, column.changes[0].a, column.changes[0].b) == ("s0/0 seed 0", 3.0, 6.75)


def test_ground_truth_is_compared_with_every_training() -> None:
    column = column_of(side({None: (0,)}), side({0: (1, 5), 1: (2, 5), 2: (6, 5)}))
    assert (column.delta, column.trainings, column.n) == (pytest.approx(3.0), (1, 3), 16)  # its one seed
    assert column.p == pytest.approx(scipy_stats.ttest_1samp([1.0, 2.0, 6.0], 0.0).pvalue)


@pytest.mark.parametrize(
    ("a", "b", "trainings"),
    [
        ({0: (1,)}, {0: (2,)}, (1, 1)),
        ({None: (1,)}, {None: (2,)}, (1, 1)),
        ({0: (1,), 1: (2,), 2: (3,)}, {0: (2,)}, (1, 1)),  # the training that both have
        ({0: (1,), 1: (2,)}, {1: (3,), 2: (2,)}, (2, 2)),  # one alone in common says nothing of luck
        ({0: (1,), 1: (2,), 2: (3,)}, {0: (2,), 1: (2.5,)}, (2, 2)),
    ],
)
def test_what_pairs_where_trainings_are_missing(a: Any, b: Any, trainings: tuple[int, int]) -> None:
    column = column_of(side(a), side(b))
    assert column.trainings == trainings
    if trainings == (1, 1):
        assert column.p == 2 / 2**8  # eight speakers, all better: the permutation of one training


def test_few_speakers_decide_with_several_trainings_alone() -> None:
    def few(levels: Mapping[int | None, Sequence[float]]) -> Scored:
        one = side(levels)
        return replace(one, speakers={row: f"t{int(row[1]) % 3}" for row in one.speakers})

    lone = column_of(few({0: (1,)}), few({0: (2,)}))
    several = column_of(few({0: (1,), 1: (2,)}), few({0: (2,), 1: (3.1,)}))
    assert (lone.verdict, lone.p, lone.could_see()) == ("too few speakers", None, None)
    assert several.p is not None and several.could_see() is not None


def run(training: int | None, seed: int, weights: str = "", **options: Any) -> tuple[Draw, Run]:
    identity = replace(IDENTITY, seed=seed, options={"model": f"m{weights}", **options})
    return Draw(training, seed), Run(Path(f"job/{training}-{seed}"), {"protocols": []}, identity, (), {})


def test_trainings_may_differ_in_their_model_and_in_nothing_else() -> None:
    require_alike(dict([run(0, 0, "a"), run(0, 1, "a"), run(1, 0, "b")]))
    with pytest.raises(UsageError, match=r"job/0-1 is another run than job/0-0 \(option model ma -> mb\)"):
        require_alike(dict([run(0, 0, "a"), run(0, 1, "b")]))
    with pytest.raises(UsageError, match=r"job/1-0 is another run than job/0-0 \(option steps 4 -> 5\)"):
        require_alike(dict([run(0, 0, "a", steps=4), run(1, 0, "b", steps=5)]))


def test_a_draw_is_read_from_its_folder() -> None:
    for draw in (Draw(None, 3), Draw(2, 0)):
        assert Draw.of(Path("out/job") / draw.folder) == draw
    assert Draw.of(Path("out/seed-x")) is None
    assert np.all([str(Draw(1, 0)) == "training 1 seed 0", str(Draw(None, 0)) == "seed 0"])
