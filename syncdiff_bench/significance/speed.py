"""The speed gate: pytest-benchmark's results in units of a calibration benchmark, held to a baseline of such ratios.

A ratio of two times of one process means something on another machine and on a busy one; seconds do not. The least of
a benchmark's rounds stands for it: other work only ever adds time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from syncdiff_bench.errors import UsageError
from syncdiff_bench.runs.journal import write_chosen
from syncdiff_bench.significance.junit import Case, row_case
from syncdiff_bench.significance.rendering import STATUS_MARKS

SCHEMA = 1
CALIBRATION = "test_calibration"

Status = Literal["ok", "faster", "regression"]


@dataclass(frozen=True)
class Timing:
    """One benchmark. ratio: its least time over the calibration's; timer: the clock that it was measured with."""

    ratio: float
    timer: str


@dataclass(frozen=True)
class Speeds:
    """What was timed together.

    source: the file. calibration: full name of the calibration benchmark; timer: its clock; seconds: its least time,
    None in a baseline. conditions: its `extra_info` (threads, ...); all of it has to be equal for two results to be
    comparable. timings: by full name, without the calibration.
    """

    source: str
    calibration: str
    timer: str
    seconds: float | None
    conditions: Mapping[str, Any]
    timings: Mapping[str, Timing]


@dataclass(frozen=True)
class Verdict:
    """One benchmark of the gate; now over baseline above the tolerance is a regression, below its inverse "faster"."""

    name: str
    baseline: float
    now: float
    status: Status


@dataclass(frozen=True)
class SpeedReport:
    """seconds: of the calibration now. added: benchmarks that the baseline does not have."""

    verdicts: tuple[Verdict, ...]
    tolerance: float
    seconds: float
    added: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return all(verdict.status != "regression" for verdict in self.verdicts)


def read_result(path: Path, calibration: str = CALIBRATION) -> Speeds:
    """What `pytest --benchmark-json` wrote. calibration: a full name, or what follows its last "::".

    Raises UsageError naming the file where it cannot be read, is no such result, or has not one calibration.
    """
    document = _read(path, "make one with pytest --benchmark-json")
    try:
        entries = [
            (entry["fullname"], float(entry["stats"]["min"]), entry["options"]["timer"], dict(entry["extra_info"]))
            for entry in document["benchmarks"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path} is not a result of pytest-benchmark ({error!r}); make one with pytest --benchmark-json"
        ) from None
    for name, seconds, _, _ in entries:
        if not 0 < seconds < math.inf:
            raise UsageError(f"{path}: {name} took {seconds:g} s by its clock; time more work per round")
    found = [entry for entry in entries if calibration in (entry[0], entry[0].rpartition("::")[2])]
    if len(found) != 1:
        raise UsageError(
            f"{path} has {len(found) or 'no'} benchmarks named {calibration}, the calibration; run one with the others "
            "(syncdiff_bench.testing.calibrate), or name it with --update --calibration"
        )
    name, unit, timer, conditions = found[0]
    timings = {other: Timing(seconds / unit, clock) for other, seconds, clock, _ in entries if other != name}
    return Speeds(str(path), name, timer, unit, conditions, timings)


def read_baseline(path: Path) -> Speeds:
    """Raises UsageError naming the file where it is missing, is not JSON, or is not a baseline of speeds."""
    document = _read(path, "write one with --update")
    try:
        if document["schema"] != SCHEMA:
            raise UsageError(f"baseline {path} has schema {document['schema']!r}, this version reads {SCHEMA}")
        calibration = document["calibration"]
        timings = {name: Timing(float(one["ratio"]), one["timer"]) for name, one in document["benchmarks"].items()}
        if not all(0 < timing.ratio < math.inf for timing in timings.values()):
            raise ValueError("a ratio that is not positive")
        return Speeds(
            str(path), calibration["name"], calibration["timer"], None, dict(calibration["conditions"]), timings
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(f"{path} is not a baseline of speeds ({error!r}); write a new one with --update") from None


def write_baseline(speeds: Speeds, path: Path) -> None:
    """One JSON file that diffs line by line; three digits, as the fourth is chance."""
    document = {
        "schema": SCHEMA,
        "calibration": {"name": speeds.calibration, "timer": speeds.timer, "conditions": dict(speeds.conditions)},
        "benchmarks": {
            name: {"ratio": float(f"{timing.ratio:.3g}"), "timer": timing.timer}
            for name, timing in sorted(speeds.timings.items())
        },
    }
    write_chosen(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "--baseline")


def check_speeds(now: Speeds, baseline: Speeds, tolerance: float) -> SpeedReport:
    """Judge a result. tolerance: the factor, above 1, by which a ratio may exceed the baseline's.

    Raises UsageError, naming what differs, where a benchmark of the baseline is absent, or where the clock or the
    conditions (threads, ...) are not the baseline's.
    """
    refused = _refusals(now, baseline)
    if refused:
        raise UsageError(
            f"{now.source} cannot be checked against {baseline.source}: {'; '.join(refused)}; run the benchmarks as "
            "the baseline's were run, or write a new baseline with --update"
        )
    assert now.seconds is not None
    verdicts = tuple(
        Verdict(name, timing.ratio, now.timings[name].ratio, _status(now.timings[name].ratio / timing.ratio, tolerance))
        for name, timing in baseline.timings.items()
    )
    added = tuple(name for name in now.timings if name not in baseline.timings)
    return SpeedReport(verdicts, tolerance, now.seconds, added)


def speed_header() -> list[str]:
    return ["benchmark", "baseline", "now", "now / baseline", "tolerance", "verdict"]


def speed_rows(report: SpeedReport) -> list[list[str]]:
    return [
        [
            one.name,
            f"{one.baseline:.3g}",
            f"{one.now:.3g}",
            f"{one.now / one.baseline:.2f}",
            f"{report.tolerance:g}",
            STATUS_MARKS.get(one.status, one.status),
        ]
        for one in report.verdicts
    ]


def speed_footnotes(report: SpeedReport) -> list[str]:
    return [
        f"In units of the calibration, which took {report.seconds:.3g} s; the least of all rounds.",
        *(f"{name} is not in the baseline; --update adds it." for name in report.added),
        "passed" if report.passed else "FAILED",
    ]


def speed_cases(report: SpeedReport) -> list[Case]:
    """One JUnit case per benchmark; a regression is a failure with its row as the message."""
    return [
        row_case(one.name, speed_header(), row, one.status if one.status == "regression" else None)
        for one, row in zip(report.verdicts, speed_rows(report), strict=True)
    ]


def _read(path: Path, mend: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); {mend}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON ({error}); {mend}") from None


def _refusals(now: Speeds, baseline: Speeds) -> list[str]:
    refused = [
        f"{name} {baseline.conditions.get(name)} -> {now.conditions.get(name)}"
        for name in sorted({*baseline.conditions, *now.conditions})
        if baseline.conditions.get(name) != now.conditions.get(name)
    ]
    if now.timer != baseline.timer:
        refused.append(f"{now.calibration}: clock {baseline.timer} -> {now.timer}")
    for name, timing in baseline.timings.items():
        if name not in now.timings:
            refused.append(f"{name} was not run")
        elif now.timings[name].timer != timing.timer:
            refused.append(f"{name}: clock {timing.timer} -> {now.timings[name].timer}")
    return refused


def _status(slower: float, tolerance: float) -> Status:
    if slower > tolerance:
        return "regression"
    return "faster" if slower < 1 / tolerance else "ok"
