"""`syncdiff-bench check-speed`: the gate for CI on how long things take."""

from __future__ import annotations

import math
from pathlib import Path

import click

from syncdiff_bench.cli.gates import Outcome, Places, report_options
from syncdiff_bench.errors import UsageError

EPILOG = """\b
Examples:
  pytest benchmarks --benchmark-json speed.json --benchmark-timer=time.process_time
      the benchmarks, one of them the calibration (syncdiff_bench.testing.calibrate)
  syncdiff-bench check-speed speed.json --baseline benchmarks/baseline.json --update
      write the baseline, once; commit it
  syncdiff-bench check-speed speed.json --baseline benchmarks/baseline.json
      in CI

\b
Exit codes: 0 no regression; 1 a regression; 2 not comparable."""


@click.command(epilog=EPILOG)
@click.argument("result", type=click.Path(path_type=Path, dir_okay=False), metavar="RESULT.json")
@click.option(
    "--baseline", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE", help="Baseline file."
)
@click.option("--update", is_flag=True, help="Write the baseline from this result instead of checking it.")
@click.option(
    "--tolerance",
    type=float,
    default=1.5,
    show_default=True,
    metavar="FACTOR",
    help="How much slower is let pass.",
)
@click.option("--calibration", metavar="NAME", help="With --update: the benchmark that is the unit [test_calibration].")
@report_options
def check_speed(
    *,
    result: Path,
    baseline: Path,
    update: bool,
    tolerance: float,
    calibration: str | None,
    junit: Path | None,
    summary: Path | None,
) -> int:
    """Fail where a benchmark of RESULT.json (pytest --benchmark-json) is slower than a baseline by a factor.

    The least time of each benchmark is divided by that of a calibration benchmark of the same file, and the ratio by
    the baseline's: another machine and other work on it cancel, as far as they slow both alike. A result with other
    threads, another clock or fewer benchmarks is refused.
    """
    from syncdiff_bench.significance import speed

    if not 1 < tolerance < math.inf:
        raise UsageError(f"--tolerance {tolerance:g}: give a factor above 1, for example 1.5")
    if update:
        speeds = speed.read_result(result, calibration or speed.CALIBRATION)
        speed.write_baseline(speeds, baseline)
        count = f"{len(speeds.timings)} benchmark{'s' if len(speeds.timings) != 1 else ''}"
        click.echo(f"wrote {baseline}: {count} in units of {speeds.calibration}", err=True)
        return 0
    if calibration is not None:
        raise UsageError("--calibration goes with --update; a baseline keeps its calibration")
    places = Places("syncdiff-bench check-speed", result, junit, summary)
    with places.refusals():
        held_to = speed.read_baseline(baseline)
        report = speed.check_speeds(speed.read_result(result, held_to.calibration), held_to, tolerance)
    places.publish(
        Outcome(
            speed.speed_header(),
            speed.speed_rows(report),
            speed.speed_footnotes(report),
            speed.speed_cases(report),
            report.passed,
        )
    )
    return 0 if report.passed else 1
