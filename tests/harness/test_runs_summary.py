"""Aggregates, intervals, ranks, resampling and journals, against closed forms and an independent library."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from right_plugins import Distance, Sums
from scipy import stats as scipy_stats

from syncdiff_bench.contracts import Column
from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import locked, replacing, write_whole
from syncdiff_bench.journals import Journal, encode_row, read_rows
from syncdiff_bench.runs.layout import video_name
from syncdiff_bench.runs.records import Failure, Score
from syncdiff_bench.runs.summary import bootstrap, summarise
from syncdiff_bench.statistics.resampling import holm, permutation_p_values
from syncdiff_bench.statistics.trainings import difference_tests


class Mean(Distance):
    name = "mean"
    columns = (Column("m", "M", "up"),)


def row(clip: str, value: float | None, kind: str | None = None) -> Score:
    stats = None if value is None else {"total": value, "n": 1}
    values = None if value is None else {"m": value}
    error = None if kind is None else Failure(kind, f"because of {kind}")
    return Score("m", "d", clip, "mean", "default", values, stats, error)


def students(values: Sequence[float]) -> tuple[float, float]:
    return scipy_stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=scipy_stats.sem(values))  # type: ignore[no-any-return]


@pytest.mark.parametrize("speakers", [2, 4, 12, 60])
def test_the_interval_of_a_mean_is_students_where_every_clip_is_its_own_speaker(speakers: int) -> None:
    values = np.random.default_rng(1).normal(20, 4, speakers)
    ours = bootstrap(Mean(), [Sums(v) for v in values], [str(i) for i in range(speakers)], resamples=4000)[0]
    theirs = students(values)
    assert ours == pytest.approx(theirs, abs=0.03 * (theirs[1] - theirs[0]))


def test_the_interval_of_a_ratio_of_counts_is_the_delta_methods() -> None:
    """Word errors of 40 sentences of unequal length: sqrt(sum((errors - rate * words)^2)) / sum(words)."""
    rng = np.random.default_rng(4)
    words = rng.integers(2, 30, 40)
    errors = rng.binomial(words, 0.3)
    stats = [Sums(e, w) for e, w in zip(errors, words, strict=True)]
    interval = bootstrap(Mean(), stats, [str(i) for i in range(40)], resamples=4000)[0]
    rate = errors.sum() / words.sum()
    error = np.sqrt(((errors - rate * words) ** 2).sum() * 40 / 39) / words.sum()
    half = scipy_stats.t.ppf(0.975, 39) * error
    assert interval == pytest.approx((rate - half, rate + half), abs=0.05 * half)


def test_clustered_clips_widen_the_interval() -> None:
    # Ten speakers whose six clips agree: there are ten independent values, not sixty.
    values = np.repeat(np.random.default_rng(1).normal(20, 4, 10), 6)
    stats = [Sums(v) for v in values]
    by_clip = bootstrap(Mean(), stats, [str(i) for i in range(60)])[0]
    by_speaker = bootstrap(Mean(), stats, [str(i // 6) for i in range(60)])[0]
    assert by_clip is not None and by_speaker is not None
    ratio = (by_speaker[1] - by_speaker[0]) / (by_clip[1] - by_clip[0])
    assert ratio == pytest.approx(np.sqrt(6), rel=0.2)


def test_the_interval_is_reproducible_and_needs_two_speakers() -> None:
    stats = [Sums(v) for v in (1.0, 2.0, 4.0)]
    assert bootstrap(Mean(), stats, ["a", "b", "c"]) == bootstrap(Mean(), stats, ["a", "b", "c"])
    assert bootstrap(Mean(), stats, ["a", "a", "a"]) == [None]


def test_the_mean_is_that_of_all_statistics_and_failures_are_counted() -> None:
    rows = [row("a", 1.0), row("b", 5.0), row("c", None, "truncated"), row("d", None, "not-applicable")]
    (entry,) = summarise([rows], [Mean()], {}, {("mean", "default"): [{"name": "w", "sha256": "0" * 64}]})
    assert (entry.mean, entry.n, entry.failed, entry.reason) == (3.0, 2, 1, None)
    assert entry.weights == ({"name": "w", "sha256": "0" * 64},)
    assert entry.ci95 == pytest.approx(students([1, 5]), abs=1.5)  # half of it is 25.4; 1000 resamples, 2 % of noise


def test_clips_of_one_speaker_are_one_cluster_of_the_summary() -> None:
    rows = [row("a", 1.0), row("b", 5.0)]
    (apart,) = summarise([rows], [Mean()], {"a": "s", "b": "t"}, {})
    (together,) = summarise([rows], [Mean()], {"a": "s", "b": "s"}, {})
    assert apart.ci95 is not None and together.ci95 is None


def test_a_column_that_is_never_applicable_has_its_reason() -> None:
    (entry,) = summarise([[row("a", None, "not-applicable")]], [Mean()], {}, {})
    assert (entry.mean, entry.n, entry.failed) == (None, 0, 0)
    assert entry.reason == "because of not-applicable"


def test_a_torn_last_line_is_dropped_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2, "b"')
    assert list(read_rows(path)) == [{"a": 1}]
    journal = Journal(path)
    journal.append([{"a": 3}])
    assert path.read_bytes() == b'{"a": 1}\n{"a": 3}\n'


def test_nan_never_reaches_a_file() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        encode_row({"value": float("nan")})


def test_whole_files_leave_nothing_behind(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "1")
    write_whole(tmp_path / "a", "2")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    with pytest.raises(UsageError, match="cannot be written"):
        write_whole(tmp_path / "a" / "b", "1")


def test_a_file_that_is_not_finished_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyError), replacing(tmp_path / "new" / "a") as partial:
        partial.write_bytes(b"half")
        raise KeyError
    assert list((tmp_path / "new").iterdir()) == []


def test_a_lock_ends_with_its_process_and_is_shared_by_members_only(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    code = "import sys, time; from pathlib import Path; from syncdiff_bench.files import locked\n"
    code += "with locked(Path(sys.argv[1]), member=2): print('here', flush=True); time.sleep(60)"
    with locked(lock), locked(lock, member=1):
        other = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE)
        assert other.stdout is not None and other.stdout.readline() == b"here\n"
        with pytest.raises(UsageError, match="in use"), locked(lock, refusal="in use"):
            pass
    with pytest.raises(UsageError, match="in use"), locked(lock, refusal="in use"):
        pass
    other.kill()
    other.communicate()
    with locked(lock):
        assert [path.name for path in tmp_path.iterdir()] == ["x.lock"]


@pytest.mark.parametrize("wrong", ["../x", "/x", "a/../../x", "", "a\\b", "a\0b"])
def test_clip_ids_cannot_leave_the_folder(wrong: str) -> None:
    with pytest.raises(UsageError, match="leads out of its folder"):
        video_name(wrong)


def test_video_names_keep_dots() -> None:
    assert str(video_name("a.b/c.d")) == "a.b/c.d.mp4"


def mean_difference(a: Sequence[object], b: Sequence[object]) -> np.ndarray:
    return np.array([np.mean(b) - np.mean(a)])  # type: ignore[arg-type]


def test_the_exact_permutation_p_is_scipys() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 1, 9), rng.normal(0.8, 1, 9)
    (p,) = permutation_p_values([[x] for x in a], [[x] for x in b], mean_difference)
    theirs = scipy_stats.permutation_test(
        (a, b), lambda x, y: np.mean(y) - np.mean(x), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert p == pytest.approx(theirs)


@pytest.mark.parametrize("speakers", [2, 3, 10])
def test_the_interval_of_a_mean_is_students_however_few_the_clusters(speakers: int) -> None:
    deltas = np.random.default_rng(5).normal(1, 2, speakers)
    zeros, ones = [[0.0]] * speakers, [[delta] for delta in deltas.tolist()]
    (test,) = difference_tests([zeros], [ones], mean_difference, confidence=0.99, resamples=4000)
    interval = test.ci
    t = scipy_stats.t.interval(0.99, speakers - 1, loc=deltas.mean(), scale=scipy_stats.sem(deltas))
    assert interval == pytest.approx(t, abs=0.03 * (t[1] - t[0]))


@pytest.mark.slow
@pytest.mark.parametrize("speakers", [2, 4, 12])
def test_ten_independent_columns_raise_few_false_alarms_however_few_the_speakers(speakers: int) -> None:
    """400 simulated comparisons in which nothing differs, one side of the gate's level."""
    rng, alarms = np.random.default_rng(speakers), 0
    for _ in range(400):
        sides = rng.normal(0, 1, (2, speakers, 10))
        grids = [[[[of_speaker] for of_speaker in side]] for side in sides]

        def difference(a: Sequence[object], b: Sequence[object]) -> np.ndarray:
            change: np.ndarray = np.mean(np.array(b), axis=0) - np.mean(np.array(a), axis=0)
            return change

        tests = difference_tests(*grids, difference, confidence=1 - 0.05 / 10, resamples=200)
        alarms += any(one.ci is not None and one.ci[0] > 0 for one in tests)
    assert alarms <= 0.05 * 400


def test_no_interval_of_one_cluster() -> None:
    (test,) = difference_tests([[[1.0]]], [[[2.0]]], mean_difference)
    assert (test.ci, test.error) == (None, None)


def test_holm_against_the_worked_example() -> None:
    # Sorted p times (m, m - 1, ...), made monotone: .01 x 4, .02 x 3, .03 x 2 -> .06, .04 x 1 -> .06
    assert holm([0.04, 0.01, None, 0.03, 0.02]) == pytest.approx([0.06, 0.04, None, 0.06, 0.06])
