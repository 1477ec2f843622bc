"""`load_run`, `load_method`, `load_metric`, `load_dataset`: what is on disk, and plugins to call by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syncdiff_bench import pipeline, plugins
from syncdiff_bench.contracts import Dataset, Method, Metric
from syncdiff_bench.reproduction.models import with_model
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.plan import load_methods, make_runtime
from syncdiff_bench.texts import metric_specs

Options = Mapping[str, object]


def load_run(path: str | Path) -> Run:
    """A run directory, finished or not. Raises UsageError where there is none, or where it is damaged."""
    return pipeline.load_whole(Path(path))


def load_method(name: str, options: Options | None = None, *, dataset: str = "pocket", device: str = "auto") -> Method:
    """A method to call by itself.

    dataset: name of the data that it will be given; a method that takes a model and is told none takes that of this
        data. Raises UsageError where there is none.

    >>> dataset = load_dataset("pocket")
    >>> clip = dataset.clip(dataset.clip_ids("test")[0])
    >>> frames = load_method("static")(clip)
    >>> frames.shape == clip.frames.shape
    True
    """
    (method,) = load_methods((name,), {name: options or {}}, make_runtime(device, dataset), with_model)
    return method


def load_metric(spec: str, *, device: str = "auto") -> Metric[Any]:
    """A metric to call by itself, prepared. Raises UsageError, and WeightsError where its weights are missing.

    >>> clip = load_dataset("pocket").clip("3000000000000000000/00001")
    >>> load_metric("ssim[region=full]")(clip.frames, clip.frames)
    {'ssim': 1.0}
    """
    (one,) = metric_specs([spec])
    metric = plugins.load_metric(one.name, one.options, make_runtime(device))
    metric.prepare()
    return metric


def load_dataset(name: str, data_root: str | Path | None = None, options: Options | None = None) -> Dataset:
    """A dataset to look into. Raises UsageError for a folder that is missing or is not of this dataset."""
    return plugins.load_dataset(name, path_or_none(data_root), options)


def path_or_none(path: str | Path | None) -> Path | None:
    """What was given as a path."""
    return None if path is None else Path(path)
