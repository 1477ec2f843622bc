"""Paired comparison and the gate: against scipy, closed forms, and many simulated runs with a known difference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from right_plugins import Distance, Sums

from syncdiff_bench import plugins
from syncdiff_bench.caveats import Counted
from syncdiff_bench.contracts import Column
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.comparison import comparison_table, gate_table
from syncdiff_bench.report.table import Table
from syncdiff_bench.report.writers.junit import cases_of
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.significance.comparison import compare
from syncdiff_bench.significance.gate import check, default_tolerances
from syncdiff_bench.significance.scored import MetricScores, Scored, read_baseline, write_baseline

CLIPS = tuple(f"s{i // 2:02}/{i % 2}" for i in range(24))
SPEAKERS = {clip: clip.partition("/")[0] for clip in CLIPS}
KEY = ("level", "default")


IDENTITY = Identity("mine", {}, (), "pocket", "test", "f" * 64, CLIPS, {}, 0, "lossless")


class Level(Distance):
    """Six columns of one mean, three upwards and three downwards."""

    name = "level"
    columns = tuple(Column(f"c{i}", f"C{i}", "up" if i < 3 else "down") for i in range(6))


@pytest.fixture(autouse=True)
def level_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "load_metric", lambda name, *_args, **_options: {"level": Level()}[name])


def scored(values: Mapping[str, float], failed: Mapping[str, str] | None = None, **identity: Any) -> Scored:
    stats = {clip: {"total": value, "n": 1} for clip, value in values.items()}
    metrics = {KEY: MetricScores({}, ({"name": "w", "sha256": "0" * 64},), stats, failed or {}, {"encoder": "Lavc61"})}
    return Scored("runs/mine", replace(IDENTITY, **identity), metrics, SPEAKERS)


def cells(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.panels[0].rows]


def notes(table: Table) -> list[str]:
    return [note.text for note in table.notes]


def noisy(rng: np.random.Generator, shift: float = 0.0, within: float = 1.0) -> dict[str, float]:
    """Values of 24 clips of 12 speakers: noise of the clip and noise of the speaker."""
    speakers = rng.normal(0, 0.5, 12)
    return {clip: 20 + shift + speakers[i // 2] + rng.normal(0, within) for i, clip in enumerate(CLIPS)}


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "at_least", "at_most"), [(0.0, 0.0, 0.05), (3.0, 0.95, 1.0)])
def test_size_and_power_of_compare(shift: float, at_least: float, at_most: float) -> None:
    """The p of `compare` after Holm, over 400 pairs of runs. shift: in standard deviations of a clip's difference."""
    rng, found = np.random.default_rng(11), 0
    moved = shift * np.sqrt(2 * (0.5**2 + 1))
    for _ in range(400):
        columns = compare(scored(noisy(rng)), scored(noisy(rng, moved)), resamples=200).columns
        found += any(column.significant for column in columns)
    assert at_least * 400 <= found <= at_most * 400


# ----------------------------------------------------------------------------------------- comparison


def test_what_is_common_to_both_sides_cancels() -> None:
    rng = np.random.default_rng(0)
    hard = dict(zip(CLIPS, rng.normal(20, 10, 24), strict=True))
    better = {clip: value + 0.5 + rng.normal(0, 0.1) for clip, value in hard.items()}
    column = compare(scored(hard), scored(better)).columns[0]
    assert column.delta == pytest.approx(0.5, abs=0.1)
    assert column.ci is not None and 0.3 < column.ci[0] < column.ci[1] < 0.7
    assert column.significant and column.effect is not None and column.effect > 3
    assert (column.n, column.clusters) == (24, 12)


def test_the_order_of_clips_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    a, b = noisy(rng), noisy(rng, 0.4)
    shuffled = {clip: b[clip] for clip in rng.permutation(CLIPS).tolist()}
    found = compare(scored(a), scored(b), resamples=200).columns
    other = compare(scored(dict(reversed(a.items()))), scored(shuffled), resamples=200).columns
    assert found == other and [one.changes for one in found] == [one.changes for one in other]


def test_changes_name_the_worst_first_whatever_the_direction() -> None:
    a = dict.fromkeys(CLIPS, 1.0)
    b = {**a, CLIPS[3]: 0.0, CLIPS[5]: 4.0}
    columns = compare(scored(a), scored(b), resamples=100).columns
    assert (columns[0].changes[0].clip, columns[0].changes[-1].clip) == (CLIPS[3], CLIPS[5])  # up
    assert (columns[5].changes[0].clip, columns[5].changes[-1].clip) == (CLIPS[5], CLIPS[3])  # down
    assert [one.clip for one in columns[0].largest_changes(1)] == [CLIPS[5]]
    assert [one.clip for one in columns[0].largest_changes(9)] == [CLIPS[5], CLIPS[3]]


def test_other_data_and_other_weights_are_not_compared() -> None:
    a = scored(noisy(np.random.default_rng(0)))
    with pytest.raises(UsageError, match="different data: fingerprint"):
        compare(a, scored(noisy(np.random.default_rng(0)), fingerprint="0" * 64))
    other = replace(a, metrics={KEY: replace(a.metrics[KEY], weights=({"name": "w", "sha256": "1" * 64},))})
    comparison = compare(a, other)
    assert comparison.columns == () and "different weights" in comparison.notes[0]


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({}, False),  # a version that did not record them
        ({"libavcodec": "62.28.102", "libswscale": "9.5.100"}, False),  # the third number changes nothing
        ({"libavcodec": "62.28.102", "libswscale": "8.3.100"}, True),
    ],
)
def test_other_decoders_are_said(theirs: dict[str, str], said: bool) -> None:
    values = {f"s{n}/a": float(n) for n in range(8)}
    a = replace(scored(values), versions={"libavcodec": "62.28.102", "libswscale": "9.5.102"})
    notes = " ".join(compare(a, replace(scored(values), versions=theirs)).notes)
    assert ("decoded by" in notes) == said
    assert ("libswscale 9.5.102 against 8.3.100" in notes) == said
    assert "libavcodec" not in notes


def test_what_is_left_out_of_a_comparison_is_said() -> None:
    values = noisy(np.random.default_rng(0))
    a = scored(values, dataset_options={"mark": "c"})
    fewer = scored(dict(list(values.items())[:20]), {CLIPS[20]: "truncated", CLIPS[21]: "truncated"})
    b = replace(fewer, source="runs/other", metrics={**fewer.metrics, ("wer", "av"): fewer.metrics[KEY]})
    assert compare(a, b, resamples=100).notes == (
        "--dataset-set mark: c against the default",
        "only runs/other was scored with wer (av)",
        "level (default): 4 clips of runs/mine are left out: runs/other has no value (2 failed)",
    )
    with pytest.raises(UsageError, match="no clip in common"):
        compare(a, scored({}, clips=("x",)))


# ----------------------------------------------------------------------------------------- the gate


def baseline_of(values: Mapping[str, float], tolerance: float = 0.0) -> Scored:
    base = scored(values)
    return replace(base, tolerances=dict.fromkeys(default_tolerances(base), tolerance))


@pytest.mark.slow
def test_false_alarms_and_power_over_simulated_runs() -> None:
    """400 runs in which nothing changed, with no tolerance at all; then 400 that lost three standard errors, and 400
    that lost three standard deviations of the difference between two runs.
    """
    rng = np.random.default_rng(7)
    standard_error = np.sqrt(2 * (0.5**2 / 12 + 1 / 24))
    clip_deviation = np.sqrt(2 * (0.5**2 + 1))
    alarms = {}
    for name, shift in (("none", 0.0), ("three errors", 3 * standard_error), ("three sigma", 3 * clip_deviation)):
        alarms[name] = 0
        for _ in range(400):
            report = check(scored(noisy(rng, -shift)), baseline_of(noisy(rng)), resamples=200)
            alarms[name] += any(verdict.status == "regression" for verdict in report.verdicts)
    assert alarms["none"] <= 0.05 * 400, alarms
    assert alarms["three errors"] >= 0.4 * 400, alarms
    assert alarms["three sigma"] >= 0.95 * 400, alarms


def test_a_regression_needs_both_the_tolerance_and_the_interval() -> None:
    rng = np.random.default_rng(1)
    base = noisy(rng)
    drop = {clip: value - 0.3 + rng.normal(0, 0.02) for clip, value in base.items()}
    statuses = [v.status for v in check(scored(drop), baseline_of(base, 0.1)).verdicts]
    assert statuses == ["regression"] * 3 + ["better"] * 3
    tolerated = check(scored(drop), baseline_of(base, 0.5))
    assert [v.status for v in tolerated.verdicts] == ["worse"] * 3 + ["better"] * 3 and tolerated.passed
    chance = {clip: value + rng.normal(-0.1, 2) for clip, value in base.items()}
    assert check(scored(chance), baseline_of(base, 0.0)).passed


def test_a_clip_that_is_lost_fails_the_gate() -> None:
    base = noisy(np.random.default_rng(1))
    kept = {clip: value for clip, value in base.items() if clip != CLIPS[4]}
    report = check(scored(kept, {CLIPS[4]: "truncated"}), baseline_of(base))
    assert report.lost == (("level/default", CLIPS[4], "truncated"),) and not report.passed


def test_the_gate_refuses_what_is_not_comparable() -> None:
    values = noisy(np.random.default_rng(1))
    run, one = scored(values), scored(values).metrics[KEY]
    for other, words in (
        (scored(values, seed=1), "seed 0 -> 1"),
        (scored(values, fingerprint="0" * 64), "dataset fingerprint"),
        (scored(values, encoding="crf23"), "encoding lossless -> crf23"),
        (scored(values, method="other"), "method mine -> other"),
        (scored(values, clips=CLIPS[:-1]), "clips"),
        (replace(run, metrics={}), r"level \(default\) was not scored"),
        (replace(run, metrics={KEY: replace(one, weights=())}), "was judged by other weights"),
        (
            replace(run, metrics={KEY: replace(one, provenance={"encoder": "Lavc62"})}),
            r"\(default\) was judged by other",
        ),
        (
            replace(run, metrics={KEY: replace(one, options={"region": "mouth"})}),
            r"level \(default\) has other options",
        ),
    ):
        with pytest.raises(UsageError, match=words):
            check(other, baseline_of(values))


@pytest.mark.parametrize(("speakers", "verdict"), [(5, "too few speakers"), (6, "B better")])
def test_no_verdict_where_no_data_could_give_one(speakers: int, verdict: str) -> None:
    """Two-sided, k speakers give p of 2 / 2^k at best (every clip better): .0625 of five, .03125 of six."""
    clips = CLIPS[: 2 * speakers]
    better = compare(scored(dict.fromkeys(clips, 1.0)), scored({clip: 2.0 + i for i, clip in enumerate(clips)}))
    ups = replace(better.columns[0], p_holm=better.columns[0].p)  # six columns alike: Holm's factor is not the matter
    assert ups.verdict == verdict
    assert ups.p == (None if speakers == 5 else 2 / 2**6)
    assert cells(comparison_table(better))[0][-2] == (verdict if speakers == 5 else "no difference shown")


class Perfect(Level):
    """A clip of less than 21 dB has 26 frames more, which equal their reference and have no value."""

    def left_out(self, stats: Sums) -> int:
        return 26 if stats.total < 21 else 0

    def with_left_out(self, stats: Sums) -> Sums:
        lost = self.left_out(stats)
        return Sums(stats.total + 100 * lost, stats.n + lost)


@pytest.mark.parametrize("speakers", [1, 12])
def test_the_side_that_leaves_perfect_frames_out_is_never_called_worse(
    monkeypatch: pytest.MonkeyPatch, speakers: int
) -> None:
    """26 of 27 frames equal and one noisy: 20.9 dB; all 27 with weak noise: 30.3 dB. The former is the better video."""
    monkeypatch.setattr(plugins, "load_metric", lambda *_args, **_options: Perfect())
    rng, clips = np.random.default_rng(3), CLIPS[: 2 * speakers]
    equal = scored({clip: 20.9 - rng.random() for clip in clips})
    weak = scored({clip: 30.3 + rng.random() for clip in clips})
    for a, b in ((equal, weak), (weak, equal)):
        assert (compare(a, b).columns[0].verdict, compare(a, b).columns[0].p) == ("frames left out", None)
    report = check(equal, replace(weak, tolerances=default_tolerances(weak)))
    assert {verdict.status for verdict in report.verdicts[:3]} == {"undecided"}
    assert report.passed and "not decided, frames left out" in cells(gate_table(report))[0]


def test_a_perfect_frame_excuses_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """One frame of 60 at 100 dB adds little over 1 dB: a loss of 5 dB is still one."""
    monkeypatch.setattr(plugins, "load_metric", lambda *_args, **_options: OnePerfect())
    rng = np.random.default_rng(3)
    before = scored({clip: 28 + rng.random() for clip in CLIPS})
    after = scored({clip: 23 + rng.random() for clip in CLIPS})
    assert compare(before, after).columns[0].verdict == "B worse"
    assert not check(after, replace(before, tolerances=default_tolerances(before))).passed


class OnePerfect(Level):
    def with_left_out(self, stats: Sums) -> Sums:
        return Sums((stats.total * 59 + 100) / 60, 1) if stats.total < 25 else stats


def test_caveats_of_both_sides_stand_below_and_in_the_report() -> None:
    guess = Counted("guessed-boxes", "the face box is the centred guess", ("s00/0",), 24)
    few = Counted("retimed", "retimed to 25 fps", ("s00/1",), 24)
    base = noisy(np.random.default_rng(1))
    a, b = replace(scored(base), caveats=(guess,)), replace(scored(base), caveats=(guess, few))
    wanted = [f"A and B: {guess.text}", f"B: {few.text}"]
    assert [note for note in notes(comparison_table(compare(a, b))) if "of 24 clips" in note] == wanted
    report = check(b, replace(a, tolerances=default_tolerances(a)))
    wanted = [f"baseline and now: {guess.text}", f"now: {few.text}"]  # as its table calls the two
    assert set(wanted) <= set(notes(gate_table(report)))
    assert not [note for note in notes(comparison_table(compare(scored(base), scored(base)))) if "of 24 clips" in note]


def test_a_gate_over_few_speakers_says_that_it_is_blind() -> None:
    def footnotes(speakers: int) -> str:
        values = dict.fromkeys(CLIPS[: 2 * speakers], 1.0)
        return " ".join(notes(gate_table(check(scored(values), baseline_of(values)))))

    assert "4 speakers: a loss is hardly seen" in footnotes(4)
    assert "hardly seen" not in footnotes(5)


def test_a_baseline_of_before_an_option_was_added_means_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Options:
        region: str = "face"

    monkeypatch.setattr(Level, "Options", Options)
    values = noisy(np.random.default_rng(1))
    run = scored(values)
    now = replace(run, metrics={KEY: replace(run.metrics[KEY], options={"region": "face"})})
    assert check(now, baseline_of(values)).passed
    other = replace(run, metrics={KEY: replace(run.metrics[KEY], options={"region": "mouth"})})
    with pytest.raises(UsageError, match="has other options"):
        check(other, baseline_of(values))


def test_a_value_where_the_baseline_had_none_passes() -> None:
    values = noisy(np.random.default_rng(1))
    undefined = dict.fromkeys(CLIPS, float("nan"))
    assert check(scored(values), baseline_of(undefined)).passed
    report = check(scored(undefined), baseline_of(values))
    assert {verdict.status for verdict in report.verdicts} == {"no value"} and not report.passed


def test_the_methods_own_options_are_on_trial() -> None:
    values = noisy(np.random.default_rng(1))
    assert check(scored(values, options={"steps": "5"}), baseline_of(values)).passed


def test_a_baseline_survives_its_file(tmp_path: Path) -> None:
    base = baseline_of(noisy(np.random.default_rng(1)), 0.25)
    write_baseline(base, tmp_path / "deep" / "base.json", base.tolerances)
    read = read_baseline(tmp_path / "deep" / "base.json")
    assert read == replace(base, source=str(tmp_path / "deep" / "base.json"))


def test_a_file_that_is_no_baseline_is_named(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    for text, words in (("{", "is not JSON"), ("{}", "is not a baseline"), (json.dumps({"schema": 9}), "schema 9")):
        path.write_text(text)
        with pytest.raises(UsageError, match=words):
            read_baseline(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_baseline(tmp_path / "missing.json")


def test_junit_has_a_failure_per_regression() -> None:
    rng = np.random.default_rng(1)
    base = noisy(rng)
    drop = {clip: value - 3 + rng.normal(0, 0.02) for clip, value in base.items()}
    cases = cases_of(gate_table(check(scored(drop), baseline_of(base))))
    assert [(case.outcome, case.kind) for case in cases] == 3 * [("failure", "regression")] + 3 * [("passed", "")]
    assert all("REGRESSION" in case.message for case in cases[:3])


def test_footnotes_say_what_decided_where_the_usual_rule_could_not() -> None:
    def side(speakers: int) -> Scored:
        base = scored(noisy(np.random.default_rng(1)))
        few = {clip: f"s{i % speakers}" for i, clip in enumerate(base.speakers)}
        return replace(base, speakers=few, tolerances=default_tolerances(base))

    def said(lines: list[str], words: str) -> bool:
        return any(words in line for line in lines)

    for speakers in (1, 5, 6):
        one = side(speakers)
        assert said(notes(comparison_table(compare(one, one))), "too few speakers: with 5 or fewer") == (speakers < 6)
        assert said(notes(gate_table(check(one, one))), "the tolerance alone decides") == (speakers == 1)
