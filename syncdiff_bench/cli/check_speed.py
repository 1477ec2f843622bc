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
      the benchmarks, each in `with calibrated(benchmark):` of syncdiff_bench.testing
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
@report_options
def check_speed(
    *,
    result: Path,
    baseline: Path,
    update: bool,
    tolerance: float,
    junit: Path | None,
    summary: Path | None,
) -> int:
    """Fail where a benchmark of RESULT.json (pytest --benchmark-json) is slower than a baseline by a factor.

    The least time of each benchmark is divided by that of the calibration measured beside it, and the ratio by the
    baseline's: another machine and other work on it cancel, as far as they slow both alike. A result with other
    threads, another clock or fewer benchmarks is refused.
    """
    from syncdiff_bench.significance import speed

    if not 1 < tolerance < math.inf:
        raise UsageError(f"--tolerance {tolerance:g}: give a factor above 1, for example 1.5")
    if update:
        speeds = speed.read_result(result)
        speed.write_baseline(speeds, baseline)
        click.echo(f"wrote {baseline}: {len(speeds.timings)} benchmark{'s'[: len(speeds.timings) > 1]}", err=True)
        return 0
    places = Places("syncdiff-bench check-speed", result, junit, summary)
    with places.refusals():
        report = speed.check_speeds(speed.read_result(result), speed.read_baseline(baseline), tolerance)
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
