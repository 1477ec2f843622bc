"""What runs measured: the summaries of run directories, as far as a table needs them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncdiff_bench.caveats import Counted, recorded
from syncdiff_bench.errors import UsageError
from syncdiff_bench.origins import ScoringNetwork, scoring_networks

RUN_FILE = "run.json"
SCHEMA = 1


@dataclass(frozen=True)
class Measured:
    """One number of a run: the mean over `n` clips, its 95 % interval, and how many clips failed.

    - mean: None where the metric is not defined (PSNR of identical videos)
    - network: weights and versions behind it
    """

    metric: str
    protocol: str
    column: str
    direction: str
    mean: float | None
    ci95: tuple[float, float] | None
    n: int
    failed: int
    network: ScoringNetwork = ()


@dataclass(frozen=True)
class RunResult:
    """The summary of one run.

    - path: its directory, as the user named it
    - options: of the method, as run.json records them (all of them, defaults included)
    - finished: ISO time, "" for a run that has not ended
    - title: the method's name for people
    - topline: the method is a bound (ground truth), not a rival
    - split, clips, dataset_options, encoding, seed: of what and how it was made; empty where run.json does not say
    - trained_against: metrics whose scoring network was also a training loss
    - caveats: what a reader should know before believing its numbers
    """

    path: Path
    method: str
    options: Mapping[str, Any]
    dataset: str
    finished: str
    summary: tuple[Measured, ...]
    title: str = ""
    topline: bool = False
    split: str = ""
    clips: tuple[str, ...] = ()
    dataset_options: Mapping[str, Any] = field(default_factory=dict)
    encoding: str = ""
    seed: int | None = None
    trained_against: frozenset[str] = frozenset()
    caveats: tuple[Counted, ...] = ()


def find_runs(folders: Iterable[Path]) -> tuple[RunResult, ...]:
    """The runs in the given folders: run directories, or folders that hold some (at most two levels down).

    Raises UsageError for a folder without a run and for a run.json that is not one.
    """
    found: dict[Path, RunResult] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"run folder {folder} does not exist; give a run directory or a folder of them")
        paths = [p for level in ("", "*/", "*/*/") for p in sorted(folder.glob(level + RUN_FILE))]
        if not paths:
            raise UsageError(f"{folder} holds no {RUN_FILE}; give a run directory or a folder of them")
        for path in paths:
            found.setdefault(path.resolve(), read_run(path))
    return tuple(found.values())


def read_run(path: Path) -> RunResult:
    """One run.json. Raises UsageError naming the file and what is wrong with it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from None
    try:
        if data["schema"] != SCHEMA:
            raise UsageError(f"{path}: schema {data['schema']!r} is not {SCHEMA}; another release wrote this run")
        method, dataset, known = data["method"], data["dataset"], scoring_networks(data)
        return RunResult(
            path=path.parent,
            method=str(method["name"]),
            options=dict(method.get("options") or {}),
            dataset=str(dataset["name"]),
            finished=str(data.get("finished") or ""),
            summary=tuple(_measured(entry, known) for entry in data.get("summary") or ()),
            title=str(method.get("title") or ""),
            topline=bool(method.get("topline")),
            split=str(dataset.get("split") or ""),
            clips=tuple(str(clip) for clip in dataset.get("clips") or ()),
            dataset_options=dict(dataset.get("options") or {}),
            encoding=str(data.get("encoding") or ""),
            seed=data["seed"] if isinstance(data.get("seed"), int) else None,
            trained_against=frozenset(str(metric) for metric in method.get("trained_against") or ()),
            caveats=recorded(data) if data.get("summary") else (),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} is not a run's record: {_problem(error)}; score the run again") from None


def _measured(entry: Mapping[str, Any], networks: Mapping[tuple[str, str], ScoringNetwork]) -> Measured:
    interval = entry.get("ci95")
    return Measured(
        metric=str(entry["metric"]),
        protocol=str(entry["protocol"]),
        column=str(entry["column"]),
        direction=str(entry["direction"]),
        mean=_finite(entry["mean"]),
        ci95=None if interval is None else _interval(interval),
        n=int(entry["n"]),
        failed=int(entry["failed"]),
        network=networks.get((entry["metric"], entry["protocol"]), ()),
    )


def _interval(values: Any) -> tuple[float, float] | None:
    low, high = (_finite(value) for value in values)
    return None if low is None or high is None else (low, high)


def _finite(value: Any) -> float | None:
    """JSON of other tools spells an undefined mean NaN."""
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _problem(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
