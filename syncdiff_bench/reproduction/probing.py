"""How much a latent varies with what should not matter: the paper's Table 4 (section 5.4; docs/spec/syncdiff.md#probe).

IDENT: one target and pose frame, identity frames from all over the clip: the spread is what identity frames leak.
POSE: one identity frame, the same phone of one speaker in several clips: the spread is what differs between them.

A method takes part by having `probe_layers` and `probe` as in `ProbedMethod`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.caveats import Counted, counted
from syncdiff_bench.contracts import FPS, Clip, Dataset
from syncdiff_bench.documents import read_json
from syncdiff_bench.errors import BenchError, UsageError, shown
from syncdiff_bench.files import read_text_file, write_whole
from syncdiff_bench.runs.layout import MANIFEST
from syncdiff_bench.runs.manifest import Identity, now
from syncdiff_bench.runs.plan import Plan
from syncdiff_bench.runs.records import SCHEMA
from syncdiff_bench.runs.schema import ProbeRecord
from syncdiff_bench.runs.sources import clip_caveats
from syncdiff_bench.statistics.student import Interval
from syncdiff_bench.statistics.trainings import grid_of, value_intervals

if TYPE_CHECKING:
    from syncdiff_bench.reproduction.rows import Job, Replicate
    from syncdiff_bench.runs.draws import Draw

Experiment = Literal["ident", "pose"]


@dataclass(frozen=True)
class FrameOf:
    """Frame `index` of a clip."""

    clip: Clip
    index: int


@dataclass(frozen=True)
class Case:
    """What one latent is made of: masked frame and audio of `target`, an identity frame, the pose frame before."""

    target: FrameOf
    identity: FrameOf
    pose: FrameOf


@runtime_checkable
class ProbedMethod(Protocol):
    """A method whose latents can be looked at."""

    probe_layers: tuple[str, ...]

    def probe(self, cases: Sequence[Case], *, layer: str, step: int | None, seed: int) -> NDArray[np.float32]:
        """(N, D), the latent of each case at one layer and sampling step (None: the last).

        All cases start from the same noise. Raises UsageError for a step that is not visited.
        """


@dataclass(frozen=True)
class Spread:
    """Variance over a group of cases, averaged over the latent's dimensions.

    label: the clip or phone it belongs to. cluster: what groups that resemble each other share, their speaker.
    """

    label: str
    cases: int
    variance: float
    cluster: str = ""


@dataclass(frozen=True)
class Group:
    """Cases whose latents are compared with each other. label, cluster: as in `Spread`."""

    experiment: Experiment
    label: str
    cases: Sequence[Case]
    cluster: str = ""


def variance(latents: NDArray[np.float32]) -> float:
    """Unbiased variance of every dimension over the rows of (N, D), N >= 2, averaged over dimensions."""
    return float(latents.astype(np.float64).var(axis=0, ddof=1).mean())


# --------------------------------------------------------------------------------------- which frames


def ident_cases(clip: Clip, at_most: int = 0) -> list[Case]:
    """Target frame 1, pose frame 0, every later frame as identity; at_most: evenly thinned to so many (0: all).

    Raises UsageError for a clip of fewer than four frames: one identity frame has no variance.
    """
    later = list(range(2, len(clip.frames)))
    if len(later) < 2:
        raise UsageError(f"clip {clip.id} has {len(clip.frames)} frames; IDENT needs 4 or more, leave it out")
    if 0 < at_most < len(later):
        later = [later[round(i)] for i in np.linspace(0, len(later) - 1, at_most)]
    return [Case(FrameOf(clip, 1), FrameOf(clip, index), FrameOf(clip, 0)) for index in later]


def pose_cases(poses: Sequence[FrameOf]) -> list[Case]:
    """The frame after each pose frame as target; the first frame of the first clip as identity of all.

    Raises UsageError for fewer than two pose frames, and for one without a frame after it.
    """
    if len(poses) < 2:
        raise UsageError(f"POSE needs two pose frames or more, found {len(poses)}; the paper takes five")
    for pose in poses:
        if not 0 <= pose.index < len(pose.clip.frames) - 1:
            last = len(pose.clip.frames) - 2
            raise UsageError(f"clip {pose.clip.id}: frame {pose.index} is no pose frame; give 0 to {last}")
    identity = FrameOf(poses[0].clip, 0)
    return [Case(FrameOf(pose.clip, pose.index + 1), identity, pose) for pose in poses]


def draw_clips(clip_ids: Sequence[str], count: int, seed: int) -> list[str]:
    """So many clips of a split, drawn at random and given in the split's order."""
    drawn = random.Random(seed).sample(range(len(clip_ids)), min(count, len(clip_ids)))
    return [clip_ids[i] for i in sorted(drawn)]


def read_poses(path: Path, dataset: Dataset) -> list[FrameOf]:
    """Labelled pose frames: a text file, `CLIP FRAME` per line, frames counted from 0.

    Raises UsageError naming the line that is not so.
    """
    try:
        lines = read_text_file(path).text.splitlines()
    except OSError as error:
        raise UsageError(f"{path}: not a readable list of pose frames ({error})") from None
    poses = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) != 2 or not words[1].isdecimal() or len(words[1]) > 9:
            raise UsageError(f"{path}:{number}: {shown(line.strip())} is not CLIP FRAME, frames counted from 0")
        try:
            poses.append(FrameOf(dataset.clip(words[0]), int(words[1])))
        except BenchError as error:
            raise UsageError(f"{path}:{number}: {error}") from None
    return poses


def find_poses(dataset: Dataset, clip_ids: Sequence[str], phone: str, count: int) -> list[FrameOf]:
    """The middle of the first such phone (or word) of each clip, of the speaker who says it in the most clips.

    Needs a dataset that knows when what is spoken. Raises UsageError where fewer than two clips of a speaker have it.
    """
    found: dict[str | None, list[FrameOf]] = {}
    heard: set[str] = set()
    for clip_id in clip_ids:
        clip = dataset.clip(clip_id)
        heard.update(spoken.text for spoken in clip.spoken)
        times = [(s.start + s.end) / 2 for s in clip.spoken if s.text == phone]
        if times:
            found.setdefault(clip.speaker, []).append(FrameOf(clip, int(times[0] * FPS)))
    poses = max(found.values(), key=len, default=[])[:count]
    if len(poses) < 2:
        known = (
            f"spoken there: {' '.join(sorted(heard))}" if heard else f"dataset {dataset.name} has no times of phones"
        )
        raise UsageError(
            f"no speaker says {phone!r} in two clips; {known}; or label frames by hand and give --pose-list"
        )
    return poses


def ident_groups(dataset: Dataset, clip_ids: Sequence[str], at_most: int = 0) -> list[Group]:
    """One group for each clip. at_most: as of `ident_cases`."""
    clips = [dataset.clip(clip_id) for clip_id in clip_ids]
    return [Group("ident", clip.id, ident_cases(clip, at_most), clip.speaker or "") for clip in clips]


def pose_group(label: str, poses: Sequence[FrameOf]) -> Group:
    return Group("pose", label, pose_cases(poses), poses[0].clip.speaker or "")


# ---------------------------------------------------------------------------------- measuring, recording


def probed(method: Any, layer: str) -> ProbedMethod:
    """The method. Raises UsageError for one without latents, or without that layer."""
    name: str = method.name
    if not isinstance(method, ProbedMethod):
        raise UsageError(f"method {name} has no latents to probe; syncdiff has")
    if layer not in method.probe_layers:
        raise UsageError(f"--layer {layer}: {name} is read at {' or '.join(method.probe_layers)}")
    return method


def measure(
    plan: Plan,
    groups: Sequence[Group],
    folder: Path,
    *,
    layer: str,
    step: int | None,
    seed: int,
    advance: Callable[[int], None] = lambda _cases: None,
) -> dict[str, list[Spread]]:
    """Experiment -> the spread of each group; and FOLDER/run.json in the form of a run's, which `paper tables` reads.

    plan: of one method. advance: told how many cases are finished. Raises as `probed` and `ProbedMethod.probe`.
    """
    (run,) = plan.runs
    method = probed(run.method, layer)
    spreads: dict[str, list[Spread]] = {}
    for group in groups:
        latents = method.probe(group.cases, layer=layer, step=step, seed=seed)
        spread = Spread(group.label, len(group.cases), variance(latents), group.cluster)
        spreads.setdefault(group.experiment, []).append(spread)
        advance(len(group.cases))
    _write_record(folder, run.identity, groups, spreads, {"layer": layer, "step": step, "seed": seed})
    return spreads


def summary_entry(experiment: str, *trainings: Sequence[Spread]) -> dict[str, Any]:
    """In the form of a run's summary: the mean over groups, with a 95 % interval over their clusters (normal), and over
    the trainings where there are several (`statistics.trainings`).

    trainings: the spread of each group in each training.
    """
    spreads = [one for training in trainings for one in training]
    mean = float(np.mean([spread.variance for spread in spreads]))
    names = [spread.cluster or f"#{index}" for training in trainings for index, spread in enumerate(training)]
    of_trainings = [number for number, training in enumerate(trainings) for _ in training]
    grid = grid_of((spread.variance for spread in spreads), names, of_trainings)
    interval: Interval | None = None
    if len(trainings) > 1:
        (interval,) = value_intervals(np.array([mean]), grid, lambda drawn: np.array([np.mean(drawn)]))
    elif len(grid[0]) > 1:
        centres = np.array([np.mean(values) for values in grid[0]])
        half = 1.96 * float(centres.std(ddof=1)) / len(centres) ** 0.5
        interval = mean - half, mean + half
    return {
        "metric": "variance",
        "protocol": experiment,
        "column": "var",
        "mean": mean,
        "ci95": None if interval is None else list(interval),
        "n": len(spreads),
        "failed": 0,
        "direction": "down",
    }


def _write_record(
    folder: Path,
    identity: Identity,
    groups: Sequence[Group],
    spreads: Mapping[str, Sequence[Spread]],
    settings: Mapping[str, Any],
) -> None:
    frames = (frame for group in groups for case in group.cases for frame in (case.target, case.identity, case.pose))
    clips = {frame.clip.id: frame.clip for frame in frames}
    found = {name: clip_caveats(clip) for name, clip in clips.items()}
    general = (Counted(one.kind, one.sentence, example=one.detail) for one in identity.caveats)
    whole = identity.to_json()
    record = {
        "schema": SCHEMA,
        "method": {key: whole["method"][key] for key in ("name", "title", "options", "weights")},
        "dataset": {key: whole["dataset"][key] for key in ("name", "split", "fingerprint")},
        "probe": {**settings, "groups": {name: [asdict(one) for one in group] for name, group in spreads.items()}},
        "finished": now(),
        "caveats": [caveat.to_json() for caveat in (*general, *counted(found, len(clips)))],
        "summary": [summary_entry(experiment, group) for experiment, group in spreads.items()],
    }
    write_whole(folder / MANIFEST, json.dumps(record, indent=1) + "\n")


def read_spreads(records: Sequence[Path]) -> dict[str, list[Spread]]:
    """Experiment -> the spread of each group, its variance averaged over the records of several draws.

    Raises UsageError for a run.json that is no record of a probe.
    """
    found: dict[str, dict[str, list[Spread]]] = {}
    for path in records:
        record = read_json(path, "is no record of a probe", "delete it", ProbeRecord)
        for experiment, entries in record["probe"]["groups"].items():
            for entry in entries:
                spread = Spread(entry["label"], entry["cases"], entry["variance"], entry.get("cluster", ""))
                found.setdefault(experiment, {}).setdefault(spread.label, []).append(spread)
    return {
        experiment: [
            replace(same[0], variance=sum(one.variance for one in same) / len(same)) for same in labels.values()
        ]
        for experiment, labels in found.items()
    }


def spreads_of(found: Mapping[Draw, Path]) -> dict[int | None, dict[str, list[Spread]]]:
    """Training -> experiment -> the spread of each group, its variance averaged over the seeds. found: draw -> folder.

    Raises UsageError as `read_spreads`.
    """
    records: dict[int | None, list[Path]] = {}
    for draw, folder in found.items():
        records.setdefault(draw.training, []).append(folder / MANIFEST)
    return {training: read_spreads(paths) for training, paths in records.items()}


# ----------------------------------------------------------------------------------------------- Table 4


def probe_run(replicate: Replicate, draw: Draw) -> None:
    """One run of a probed job, over all speakers where phones are timed.

    Raises UsageError for a method without latents, and where no speaker says a phone twice.
    """
    job, plan = replicate.job, replicate.plan
    layer = job.request.recipe.probe.layer
    (run,) = plan.runs
    probed(run.method, layer)
    groups = _job_groups(job, plan.dataset, run.identity.clips)
    measure(plan, groups, job.run_path(draw), layer=layer, step=None, seed=draw.seed)


def _job_groups(job: Job, dataset: Dataset, clip_ids: Sequence[str]) -> list[Group]:
    """The same for every model and seed, so that their variances compare."""
    recipe = job.request.recipe.probe
    groups = ident_groups(dataset, draw_clips(clip_ids, recipe.clips, 0))
    if recipe.poses:
        groups.append(pose_group(recipe.poses, read_poses(Path(job.request.inputs[recipe.poses]), dataset)))
    by_speaker: dict[str, list[str]] = {}
    for clip_id in clip_ids:
        by_speaker.setdefault(dataset.clip(clip_id).speaker or clip_id, []).append(clip_id)
    for speaker, ids in by_speaker.items():
        for phone in recipe.phones:
            try:
                poses = find_poses(dataset, ids, phone, recipe.videos)
            except UsageError:
                continue  # this speaker does not say it twice
            groups.append(Group("pose", f"{speaker} {phone}", pose_cases(poses), speaker))
    return groups
