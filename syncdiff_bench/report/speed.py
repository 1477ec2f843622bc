"""The speed of a run as a column of its summary: seconds that the method took per second of video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from syncdiff_bench.caveats import Counted
from syncdiff_bench.runs.directory import LOST_LINES, Run
from syncdiff_bench.runs.summary import ColumnSummary
from syncdiff_bench.runs.timing import Speed

SPEED = "speed"
UNIT = "s per s of video"  # stands where the protocol of a metric does
MEANING = "Speed: seconds that the method took per second of video, without reading, face detection and writing."
SEVERAL_DEVICES = "Speeds on different devices do not compare, and none of them is marked."


def with_speeds(runs: Sequence[Run]) -> list[Run]:
    """The runs with a column of their speed behind the others, and a caveat of that column: on which device.

    A bound has none, nor have videos that somebody else made.
    """
    known = [run.speed for run in runs]
    seconds = [speed.seconds for speed in known if speed is not None and speed.seconds is not None]
    least = min(seconds, default=1.0)
    decimals = 3 if least < 0.1 else 2 if least < 10 else 1
    return [run if speed is None else _with_speed(run, speed, decimals) for run, speed in zip(runs, known, strict=True)]


def speed_device(run: Run) -> str:
    """Where it was timed."""
    return "" if run.speed is None else run.speed.device


def speed_remarks(devices: Iterable[str]) -> list[str]:
    """How to read a column of speeds that were timed on these."""
    return [MEANING, *([SEVERAL_DEVICES] if len(set(devices) - {""}) > 1 else [])]


def _with_speed(run: Run, speed: Speed, decimals: int) -> Run:
    entry = ColumnSummary(
        metric=SPEED,
        protocol=UNIT,
        column=SPEED,
        label="Speed",
        mean=speed.seconds,
        ci95=None,
        n=speed.clips,
        failed=0,
        direction="down",
        unit="s/s",
        decimals=decimals,
        weights=(),
        reason=speed.reason or None,
    )
    told = [] if speed.reason else [Counted(SPEED, _sentence(speed), metric=SPEED, protocol=UNIT)]
    # A version that recorded none is told by their absence: what that means is written down before it is lost.
    known = run.manifest.get("caveats", [one.to_json() for one in run.caveats if one.kind != LOST_LINES])
    more: dict[str, Any] = {
        "summary": [*run.manifest["summary"], entry.to_json()],
        "caveats": [*known, *(one.to_json() for one in told)],
    }
    return replace(run, manifest={**run.manifest, **more})


def _sentence(speed: Speed) -> str:
    at_once = "one" if speed.at_once == 1 else f"up to {speed.at_once}"
    loading = ", loading the networks included" if speed.loading else ""
    return f"{speed.clips} clip{'s' * (speed.clips > 1)} on {speed.device}, {at_once} at once{loading}"
