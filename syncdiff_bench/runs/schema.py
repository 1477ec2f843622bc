"""What stands in run.json and in the files like it, as types that `documents.read_json` holds them to.

Keys without which no version has written a run are required; further ones may stand beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict

from syncdiff_bench.caveats import Caveat, Counted
from syncdiff_bench.contracts import WeightsUsed

DECIMALS = range(16)  # what a float has


class _MethodOfAll(TypedDict):
    name: str
    title: str
    options: Mapping[str, Any]
    weights: Sequence[WeightsUsed]
    topline: bool


class MethodRecord(_MethodOfAll, total=False):
    code: str
    trained_against: Sequence[str]
    caveats: Sequence[Caveat]


class _DatasetOfAll(TypedDict):
    name: str
    split: str
    root: str | None
    options: Mapping[str, Any]
    fingerprint: str
    clips: Sequence[str]


class DatasetRecord(_DatasetOfAll, total=False):
    boxes: str


class BoxesRecord(TypedDict):
    sources: Mapping[str, int]
    sha256: str | None


class _ProtocolOfAll(TypedDict):
    metric: str
    protocol: str
    weights: Sequence[WeightsUsed]


class JudgeRecord(_ProtocolOfAll, total=False):
    provenance: Mapping[str, str]
    boxes: BoxesRecord


class _ProtocolOfRun(TypedDict):
    options: Mapping[str, Any]


class ProtocolRecord(JudgeRecord, _ProtocolOfRun, total=False):
    source: str


class WeightsRecord(TypedDict):
    name: str
    sha256: str


class _SummaryOfAll(TypedDict):
    metric: str
    protocol: str
    column: str
    label: str
    mean: float | None
    ci95: tuple[float, float] | None
    n: int
    failed: int
    direction: Literal["up", "down"]
    unit: str
    decimals: Annotated[int, DECIMALS]
    weights: Sequence[WeightsRecord]
    reason: str | None


class SummaryRecord(_SummaryOfAll, total=False):
    """An entry of `summary` (`summary.ColumnSummary`)."""

    boxes: Mapping[str, int] | None


class _Tabled(TypedDict):
    method: MethodRecord
    dataset: DatasetRecord
    encoding: str
    finished: str | None
    summary: Sequence[SummaryRecord]


class TabledRecord(_Tabled, total=False):
    """As much of a run.json as a table needs; a probe and other programs write no more (`report.results`)."""

    seed: int | None
    protocols: Sequence[JudgeRecord]
    caveats: Sequence[Counted]
    boxes: Mapping[str, int] | None
    notes: Mapping[str, Sequence[str]]


class Hardware(TypedDict):
    device: str


class _RunOfAll(TypedDict):
    protocols: Sequence[ProtocolRecord]
    seed: int
    versions: Mapping[str, str]
    hardware: Hardware


class RunRecord(_Tabled, _RunOfAll, total=False):
    """The whole of run.json."""

    caveats: Sequence[Counted]
    boxes: Mapping[str, int] | None
    notes: Mapping[str, Sequence[str]]


class _MetricOfAll(TypedDict):
    metric: str
    protocol: str
    options: Mapping[str, Any]
    weights: Sequence[WeightsUsed]
    stats: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, str]


class MetricRecord(_MetricOfAll, total=False):
    provenance: Mapping[str, str] | None
    boxes: Sequence[str] | None


class _BaselineOfAll(TypedDict):
    method: MethodRecord
    dataset: DatasetRecord
    encoding: str
    seed: int
    tolerances: Mapping[str, float]
    speakers: Mapping[str, str]
    metrics: Sequence[MetricRecord]


class BaselineRecord(_BaselineOfAll, total=False):
    """A baseline file of `check` (`significance.scored`)."""

    caveats: Sequence[Counted]


class _GroupOfAll(TypedDict):
    label: str
    cases: int
    variance: float


class GroupRecord(_GroupOfAll, total=False):
    cluster: str


class Groups(TypedDict):
    groups: Mapping[str, Sequence[GroupRecord]]


class _ProbedMethod(TypedDict):
    weights: Sequence[WeightsUsed]


class _ProbeOfAll(TypedDict):
    probe: Groups


class ProbeRecord(_ProbeOfAll, total=False):
    """run.json of a probe, beside what every record has for a table (`TabledRecord`)."""

    method: _ProbedMethod
    finished: str | None
