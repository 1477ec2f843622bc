"""The group `data`: a dataset on disk held to its promises, and what is made once and read many times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncdiff_bench.characters import one_line
from syncdiff_bench.cli import offers
from syncdiff_bench.cli.commands import DIR, NAME, N, command, option, say, with_options
from syncdiff_bench.cli.options import (
    BOXES,
    CLIPS,
    CLIPS_OF_SPLITS,
    CONFIG_SETTINGS,
    DATA_ROOT,
    DATASET,
    DATASET_SETTINGS,
    DEVICE,
    DRY_RUN,
    FRESH,
    PROGRESS,
    SHARD,
    VARIANT,
    dataset_values,
    parse_shard,
    told_root,
)

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Dataset, Finding
    from syncdiff_bench.preparing import Prepared

SHOWN_FAILURES = 10
COLOURS = {"ok": "green", "note": "yellow", "error": "red"}


@dataclass(frozen=True)
class Selection:
    """The clips that the options choose."""

    dataset: Dataset
    split: str
    clip_ids: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.dataset.name} {self.split}"


def _selections(
    *,
    dataset: str,
    data_root: Path | None,
    dataset_settings: tuple[str, ...],
    splits: tuple[str, ...],
    limit: int | None,
) -> list[Selection]:
    """The first `limit` clips of each split; "all" stands for every split that is there.

    Raises UsageError, before anything is done, for a split that is none.
    """
    from syncdiff_bench.errors import UsageError
    from syncdiff_bench.plugins import load_dataset

    told_root(dataset, data_root)
    opened = load_dataset(dataset, data_root, dataset_values(dataset, dataset_settings))
    there = opened.splits()
    wanted = [name for split in splits or (opened.default_split,) for name in _named(split, there)]
    try:
        return [Selection(opened, split, tuple(opened.clip_ids(split)[:limit])) for split in dict.fromkeys(wanted)]
    except UsageError as error:
        told = str(error)
        missing = [split for split in there if split not in told]
        raise UsageError(f"{told} (splits found: {', '.join(there)})" if missing else told) from None


def _named(split: str, there: Sequence[str]) -> Sequence[str]:
    return there if split == "all" and "all" not in there else (split,)


# --------------------------------------------------------------------------------------------- verify


@command(
    examples="""
  syncdiff-bench data verify --dataset lrs3 --data-root /data/lrs3
  syncdiff-bench data verify --dataset lrs2 --data-root /data/lrs2 --limit 20""",
    closing="Exit codes: 0 no errors (notes are fine); 1 errors were found; 2 the dataset cannot be used at all.",
)
@with_options(*CLIPS)
@click.pass_context
def verify(ctx: click.Context, /, *, split: str | None, **chosen: Any) -> None:
    """Check a dataset on disk, clip by clip.

    Each clip of a split has to decode, and to have the rate, size, sound and words that it should have.
    """
    (selection,) = _selections(splits=(split,) if split else (), **chosen)
    title = f"{selection.dataset.name}, split {selection.split}"
    errors = _report(findings_of(selection), title, len(selection.clip_ids))
    ctx.exit(1 if errors else 0)


def findings_of(selection: Selection) -> Iterator[Finding]:
    """Findings about the split and about the clips chosen, its first ones; at most one clip more is opened."""
    dataset, split = selection.dataset, selection.split
    later = set(dataset.clip_ids(split)[len(selection.clip_ids) :])
    for finding in dataset.verify(split):
        if finding.where in later:
            return
        yield finding


def _report(findings: Iterator[Finding], title: str, n_clips: int) -> int:
    """Print notes and errors as they are found, then the counts; return the number of errors."""
    levels: Counter[str] = Counter()
    faulty: set[str] = set()
    for finding in findings:
        levels[finding.level] += 1
        if finding.level == "error":
            faulty.add(finding.where)
        if finding.level != "ok":
            told = one_line(f"{finding.where}: {finding.message}")
            say(told, label=f"{finding.level:5} ", fg=COLOURS[finding.level], bold=finding.level == "error")
    counts = f"{_counted(levels['error'], 'error')}, {_counted(levels['note'], 'note')}"
    verdict = "fit for use" if not faulty else f"{_counted(len(faulty), 'place')} to mend"
    colour = COLOURS["error" if faulty else "ok"]
    say(f"{title}: {_counted(n_clips, 'clip')} checked, {counts}: {verdict}", fg=colour, bold=bool(faulty))
    return levels["error"]


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


# -------------------------------------------------------------------------------------------- prepare


@command(
    keeps=True,
    examples="""
  syncdiff-bench data prepare faces --dataset lrs3 --data-root /data/lrs3
  syncdiff-bench run --dataset lrs3 --data-root /data/lrs3
  syncdiff-bench data prepare faces --dataset lrs2 --data-root DIR --split all
      of a training too""",
)
@with_options(*CLIPS_OF_SPLITS)
@option("--detector", NAME, "s3fd, dlib-hog, or auto: s3fd where its weights are.", default="auto")
@DEVICE
def faces(detector: str, device: str, **chosen: Any) -> None:
    """Detect the face of every clip, once.

    Goes on where it was interrupted. Methods and metrics would do so when they need the boxes; this does it ahead, on
    a GPU. A training that needs boxes waits for nobody: it wants its splits prepared. S3FD's are taken before dlib's,
    unless --boxes says otherwise. Boxes of another tool are used without preparing anything: `boxes/<clip id>.npy` in
    the dataset, or --boxes DIR.
    """
    from syncdiff_bench.faces.detection import choose_detector
    from syncdiff_bench.preparing import prepare_clip
    from syncdiff_bench.runs.plan import resolve_device

    selections = _selections(**chosen)
    chosen_one, passed_over = choose_detector(detector, resolve_device(device))
    for reason in passed_over:
        say(f"warning: passed over {reason}", err=True)
    _detect(
        selections,
        "faces",
        lambda dataset, clip_id: prepare_clip(dataset, clip_id, chosen_one),
        source=chosen_one.identity,
        own="boxes",
        faceless="without any face",
    )


@command(
    keeps=True,
    examples="""
  syncdiff-bench data prepare landmarks --dataset lrs2 --data-root /data/lrs2""",
)
@with_options(*CLIPS_OF_SPLITS, DEVICE)
def landmarks(device: str, **chosen: Any) -> None:
    """Detect the 68 landmarks of every frame, once.

    By face-alignment's 2DFAN-4; goes on where it was interrupted. Later commands would detect them when they need
    them; this does it ahead, on a GPU. Landmarks of another tool are used without preparing anything:
    `landmarks/<clip id>.npy` in the dataset, (frames, 68, 2).
    """
    from syncdiff_bench.errors import NotApplicable, UsageError
    from syncdiff_bench.faces import landmarks as room
    from syncdiff_bench.preparing import prepare_landmarks
    from syncdiff_bench.runs.plan import resolve_device

    selections = _selections(**chosen)
    try:
        source = room.FaceAlignmentSource(resolve_device(device))
    except NotApplicable as error:
        raise UsageError(str(error)) from None
    _detect(
        selections,
        "landmarks",
        lambda dataset, clip_id: prepare_landmarks(dataset, clip_id, source),
        source=source.identity,
        own="landmarks",
        faceless="without any face",
    )


def _detect(
    selections: Sequence[Selection],
    what: str,
    detect: Callable[[Dataset, str], Prepared],
    *,
    source: str,
    own: str,
    faceless: str,
) -> None:
    """Split by split and clip by clip, with progress; then the clips that failed, and one line that counts them all."""
    from syncdiff_bench.progress import stderr_progress

    progress = stderr_progress()
    for selection in selections:
        done: list[Prepared] = []
        with progress.stage(f"{what} {selection}", len(selection.clip_ids)):
            for clip_id in selection.clip_ids:
                progress.working_on([clip_id])
                done.append(detect(selection.dataset, clip_id))
                progress.done()
        _print_first("odd", [f"{one.where} {one.message}" for one in selection.dataset.odd_files(selection.split)])
        _print_first("failed", [str(clip.problem) for clip in done if clip.outcome == "failed"])
        say(f"{selection}: {_summary(done, source, own=own, faceless=faceless)}")


def _print_first(what: str, clips: Sequence[str]) -> None:
    """Name the first of them, with the reason."""
    for line in clips[:SHOWN_FAILURES]:
        say(f"{what}: {one_line(line)}", err=True)
    if len(clips) > SHOWN_FAILURES:
        say(f"{what}: {len(clips) - SHOWN_FAILURES} more", err=True)


def _summary(clips: Sequence[Prepared], detector: str, *, own: str, faceless: str) -> str:
    """One line: "4 clips by s3fd-619a316812 (3 now, 1 before); 1 with gaps: 2 of 25 frames interpolated".

    own: what some clips have with the dataset. faceless: what a clip is of which no frame has a face.
    """
    outcomes = Counter(clip.outcome for clip in clips)
    seen = [clip for clip in clips if clip.outcome in ("detected", "known")]
    parts = [f"{len(seen)} clips by {detector} ({outcomes['detected']} now, {outcomes['known']} before)"]
    gaps = [clip for clip in seen if 0 < clip.faceless < clip.frames]
    if gaps:
        missed, frames = sum(clip.faceless for clip in gaps), sum(clip.frames for clip in gaps)
        parts.append(f"{len(gaps)} with gaps: {missed} of {frames} frames interpolated")
    without = sum(clip.faceless == clip.frames for clip in seen)
    if without:
        parts.append(f"{without} {faceless}")
    if outcomes["given"]:
        parts.append(f"{outcomes['given']} have {own} of their own")
    if outcomes["failed"]:
        parts.append(f"{outcomes['failed']} failed")
    return "; ".join(parts)


@command(
    keeps=True,
    examples="""
  syncdiff-bench data prepare latents syncdiff/pocket
  syncdiff-bench train syncdiff/pocket --cache training/cache""",
    former={"--cpu": "--device cpu", "--part": "--shard", "--force": "--fresh"},
)
@click.argument("config", shell_complete=offers.CONFIG)
@with_options(CONFIG_SETTINGS, VARIANT, DATA_ROOT)
@option("--cache", DIR, "Where to write.", default=Path("training/cache"))
@with_options(BOXES, DEVICE, SHARD, PROGRESS, FRESH, DRY_RUN)
def latents(
    *,
    config: str,
    overrides: tuple[str, ...],
    variant: str,
    data_root: Path | None,
    cache: Path,
    boxes: str,
    device: str,
    shard: str,
    progress: str,
    fresh: bool,
    dry_run: bool,
) -> None:
    """Fill the caches of the training that CONFIG describes.

    Goes on where it was interrupted. For SyncDiff: latents of every frame, full and masked, and the activations of
    the frozen layers of AV-HuBERT. A training step then runs only what is trained. `train` fills them too; this
    does it ahead, on any machine.
    """
    from syncdiff_bench.estimates.training import cache_line, split_size
    from syncdiff_bench.progress import stderr_progress
    from syncdiff_bench.runs.plan import resolve_device
    from syncdiff_bench.training.loader import load_task, read_plan
    from syncdiff_bench.views import require_boxes

    index, count = parse_shard(shard)
    followed = stderr_progress(progress)
    plan = read_plan(config, overrides, variant).with_boxes(boxes)
    told_root(plan.dataset, data_root)
    task = load_task(plan, data_root, cache, resolve_device(device))
    caches = task.caches()
    if not caches:
        say(f"{plan.name}: trainer {plan.trainer} caches nothing; start the training")
        return
    if not dry_run:
        for entry in caches if fresh else ():
            entry.clear()
        require_boxes(task.data.dataset, task.boxed_clips(index - 1, count))
    for entry in caches:
        say(cache_line(entry, split_size(task.data.dataset, entry.split).hours))
        if dry_run:
            continue
        followed.each(entry.title, entry.fill(index - 1, count))
        reasons = entry.failures().items()
        _print_first("left out", [reason if clip in reason else f"{clip}: {reason}" for clip, reason in reasons])


@command(
    keeps=True,
    examples="""
  syncdiff-bench data prepare splits --dataset pocket --split train""",
)
@with_options(DATASET, DATASET_SETTINGS)
@option("--data-root", DIR, "Where to write.", shown="the dataset's own folder")
@option("--split", NAME, "Split to draw.", name="splits", many=True, default=("train", "val"))
@option("--workers", N, "Processes.", default=2)
@with_options(PROGRESS)
def splits(
    *,
    dataset: str,
    dataset_settings: tuple[str, ...],
    data_root: Path | None,
    splits: tuple[str, ...],
    workers: int,
    progress: str,
) -> None:
    """Draw splits that are not shipped, of a dataset that can.

    Goes on where it was interrupted.
    """
    from syncdiff_bench.plugins import load_dataset
    from syncdiff_bench.progress import stderr_progress

    opened = load_dataset(dataset, data_root, dataset_values(dataset, dataset_settings))
    for split in splits:
        stderr_progress(progress).each(f"{dataset} {split}", opened.prepare(split, workers))
    say(f"{dataset} {', '.join(splits)}: ready")
