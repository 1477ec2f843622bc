"""`syncdiff-bench check`: the regression gate for CI, on the scores of a run or on how long benchmarks take."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncdiff_bench.cli.commands import ANY_PATH, FILE, FLAG, Takes, command, option, say, with_options
from syncdiff_bench.cli.options import ANY_BOXES, REPORTS
from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    from syncdiff_bench.cli.output import Places
    from syncdiff_bench.significance.scored import Scored

SPEED_TOLERANCE = 1.5


@command(
    keeps=True,
    examples="""
  syncdiff-bench check runs/pocket-test/mine --baseline mine.json --update
      write the baseline, once; commit it
  syncdiff-bench check runs/pocket-test/mine --baseline m.json --junit j.xml
      in CI, after `syncdiff-bench run --method mine`
  syncdiff-bench check speed.json --baseline benchmarks/baseline.json
      benchmarks, each in `with syncdiff_bench.testing.calibrated(benchmark):`""",
    closing="Exit codes: 0 no regression; 1 a regression or a lost clip; 2 not comparable.",
)
@click.argument("run", type=ANY_PATH, metavar="RUN|SPEED.json")
@option("--baseline", FILE, "Baseline file.", required=True)
@option("--update", FLAG, "Write the baseline from this run instead of checking it.")
@option(
    "--tolerance",
    Takes("COLUMN=VALUE"),
    "With --update: what a column may lose (psnr=0.1, or lse/jpeg/lse_c=0.2). Of benchmarks: a factor by which"
    " they may be slower (2).",
    name="tolerances",
    many=True,
    shown=f"one printed digit; {SPEED_TOLERANCE} of benchmarks",
)
@with_options(ANY_BOXES, *REPORTS)
def check(
    *,
    run: Path,
    baseline: Path,
    update: bool,
    tolerances: tuple[str, ...],
    any_boxes: bool,
    junit: Path | None,
    summary: Path | None,
) -> int:
    """Fail where a run or a benchmark is worse than its baseline.

    Worse means by more than chance and tolerance allow: a column is a regression when its change for the worse
    exceeds the column's tolerance AND the paired interval excludes zero. Runs with another dataset, seed, encoding,
    protocol, metric weights or face boxes are refused.

    SPEED.json (pytest --benchmark-json) instead of a run: fail where a benchmark is slower by a factor. Its least time
    is divided by that of the calibration measured beside it, and the ratio by the baseline's: another machine and other
    work on it cancel, as far as they slow both alike. Other threads, another clock or fewer benchmarks are refused.
    """
    from syncdiff_bench.cli.output import Places

    places = Places(run, junit, summary)
    if run.suffix == ".json" and not run.is_dir():
        return _check_speed(run, baseline, tolerances, places, update=update)
    from syncdiff_bench.pipeline import load_whole
    from syncdiff_bench.report.comparison import gate_table
    from syncdiff_bench.report.writers.junit import JUnitCase
    from syncdiff_bench.significance.gate import check as check_scored
    from syncdiff_bench.significance.scored import from_run, read_baseline

    if update:
        _update(from_run(load_whole(run)), baseline, tolerances)
        return 0
    if tolerances:
        raise UsageError("--tolerance goes with --update; a baseline keeps its tolerances")
    with places.refusals():
        report = check_scored(from_run(load_whole(run)), read_baseline(baseline), any_boxes=any_boxes)
    lost = [JUnitCase(f"{name} {clip}", "failure", "lost clip", reason) for name, clip, reason in report.lost]
    places.publish(gate_table(report), passed=report.passed, more=lost)
    return 0 if report.passed else 1


def _update(scored: Scored, baseline: Path, texts: tuple[str, ...]) -> None:
    from syncdiff_bench.significance.gate import default_tolerances
    from syncdiff_bench.significance.scored import write_baseline

    tolerances = default_tolerances(scored)
    for text in texts:
        name, _, value = text.partition("=")
        matching = [column for column in tolerances if name in (column, column.rpartition("/")[2])]
        if not matching:
            raise UsageError(f"--tolerance {text}: the run has no column {name!r}; it has {', '.join(tolerances)}")
        try:
            number = float(value)
        except ValueError:
            raise UsageError(f"--tolerance {text}: {value!r} is not a number") from None
        if not 0 <= number < float("inf"):
            raise UsageError(f"--tolerance {text}: give a number that is not negative")
        tolerances.update(dict.fromkeys(matching, number))
    write_baseline(scored, baseline, tolerances)
    say(f"wrote {baseline}: {len(scored.identity.clips)} clips, {len(tolerances)} columns", err=True)


def _check_speed(result: Path, baseline: Path, texts: tuple[str, ...], places: Places, *, update: bool) -> int:
    from syncdiff_bench.report.comparison import speed_table
    from syncdiff_bench.significance import speed

    factor = texts[-1] if texts else str(SPEED_TOLERANCE)
    try:
        tolerance = float(factor)
    except ValueError:
        tolerance = math.nan
    if not 1 < tolerance < math.inf:
        raise UsageError(f"--tolerance {factor}: give a factor above 1, for example 1.5")
    if update:
        speeds = speed.read_result(result)
        speed.write_baseline(speeds, baseline)
        say(f"wrote {baseline}: {len(speeds.timings)} benchmark{'s'[: len(speeds.timings) > 1]}", err=True)
        return 0
    with places.refusals():
        report = speed.check_speeds(speed.read_result(result), speed.read_baseline(baseline), tolerance)
    places.publish(speed_table(report), passed=report.passed)
    return 0 if report.passed else 1
