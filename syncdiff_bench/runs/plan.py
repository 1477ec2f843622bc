"""From what the command line asks for to one plan per method: generate what, on what, scored how."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from syncdiff_bench import plugins
from syncdiff_bench.caveats import Caveat, as_caveats
from syncdiff_bench.contracts import Dataset, Method, Metric, Runtime
from syncdiff_bench.errors import UsageError
from syncdiff_bench.faults import blamed
from syncdiff_bench.given import accepted, code_of, working
from syncdiff_bench.media.video_folder import VideoFolder, odd_files_caveats
from syncdiff_bench.options import options_to_json
from syncdiff_bench.platforms import nvidia_driver
from syncdiff_bench.runs.directory import RunDirectory
from syncdiff_bench.runs.layout import check_id
from syncdiff_bench.runs.manifest import AS_GIVEN, Identity
from syncdiff_bench.runs.sources import GeneratedVideos, GivenVideos, VideoSource
from syncdiff_bench.texts import Spec, metric_specs
from syncdiff_bench.views import AUTO, boxes_of_clips

# (method, its options as given, dataset) -> the options with the model that they do not name
ModelOf = Callable[[str, Mapping[str, Any], str], Mapping[str, Any]]
# by name, or what a caller of the Python API has, installed or not
MethodChoice = str | Method | type[Method]
MetricChoice = Spec | Metric[Any] | type[Metric[Any]]
OWN = "own-"  # before the name of a region that is cut by each side's own boxes
DEFAULT_METRICS = ("psnr", "ssim", "lpips", "psnr[protocol=talklip]")


@dataclass(frozen=True)
class Selection:
    """What a command line asks for.

    metrics: none means the defaults.
    options: method -> values of its options.
    dataset_options: values of the dataset's options.
    boxes: short for the dataset's option of that name.
    limit: the first so many clips only.
    out: None for `runs/<dataset>-<split>`.
    align: of given videos, "faces" for those of another crop than their references: face against face, either side cut
        by boxes of its own, in columns of their own.
    accept_damaged: short for the dataset's option of that name.
    """

    methods: tuple[MethodChoice, ...] = ("syncdiff",)
    dataset: str = "pocket"
    data_root: Path | None = None
    split: str | None = None
    metrics: tuple[MetricChoice, ...] = ()
    limit: int | None = None
    seed: int = 0
    out: Path | None = None
    device: str = "auto"
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dataset_options: Mapping[str, Any] = field(default_factory=dict)
    boxes: str = AUTO
    align: Literal["frames", "faces"] = "frames"
    encoding: str = "lossless"
    accept_damaged: bool = False

    @property
    def acceptance(self) -> dict[str, bool]:
        """`accept_damaged` as a dataset's option, where it is given."""
        return {"accept_damaged": True} if self.accept_damaged else {}

    @property
    def box_source(self) -> dict[str, str]:
        """`boxes` as a dataset's option, where it is not the default."""
        return {} if self.boxes == AUTO else {"boxes": self.boxes}


@dataclass(frozen=True)
class RunPlan:
    """One method on one split. path: its run directory."""

    path: Path
    identity: Identity
    method: Method


@dataclass(frozen=True)
class Plan:
    """All runs of one command. out: the folder that holds them and their leaderboard."""

    out: Path
    dataset: Dataset
    runs: tuple[RunPlan, ...]
    metrics: tuple[Metric[Any], ...]
    runtime: Runtime

    def scoring(self, run: RunPlan, *, partly: bool = False) -> ScorePlan:
        """The second stage of one of its runs. partly: of the videos that are there already."""

        def videos(opened: RunDirectory) -> VideoSource:
            return GeneratedVideos(opened, self.dataset, partly=partly)

        return ScorePlan(run.path, run.identity, videos, self.metrics, self.runtime)


@dataclass(frozen=True)
class ScorePlan:
    """Videos to score.

    path: the run directory.
    videos: opens them for the opened run directory; raises UsageError where they are not there.
    given: somebody else made them, and the run directory holds none.
    """

    path: Path
    identity: Identity
    videos: Callable[[RunDirectory], VideoSource]
    metrics: tuple[Metric[Any], ...]
    runtime: Runtime
    given: bool = False


def make_plan(selection: Selection, *, with_metrics: bool = True, model_of: ModelOf | None = None) -> Plan:
    """Load the plugins and fix the clip list; decodes nothing.

    with_metrics: False for a plan that only generates. model_of: as for `load_methods`.
    Raises UsageError for anything on the command line that cannot be, WeightsError where a method lacks its
    weights.
    """
    check_encoding(selection.encoding)
    given = {**selection.dataset_options, **selection.acceptance, **selection.box_source}
    dataset = plugins.load_dataset(selection.dataset, selection.data_root, given)
    runtime = make_runtime(selection.device, dataset.name)
    methods = load_methods(selection.methods, selection.options, runtime, model_of)
    specs = (selection.metrics or default_metrics(dataset)) if with_metrics else ()
    metrics = load_metrics(specs, runtime, dataset)
    with blamed(f"dataset {dataset.name}"):
        data = _of_data(dataset, selection.split or dataset.default_split, selection, selection.encoding)
    out = selection.out or default_out(dataset.name, data.split, selection.limit)
    runs = tuple(RunPlan(out / method.name, _of_method(data, method, dataset), method) for method in methods)
    return Plan(out, dataset, runs, metrics, runtime)


def _of_data(dataset: Dataset, split: str, selection: Selection, encoding: str) -> Identity:
    """What the runs of all methods on a split have in common."""
    clips = choose_clips(dataset, split, selection.limit)
    return Identity(
        method="",
        options={},
        weights=(),
        dataset=dataset.name,
        split=split,
        fingerprint=dataset.fingerprint(split),
        clips=clips,
        dataset_options=options_to_json(dataset.options),
        seed=selection.seed,
        encoding=encoding,
        boxes=boxes_of_clips(dataset, clips),
        caveats=odd_files_caveats([f"{one.where} {one.message}" for one in dataset.odd_files(split)]),
        root=None if dataset.root is None else str(dataset.root.absolute()),
    )


def _of_method(data: Identity, method: Method, dataset: Dataset) -> Identity:
    with blamed(f"method {method.name}"):
        return _with_method(data, method, dataset)


def _with_method(data: Identity, method: Method, dataset: Dataset) -> Identity:
    folder = method.given_videos()
    unclaimed = () if folder is None else folder.unclaimed(dataset.clip_ids(data.split))
    return replace(
        data,
        method=method.name,
        options=options_to_json(method.options),
        weights=tuple(method.weights_used()),
        code=code_of("method", method),
        title=method.title,
        topline=bool(getattr(method, "topline", False)),
        trained_against=frozenset(getattr(method, "trained_against", ())),
        caveats=(*data.caveats, *_general(method), *unclaimed),
    )


def _general(method: Method) -> tuple[Caveat, ...]:
    """What the method says of all that it makes. Raises UsageError where it cannot say that."""
    with blamed(f"method {method.name}: general_caveats"):
        return as_caveats(method.general_caveats())


def plan_given(selection: Selection, videos: Path, reference: Path | None) -> ScorePlan:
    """Videos paired with references by name; without a reference, the videos alone.

    Raises UsageError for folders that are missing or hold no videos.
    """
    runtime = make_runtime(selection.device)
    short = {**selection.acceptance, **selection.box_source}
    given = plugins.load_dataset("folder", videos, short if reference is None else selection.acceptance)
    target = None if reference is None else plugins.load_dataset("folder", reference, short)
    # The clip list is that of the reference: a video that is missing is a failure, not a shorter list.
    dataset = given if target is None else target
    metrics = load_metrics(selection.metrics or default_metrics(dataset), runtime, dataset)
    align = {"align": "faces"} if selection.align == "faces" else {}
    if align:
        metrics = tuple(map(_by_own_boxes, metrics))
    given.clip_ids(given.default_split)  # raises where the folder holds no video at all
    folder = VideoFolder(videos)
    data = _of_data(dataset, dataset.default_split, selection, AS_GIVEN)
    unclaimed = () if target is None else folder.unclaimed(target.clip_ids(target.default_split))
    identity = replace(
        data,
        method="videos",
        # The videos themselves are no part of it: scores are bound to the digest of the video that they measured.
        options={"folder": str(videos.absolute()), **align},
        title="Given videos",
        caveats=tuple(dict.fromkeys((*data.caveats, *unclaimed))),
        root=str((reference or videos).absolute()),
    )
    out = selection.out or Path("runs") / f"videos-{videos.absolute().name}"

    def source(run: RunDirectory) -> VideoSource:
        return GivenVideos(run, given, folder, target)

    return ScorePlan(out / identity.method, identity, source, metrics, runtime, given=True)


def _by_own_boxes(metric: Metric[Any]) -> Metric[Any]:
    """The metric on the same region cut by each side's own boxes; itself where it knows no such region."""
    region = getattr(metric.options, "region", "")
    if not isinstance(region, str) or region.startswith(OWN):
        return metric
    try:
        return type(metric)(replace(metric.options, region=OWN + region), metric.runtime)
    except (UsageError, TypeError):
        return metric


def default_out(dataset: str, split: str, limit: int | None) -> Path:
    """A shortened run gets a folder of its own: it can never be resumed into the whole one."""
    return Path("runs") / (f"{dataset}-{split}" if limit is None else f"{dataset}-{split}-first{limit}")


def load_methods(
    chosen: Iterable[MethodChoice],
    options: Mapping[str, Mapping[str, Any]],
    runtime: Runtime,
    model_of: ModelOf | None = None,
) -> tuple[Method, ...]:
    """The methods, each once, with their options.

    model_of: names the model of `runtime.dataset` where the settings name none (`reproduction.models.with_model`);
        None leaves that to the method.
    Raises UsageError, also where `model_of` finds none, and where two that were given share a name.
    """
    found: dict[str, Method] = {}
    for one in chosen:
        name = one if isinstance(one, str) else accepted("method", one)
        if name in found and not isinstance(one, str):
            raise UsageError(f"two methods are called {name!r}; run them one by one, each with an out= of its own")
        values = options.get(name, {})
        if isinstance(one, Method):
            found[name] = working("method", one, values, runtime)
        else:
            values = values if model_of is None else model_of(name, values, runtime.dataset)
            found[name] = plugins.load_method(name, values, runtime)
    return tuple(found.values())


def load_metrics(
    chosen: Iterable[MetricChoice], runtime: Runtime, dataset: Dataset | type[Dataset]
) -> tuple[Metric[Any], ...]:
    """The metrics as they measure a dataset, each once.

    Raises UsageError where two of them differ in options but claim the same name and protocol.
    """
    found: dict[tuple[str, str], Metric[Any]] = {}
    for one in chosen:
        if isinstance(one, Metric):
            metric = working("metric", one, {}, runtime)
        else:
            spec = one if isinstance(one, Spec) else Spec(accepted("metric", one), {})
            metric = plugins.load_metric(spec.name, spec.options, runtime)
        metric = metric.for_dataset(dataset)
        same = found.setdefault((metric.name, metric.protocol), metric)
        if same.options != metric.options:
            raise UsageError(
                f"--metrics: two different settings of {metric.name} call themselves protocol "
                f"{metric.protocol!r}; score one of them per run"
            )
    return tuple(found.values())


def default_metrics(dataset: Dataset) -> tuple[Spec, ...]:
    """The metrics of every run, and those that the dataset brings of its own (`default_metrics`)."""
    return metric_specs((*DEFAULT_METRICS, *getattr(dataset, "default_metrics", ())))


def choose_clips(dataset: Dataset, split: str, limit: int | None) -> tuple[str, ...]:
    """The clip ids of a run, in the dataset's order. Raises UsageError for ids that cannot name a video."""
    clips = tuple(dataset.clip_ids(split))[:limit]
    if not clips:
        raise UsageError(f"split {split!r} of {dataset.name} has no clips; choose another --split or --data-root")
    seen: set[str] = set()
    for clip_id in clips:
        check_id(clip_id)
        if clip_id in seen:
            raise UsageError(f"clip id {clip_id!r} occurs twice in split {split!r} of {dataset.name}")
        seen.add(clip_id)
    return clips


def make_runtime(device: str, dataset: str = "") -> Runtime:
    """What plugins are lent. dataset: name of the data that they will see, "" where nobody knows.

    "auto" is the first GPU where there is one (a rank takes its own), else the CPU.
    """
    from syncdiff_bench.weights.store import WeightsStore

    return Runtime(device=resolve_device(device), weights=WeightsStore(), dataset=dataset)


def resolve_device(device: str) -> str:
    """Check a torch device string. Imports torch only where a GPU is asked for or its driver shows."""
    kind = device.partition(":")[0]
    if kind == "cpu" or (kind == "auto" and not nvidia_driver()):
        return "cpu"
    if kind not in ("auto", "cuda", "mps"):
        raise UsageError(f"unknown --device {device!r}; give auto, cpu, cuda, cuda:N or mps")
    import torch

    if kind == "mps":
        available = torch.backends.mps.is_available()
    else:
        index = device.partition(":")[2] or "0"
        available = index.isdigit() and int(index) < torch.cuda.device_count()
    if available:
        return _cuda_of_rank() if device in ("auto", "cuda") else device
    if kind == "auto":
        return "cpu"
    raise UsageError(f"--device {device}: torch {torch.__version__} sees no such device; use --device cpu")


def _cuda_of_rank() -> str:
    """ "cuda", or for one of several processes on this machine its own GPU ("cuda:3")."""
    import torch

    local = os.environ.get("LOCAL_RANK")
    return "cuda" if local is None else f"cuda:{int(local) % torch.cuda.device_count()}"


def check_encoding(encoding: str) -> None:
    """Raises UsageError for an unknown encoding before anything is generated."""
    from syncdiff_bench.media.writing import ENCODINGS

    if encoding not in ENCODINGS:
        raise UsageError(f"unknown --encoding {encoding!r}; choose one of: {', '.join(ENCODINGS)}")
