"""The command line's stages from Python: `from syncdiff_bench import run, score, load_run`.

Arguments are those of `syncdiff-bench run` and `score`, results are run directories read back. Plugins alone:
`load_method`, `load_metric`, `load_dataset`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from syncdiff_bench import pipeline, plugins
from syncdiff_bench.contracts import Dataset, Method, Metric
from syncdiff_bench.errors import UsageError
from syncdiff_bench.reproduction.models import with_model
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.plan import Selection, load_methods, make_plan, make_runtime, plan_given
from syncdiff_bench.runs.recorded import check_identity
from syncdiff_bench.runs.workers import Crew
from syncdiff_bench.texts import metric_specs

if TYPE_CHECKING:
    from syncdiff_bench.dubbing.making import Written
    from syncdiff_bench.dubbing.material import Loop
    from syncdiff_bench.faces.framing import Area

Options = Mapping[str, object]


def run(
    method: str = "syncdiff",
    dataset: str = "pocket",
    *,
    data_root: str | Path | None = None,
    split: str | None = None,
    metrics: Sequence[str] = (),
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
) -> Run:
    """Generate and score, resuming what `out` holds already, as `syncdiff-bench run` does.

    metrics: specs such as "psnr" or "lpips[net=vgg]"; none for the dataset's defaults.
    options: of the method, with values of the types that its Options class has; so dataset_options.
    boxes: where face boxes come from, as `--boxes`.
    accept_damaged: use damaged files as far as they go; else such a clip fails.
    out: folder that holds the run's directory `<method>/`; `runs/<dataset>-<split>` by default.
    retry_failed: try clips again whose failure is recorded.
    fresh: delete first what a former run left there.
    workers: processes at work, this one among them; 0 for as many as pay. They import the script that calls this: its
        work belongs below `if __name__ == "__main__":`.

    Raises UsageError for what cannot be, WeightsError where the method lacks weights. A clip that fails is a line of
    `scores` with a reason, never an exception.

    >>> done = run("static", limit=2, metrics=["psnr"], out=folder)
    >>> done.finished, len(done.scores)
    (True, 2)
    >>> [entry.column for entry in done.summary]
    ['psnr']
    """
    selection = Selection(
        methods=(method,),
        dataset=dataset,
        data_root=_path(data_root),
        split=split,
        metrics=metric_specs(metrics),
        limit=limit,
        seed=seed,
        out=_path(out),
        device=device,
        options={method: options or {}},
        dataset_options=dataset_options or {},
        boxes=boxes,
        encoding=encoding,
        accept_damaged=accept_damaged,
    )
    plan = make_plan(selection, model_of=with_model)
    (run_plan,) = plan.runs
    if not fresh:
        check_identity(run_plan.path, run_plan.identity)
    with Crew(workers) as crew:
        pipeline.generate_run(plan, run_plan, retry_failed=retry_failed, fresh=fresh, crew=crew)
        pipeline.score_run(plan, run_plan, retry_failed=retry_failed, crew=crew)
    return load_run(run_plan.path)


def score(
    videos: str | Path,
    reference: str | Path | None = None,
    *,
    align: Literal["frames", "faces"] = "frames",
    metrics: Sequence[str] = (),
    boxes: str = "auto",
    out: str | Path | None = None,
    device: str = "auto",
    retry_failed: bool = False,
    fresh: bool = False,
    workers: int = 1,
) -> Run:
    """Score a folder of videos, with or without a folder of references of the same names.

    align: "faces" for videos of another shape or crop than their references.
    boxes: where face boxes come from, as `--boxes`.
    retry_failed: try clips again whose failure is recorded.
    fresh: delete first what a former run left in `out`, not the videos.
    workers: as for `run`.

    Raises UsageError for folders that are missing or hold no videos.
    """
    if align == "faces" and reference is None:
        raise UsageError('align="faces" compares videos with a reference; give one')
    selection = Selection(metrics=metric_specs(metrics), align=align, boxes=boxes, out=_path(out), device=device)
    plan = plan_given(selection, Path(videos), _path(reference))
    with Crew(workers) as crew:
        pipeline.score_videos(plan, retry_failed=retry_failed, fresh=fresh, crew=crew)
    return load_run(plan.path)


def dub(
    face: str | Path,
    audio: str | Path,
    out: str | Path | None = None,
    *,
    method: str | Sequence[str] = "wav2lip",
    options: Options | None = None,
    compare: bool = False,
    loop: Loop = "pingpong",
    area: Area = "mouth",
    boxes: str = "auto",
    seed: int = 0,
    device: str = "auto",
) -> Written:
    """Make a face say what is heard, as `syncdiff-bench dub` does; returns the file and what was done to it.

    face: a photo or a video of any size, rate and orientation. audio: anything with sound.
    out: an mp4; FACE-AUDIO.mp4 in the working folder by default.
    method: one or several, which then stand side by side. options: of the method; of several by name, as
        {"wav2lip": {"checkpoint": "pocket"}}.
    compare: FACE itself in a first column.
    loop: what a video does that is shorter than the sound: "pingpong", "hold" or "cut".
    area: what is pasted back: "mouth" (the lower half of the face), "face", or "crop" (the square around it).
    boxes: "auto", a detector's name, "centred", a .npy with a row per picture (or its folder), or "x1,y1,x2,y2".

    Raises UsageError for what cannot be, WeightsError where a method lacks weights, ClipError for files that cannot be
    read or in which there is no face or no sound.
    """
    from syncdiff_bench.dubbing.dub import Request, make, make_ready

    names = (method,) if isinstance(method, str) else tuple(method)
    given: Mapping[str, Any] = options or {}
    if isinstance(method, str):
        given = {method: given}
    elif not all(name in names and isinstance(values, Mapping) for name, values in given.items()):
        raise UsageError("options of several methods are given by name: {method: {option: value}}")
    request = Request(Path(face), Path(audio), names, given, _path(out), compare, loop, area, boxes, seed, device)
    return make(make_ready(request))


def load_run(path: str | Path) -> Run:
    """A run directory, finished or not. Raises UsageError where there is none, or where it is damaged."""
    return pipeline.load_whole(Path(path))


def load_method(name: str, options: Options | None = None, *, dataset: str = "pocket", device: str = "auto") -> Method:
    """A method to call by itself.

    dataset: name of the data that it will be given; a method that takes a model and is told none takes that of this
        data. Raises UsageError where there is none.

    >>> dataset = load_dataset("pocket")
    >>> clip = dataset.clip(dataset.clip_ids("test")[0])
    >>> frames = dict(load_method("static").generate([clip], seed=0))[clip.id]
    >>> frames.shape == clip.frames.shape
    True
    """
    (method,) = load_methods((name,), {name: options or {}}, make_runtime(device, dataset), with_model)
    return method


def load_metric(spec: str, *, device: str = "auto") -> Metric[Any]:
    """A metric to call by itself, prepared. Raises UsageError, and WeightsError where its weights are missing.

    >>> from syncdiff_bench.contracts import Pair
    >>> dataset = load_dataset("pocket")
    >>> one, other = (dataset.clip(clip_id) for clip_id in dataset.clip_ids("test")[:2])
    >>> psnr = load_metric("psnr")
    >>> psnr.values(psnr.measure(Pair(one, one)))
    {'psnr': None}
    """
    (one,) = metric_specs([spec])
    metric = plugins.load_metric(one.name, one.options, make_runtime(device))
    metric.prepare()
    return metric


def load_dataset(name: str, data_root: str | Path | None = None, options: Options | None = None) -> Dataset:
    """A dataset to look into. Raises UsageError for a folder that is missing or is not of this dataset."""
    return plugins.load_dataset(name, _path(data_root), options)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
