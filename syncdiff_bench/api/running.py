"""`run` and `score`: what the commands of these names do, for methods and metrics that need not be installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, overload

from syncdiff_bench import pipeline
from syncdiff_bench.api.loading import Options, load_run, path_or_none
from syncdiff_bench.contracts import Metric
from syncdiff_bench.errors import UsageError, shown
from syncdiff_bench.given import require_importable
from syncdiff_bench.report.objects import Runs
from syncdiff_bench.reproduction.models import with_model
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.plan import MethodChoice, MetricChoice, Selection, make_plan, plan_given
from syncdiff_bench.runs.recorded import check_identity
from syncdiff_bench.runs.workers import Crew
from syncdiff_bench.texts import metric_specs

MetricAsked = str | Metric[Any] | type[Metric[Any]]
Metrics = MetricAsked | Sequence[MetricAsked]


@overload
def run(  # type: ignore[overload-overlap] # a text is a name, not several of one letter
    method: MethodChoice = ...,
    dataset: str = ...,
    *,
    data_root: str | Path | None = ...,
    split: str | None = ...,
    metrics: Metrics = ...,
    limit: int | None = ...,
    seed: int = ...,
    options: Options | None = ...,
    dataset_options: Options | None = ...,
    boxes: str = ...,
    encoding: str = ...,
    accept_damaged: bool = ...,
    out: str | Path | None = ...,
    device: str = ...,
    retry_failed: bool = ...,
    fresh: bool = ...,
    workers: int = ...,
) -> Run: ...
@overload
def run(
    method: Sequence[MethodChoice],
    dataset: str = ...,
    *,
    data_root: str | Path | None = ...,
    split: str | None = ...,
    metrics: Metrics = ...,
    limit: int | None = ...,
    seed: int = ...,
    options: Options | None = ...,
    dataset_options: Options | None = ...,
    boxes: str = ...,
    encoding: str = ...,
    accept_damaged: bool = ...,
    out: str | Path | None = ...,
    device: str = ...,
    retry_failed: bool = ...,
    fresh: bool = ...,
    workers: int = ...,
) -> Runs: ...
def run(
    method: MethodChoice | Sequence[MethodChoice] = "syncdiff",
    dataset: str = "pocket",
    *,
    data_root: str | Path | None = None,
    split: str | None = None,
    metrics: Metrics = (),
    limit: int | None = None,
    seed: int = 0,
    options: Options | None = None,
    dataset_options: Options | None = None,
    boxes: str = "auto",
    encoding: str = "lossless",
    accept_damaged: bool = False,
    out: str | Path | None = None,
    device: str = "auto",
    retry_failed: bool = False,
    fresh: bool = False,
    workers: int = 1,
) -> Run | Runs:
    """Generate and score, resuming what `out` holds already, as `syncdiff-bench run` does.

    method: a name; a `Method` that need not be installed, class or object; or several of these, which make `Runs`. One
        that is not installed is called by its `name` in run.json, and its code stands there as a digest (`given.py`):
        where the code changed, this is another run, which wants another `out`, or `fresh`.
    data_root: the dataset's folder, or its parent; None for that of `data add`, else of SYNCDIFF_BENCH_DATA.
    metrics: specs such as "psnr" or "lpips[net=vgg]", or metrics, installed or not; none for the dataset's defaults.
        What a metric measured is measured again where its code changed.
    options: of the method, with values of the types that its Options class has; of several, method -> its options. So
        dataset_options.
    boxes: where face boxes come from, as `--boxes`.
    accept_damaged: use damaged files as far as they go; else such a clip fails.
    out: folder that holds the run's directory `<method>/`; `runs/<dataset>-<split>` by default.
    retry_failed: try clips again whose failure is recorded.
    fresh: delete first what a former run left there.
    workers: processes at work, this one among them; 0 for as many as pay. They import the script that calls this: its
        work belongs below `if __name__ == "__main__":`. An object with attributes that its Options do not make works in
        this process alone.

    Raises UsageError for what cannot be, WeightsError where the method lacks weights. A clip that fails is a line of
    `scores` with a reason, never an exception.

    >>> done = run("static", limit=2, metrics="psnr", out=folder)
    >>> done.finished, len(done.scores)
    (True, 2)
    >>> [entry.column for entry in done.summary]
    ['psnr']
    >>> both = run(["gt", "static"], limit=2, metrics="psnr", out=folder)
    >>> both["static"].path == done.path
    True
    """
    several = isinstance(method, Sequence) and not isinstance(method, str)
    methods = tuple(cast("Sequence[MethodChoice]", method)) if several else (cast("MethodChoice", method),)
    if not methods:
        raise UsageError("run: of which methods? give a name, a Method, or several of these")
    selection = Selection(
        methods=methods,
        dataset=dataset,
        data_root=path_or_none(data_root),
        split=split,
        metrics=_metrics(metrics),
        limit=limit,
        seed=seed,
        out=path_or_none(out),
        device=device,
        options=_options(methods, options or {}, several=several),
        dataset_options=dataset_options or {},
        boxes=boxes,
        encoding=encoding,
        accept_damaged=accept_damaged,
    )
    plan = make_plan(selection, model_of=with_model)
    for run_plan in plan.runs:
        if not fresh:
            check_identity(run_plan.path, run_plan.identity)
        if workers > 1 and run_plan.method.any_threads:
            require_importable("method", run_plan.method)
    for metric in plan.metrics if workers > 1 else ():
        require_importable("metric", metric)
    with Crew(workers) as crew:
        for run_plan in plan.runs:
            pipeline.generate_run(plan, run_plan, retry_failed=retry_failed, fresh=fresh, crew=crew)
        for run_plan in plan.runs:
            pipeline.score_run(plan, run_plan, retry_failed=retry_failed, crew=crew)
    done = [load_run(run_plan.path) for run_plan in plan.runs]
    return Runs(done) if several else done[0]


def score(
    videos: str | Path,
    reference: str | Path | None = None,
    *,
    align: Literal["frames", "faces"] = "frames",
    metrics: Metrics = (),
    boxes: str = "auto",
    out: str | Path | None = None,
    device: str = "auto",
    retry_failed: bool = False,
    fresh: bool = False,
    workers: int = 1,
) -> Run:
    """Score a folder of videos, with or without a folder of references of the same names.

    align: "faces" for videos of another shape or crop than their references.
    metrics: as for `run`.
    boxes: where face boxes come from, as `--boxes`.
    retry_failed: try clips again whose failure is recorded.
    fresh: delete first what a former run left in `out`, not the videos.
    workers: as for `run`.

    Raises UsageError for folders that are missing or hold no videos.
    """
    if align == "faces" and reference is None:
        raise UsageError('align="faces" compares videos with a reference; give one')
    selection = Selection(metrics=_metrics(metrics), align=align, boxes=boxes, out=path_or_none(out), device=device)
    plan = plan_given(selection, Path(videos), path_or_none(reference))
    for metric in plan.metrics if workers > 1 else ():
        require_importable("metric", metric)
    with Crew(workers) as crew:
        pipeline.score_videos(plan, retry_failed=retry_failed, fresh=fresh, crew=crew)
    return load_run(plan.path)


def _metrics(metrics: Metrics) -> tuple[MetricChoice, ...]:
    asked = (metrics,) if isinstance(metrics, str | Metric | type) else tuple(metrics)
    found: list[MetricChoice] = []
    for one in asked:
        found += metric_specs([one]) if isinstance(one, str) else [one]
    return tuple(found)


def _options(methods: Iterable[MethodChoice], options: Options, *, several: bool) -> Mapping[str, Mapping[str, Any]]:
    """Method -> its options."""
    names = [one if isinstance(one, str) else str(getattr(one, "name", "")) for one in methods]
    if not several:
        return dict.fromkeys(names, options)
    for name, values in options.items():
        if name not in names or not isinstance(values, Mapping):
            raise UsageError(f"options of several methods: {shown(name)}={shown(values)}; give {names[0]!r}: {{...}}")
    return cast("Mapping[str, Mapping[str, Any]]", options)
