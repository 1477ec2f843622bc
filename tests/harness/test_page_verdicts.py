"""The sentences that say which method is better, by how much, and how sure that is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from html_pages import Page

from syncdiff_bench.contracts import Column
from syncdiff_bench.report.leaderboard import BoardColumn, boards, entries_of
from syncdiff_bench.report.page.page import build_page
from syncdiff_bench.report.page.verdicts import Verdict, headline, of_pair, verdicts_of
from syncdiff_bench.runs.directory import Run, load_run
from syncdiff_bench.significance.comparison import ColumnComparison

PIXELS = 768  # of a score: 16 x 16 x 3, one frame
CLIPS = tuple(f"c{i:02}" for i in range(12))


@pytest.fixture
def toy(work_folder: Path, toy_plugins: Path, toy_runs: Path) -> Run:
    shutil.copytree(toy_runs, work_folder, dirs_exist_ok=True)
    return load_run(Path("a/toy-noise"))


def made(run: Run, label: str, errors: list[float], **identity: Any) -> Run:
    """A run over CLIPS, each of a speaker of its own, with these errors."""
    sample = run.scores and next(iter(run.scores))
    assert sample
    scores = tuple(
        replace(sample, clip=clip, values={"err": error}, stats={"total": error * PIXELS, "pixels": PIXELS})
        for clip, error in zip(CLIPS, errors, strict=True)
    )
    record = next(iter(run.generated.values()))
    generated = {clip: replace(record, clip=clip, speaker=f"speaker {clip}") for clip in CLIPS}
    summary = [{**run.manifest["summary"][0], "mean": float(np.mean(errors)), "n": len(CLIPS)}]
    return replace(
        run,
        label=label,
        manifest={**run.manifest, "summary": summary, "caveats": []},
        identity=replace(run.identity, clips=CLIPS, **identity),
        scores=scores,
        generated=generated,
    )


def verdict_of(*runs: Run) -> Verdict:
    (board,) = boards(runs)
    (verdict,) = verdicts_of(board, [entries_of(row.run, board.columns) for row in board.rows])
    return verdict


def noisy(mean: float, seed: int) -> list[float]:
    noise = np.random.default_rng(seed).normal(0, 0.3, len(CLIPS))
    return [float(value) for value in mean + noise - noise.mean()]


def test_the_best_stands_against_the_next_one(toy: Run) -> None:
    """Not against the worst, and not against a bound, which is better than both."""
    runs = [made(toy, "worst", noisy(9, 1)), made(toy, "second", noisy(5, 2)), made(toy, "best", noisy(4, 3))]
    bound = made(toy, "bound", noisy(1, 4), topline=True)
    verdict = verdict_of(*runs, bound)
    assert verdict.lead == "best is better than second in ERR by 1.0 grey levels: 4.0 against 5.0."
    assert (verdict.leader, verdict.shown) == ("best", True)
    # All of 12 speakers but for chance on one side: Student's t of the differences says about the same.
    differences = np.array(noisy(5, 2)) - np.array(noisy(4, 3))
    half = 2.201 * differences.std(ddof=1) / np.sqrt(12)
    low, high = (float(end) for end in verdict.sure.split("difference ")[1].split(";")[0].split(" to "))
    assert (low, high) == (pytest.approx(1 - half, abs=0.11), pytest.approx(1 + half, abs=0.11))
    assert 0 < low < 1 < high
    # Of all 2 ** 12 ways to exchange the two, how many are as far apart.
    signs = 1 - 2 * np.array(list(product((0, 1), repeat=12)))
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
    p = float(verdict.sure.split("p = ")[1].split(";")[0])
    assert p == pytest.approx(exact, abs=0.0015) and verdict.sure.endswith("; paired over 12 clips.")


def test_no_difference_is_no_verdict(toy: Run) -> None:
    verdict = verdict_of(made(toy, "one", noisy(4, 1)), made(toy, "other", noisy(4.01, 2)))
    assert verdict.lead == "No difference is shown between one and other in ERR: 4.0 against 4.0."
    assert not verdict.shown and "p = " in verdict.sure
    low, high = (float(end) for end in verdict.sure.split("difference ")[1].split(";")[0].split(" to "))
    assert low < 0 < high


def test_what_cannot_be_compared_is_said(toy: Run) -> None:
    good, bad = made(toy, "good", noisy(1, 1)), made(toy, "bad", noisy(5, 2))
    unfinished = replace(bad, manifest={**bad.manifest, "finished": None})
    verdict = verdict_of(good, unfinished)
    assert verdict.lead.startswith("good has the better mean ERR, 1.0 against 5.0 of bad; the two were not compared: ")
    assert "has not finished" in verdict.lead and not verdict.shown


def test_one_method_is_compared_with_none(toy: Run) -> None:
    bound = made(toy, "bound", noisy(1, 4), topline=True)
    verdict = verdict_of(made(toy, "mine", noisy(4, 1)), bound)
    assert verdict.lead == "mine: ERR 4.0 grey levels; there is no other method to compare." and verdict.leader == ""
    assert verdict_of(bound).lead == "ERR has no value: only bound, no method that competes."


def column(
    direction: Literal["up", "down"] = "up", decimals: int = 2, unit: str = "dB"
) -> tuple[BoardColumn, ColumnComparison]:
    shown = BoardColumn("psnr", "face96", "psnr", "PSNR", direction, unit, decimals)
    found = ColumnComparison(
        *("psnr", "face96", Column("psnr", "PSNR", direction), 30.0, 28.5, (-2.25, -0.75), 0.004, 24, 12),
        p_holm=0.012,
    )
    return shown, found


@pytest.mark.parametrize(("direction", "better", "other"), [("up", "A", "B"), ("down", "B", "A")])
def test_the_interval_is_of_the_lead_of_the_better_one(
    direction: Literal["up", "down"], better: str, other: str
) -> None:
    shown, found = column(direction)
    verdict = of_pair(found, shown, ("A", "B"), 3)
    values = {"A": "30.00", "B": "28.50"}
    stand = f"{values[better]} against {values[other]}"
    assert verdict.lead == f"{better} is better than {other} in PSNR by 1.50 dB: {stand}."
    interval = "95 % interval of the difference 0.75 to 2.25"
    assert verdict.sure == f"{interval}; p = 0.012 corrected for 3 metrics; paired over 24 clips of 12 speakers."


def test_undecided_is_never_a_win() -> None:
    shown, found = column()
    verdict = of_pair(replace(found, undecided="too few speakers", p=None, p_holm=None), shown, ("A", "B"), 0)
    assert "decides nothing: too few speakers" in verdict.lead and not verdict.shown and "p " not in verdict.sure
    assert of_pair(replace(found, a=None), shown, ("A", "B"), 1) == Verdict(
        "PSNR: no clip has a value of both A and B."
    )


def test_a_headline_counts_leads() -> None:
    a, b = Verdict("", leader="A", shown=True), Verdict("", leader="B")
    assert (
        headline([a, a, b, Verdict("")], "?")
        == "A leads in 2 of 4 metrics, beyond chance in 2; B in 1, beyond chance in none"
    )
    assert headline([a], "?") == headline([Verdict(""), Verdict("")], "?") == "?"


def test_the_page_of_a_pair_is_about_the_pair(toy: Run) -> None:
    """Whichever of the two is the best of the board."""
    from syncdiff_bench.significance.comparison import compare
    from syncdiff_bench.significance.scored import from_run

    before, after = made(toy, "before", noisy(4, 1)), made(toy, "after", noisy(6, 2))
    comparison = compare(from_run(before), from_run(after))
    (shown,) = Page(build_page([before, after], comparison=comparison, clips=0)).data["columns"]
    assert shown["lead"] == "before is better than after in ERR by 2.0 grey levels: 4.0 against 6.0."
