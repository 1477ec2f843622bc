"""The speed gate: pytest-benchmark's results in units of a calibration, held to a baseline of such ratios.

A ratio of two times of one process means something on another machine and on a busy one; seconds do not. The least of
a benchmark's rounds stands for it: other work only ever adds time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from syncdiff_bench.documents import read_json
from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import write_whole

SCHEMA = 1
CALIBRATE = "put its measurement inside `with syncdiff_bench.testing.calibrated(benchmark):`"

SpeedStatus = Literal["ok", "faster", "regression"]


@dataclass(frozen=True)
class Timing:
    """One benchmark. ratio: its least time over the calibration's next to it.

    conditions: its clock, and all that its calibration tells beside the seconds (threads, workload); equal for two
    ratios to be comparable.
    """

    ratio: float
    conditions: Mapping[str, Any]


@dataclass(frozen=True)
class Speeds:
    """source: the file. timings: by the benchmark's full name. uncalibrated: benchmarks without a calibration."""

    source: str
    timings: Mapping[str, Timing]
    uncalibrated: tuple[str, ...] = ()


@dataclass(frozen=True)
class SpeedVerdict:
    """One benchmark of the gate; now over baseline above the tolerance is a regression, below its inverse "faster"."""

    name: str
    baseline: float
    now: float
    status: SpeedStatus


@dataclass(frozen=True)
class SpeedReport:
    """added: benchmarks that the baseline does not have."""

    verdicts: tuple[SpeedVerdict, ...]
    tolerance: float
    added: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return all(verdict.status != "regression" for verdict in self.verdicts)


class _Calibration(TypedDict):
    seconds: float


class _Extra(TypedDict, total=False):
    calibration: _Calibration


class _Stats(TypedDict):
    min: float


class _Settings(TypedDict):
    timer: str


class _Benchmark(TypedDict):
    fullname: str
    stats: _Stats
    options: _Settings
    extra_info: _Extra


class _Result(TypedDict):
    benchmarks: Sequence[_Benchmark]


class _Speed(TypedDict):
    ratio: float
    conditions: Mapping[str, Any]


class _Baseline(TypedDict):
    speeds: Mapping[str, _Speed]


def read_result(path: Path) -> Speeds:
    """What `pytest --benchmark-json` wrote of benchmarks inside `syncdiff_bench.testing.calibrated`.

    Raises UsageError naming the file where it cannot be read, is no such result, or has no calibrated benchmark.
    """
    mend = "make one with pytest --benchmark-json"
    document = read_json(path, "is not a result of pytest-benchmark", mend, _Result, undefined=True)
    timings, uncalibrated = {}, []
    for entry in document["benchmarks"]:
        name, seconds = entry["fullname"], entry["stats"]["min"]
        if "calibration" not in entry["extra_info"]:
            uncalibrated.append(name)
            continue
        conditions = {"clock": entry["options"]["timer"], **entry["extra_info"]["calibration"]}
        unit = conditions.pop("seconds")
        if not (seconds > 0 and unit > 0 and 0 < seconds / unit < math.inf):
            raise UsageError(f"{path}: {name} took {seconds:g} s by its clock; time more work per round")
        timings[name] = Timing(seconds / unit, conditions)
    if not timings:
        raise UsageError(f"{path} has no calibrated benchmark; {CALIBRATE}")
    return Speeds(str(path), timings, tuple(uncalibrated))


def read_baseline(path: Path) -> Speeds:
    """Raises UsageError naming the file where it is missing, is not JSON, or is not a baseline of speeds."""
    document = read_json(path, "is not a baseline of speeds", "write one with --update", _Baseline, schema=SCHEMA)
    timings = {name: Timing(one["ratio"], one["conditions"]) for name, one in document["speeds"].items()}
    for name, timing in timings.items():
        if not timing.ratio > 0:
            raise UsageError(f"{path}: the ratio of {name} is {timing.ratio:g}; write a new one with --update")
    return Speeds(str(path), timings)


def write_baseline(speeds: Speeds, path: Path) -> None:
    """One JSON file that diffs line by line; three digits, as the fourth is chance."""
    entries = {
        name: {"ratio": float(f"{timing.ratio:.3g}"), "conditions": dict(timing.conditions)}
        for name, timing in sorted(speeds.timings.items())
    }
    document = {"schema": SCHEMA, "speeds": entries}
    write_whole(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "--baseline")


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
    pairs = ((name, held_to.ratio, now.timings[name].ratio) for name, held_to in baseline.timings.items())
    verdicts = tuple(SpeedVerdict(name, was, is_now, _status(is_now / was, tolerance)) for name, was, is_now in pairs)
    added = tuple(name for name in now.timings if name not in baseline.timings)
    return SpeedReport(verdicts, tolerance, added)


def _refusals(now: Speeds, baseline: Speeds) -> list[str]:
    refused: dict[str, list[str]] = {}  # what -> the benchmarks
    for name, held_to in baseline.timings.items():
        if name in now.uncalibrated:
            refused.setdefault(f"no calibration, {CALIBRATE}", []).append(name)
        elif name not in now.timings:
            refused.setdefault("not run", []).append(name)
        else:
            before, after = held_to.conditions, now.timings[name].conditions
            for key in sorted({*before, *after}):
                if before.get(key) != after.get(key):
                    refused.setdefault(f"{key} {before.get(key)} -> {after.get(key)}", []).append(name)
    return [f"{what} ({', '.join(names)})" for what, names in refused.items()]


def _status(slower: float, tolerance: float) -> SpeedStatus:
    if slower > tolerance:
        return "regression"
    return "faster" if slower < 1 / tolerance else "ok"
