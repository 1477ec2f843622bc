"""The entries of `protocols` in run.json, and the metrics that they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from syncdiff_bench import plugins
from syncdiff_bench.contracts import Metric, Runtime
from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import options_to_json


def metric_entry(metric: Metric[Any]) -> dict[str, Any]:
    """How run.json describes a metric; the digests of its weights are entered once it is prepared."""
    return {
        "metric": metric.name,
        "protocol": metric.protocol,
        "options": options_to_json(metric.options),
        "source": metric.source,
        "weights": [],
        "provenance": {},
    }


def joined_metrics(
    manifest: Mapping[str, Any],
    complete: Iterable[tuple[str, str]],
    asked: Sequence[Metric[Any]],
    runtime: Runtime,
) -> tuple[Metric[Any], ...]:
    """The metrics of a run after asking for `asked`: those it holds complete scores of come first and stay.

    complete: (metric, protocol) pairs that have a line for every clip.
    """
    kept = set(complete)
    new = {(metric.name, metric.protocol): metric for metric in asked}
    joined: dict[tuple[str, str], Metric[Any]] = {}
    for entry in manifest["protocols"]:
        key = (entry["metric"], entry["protocol"])
        if key in new:
            joined[key] = new.pop(key)
        elif key in kept:
            try:
                joined[key] = recorded_metric(entry, runtime)
            except UsageError as error:
                raise UsageError(
                    f"{error}; the run holds scores by it: ask for it too, or choose another out"
                ) from None
    return (*joined.values(), *new.values())


def recorded_metric(entry: Mapping[str, Any], runtime: Runtime | None = None) -> Metric[Any]:
    """The metric of an entry of `protocols` in run.json, under the protocol that its scores were made by.

    A protocol that names weights by their digest would have another name where they were replaced or removed.
    """
    metric = plugins.load_metric(entry["metric"], entry["options"], runtime)
    if metric.protocol == entry["protocol"]:
        return metric
    cls = type(metric)
    anew = (recorded_metric, (dict(entry), metric.runtime))  # in another process
    of_record = {"protocol": entry["protocol"], "__reduce__": lambda _self: anew, "__module__": cls.__module__}
    kept: Metric[Any] = type(cls.__name__, (cls,), of_record)(metric.options, metric.runtime)
    return kept
