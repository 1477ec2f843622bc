"""`syncdiff-bench prepare faces` and `prepare landmarks`: what is found in the frames of every clip, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncdiff_bench.cli.selection import with_options

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Dataset
    from syncdiff_bench.faces.preparing import Prepared

SHOWN_FAILURES = 10


@dataclass(frozen=True)
class Selection:
    """The clips that the options choose."""

    dataset: Dataset
    split: str
    clip_ids: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.dataset.name} {self.split}"


CLIP_OPTIONS = (
    click.option("--dataset", required=True, metavar="NAME", help="Dataset."),
    click.option(
        "--data-root", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the dataset, or its parent."
    ),
    click.option(
        "--dataset-set", "settings", multiple=True, metavar="KEY=VALUE", help="Option of the dataset; repeatable."
    ),
    click.option("--split", metavar="NAME", help="Split.  [default: the dataset's, mostly test]"),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N clips."),
)
DEVICE_OPTION = (
    click.option(
        "--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps."
    ),
)


@click.command()
@with_options(CLIP_OPTIONS)
@click.option(
    "--detector",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="s3fd, dlib-hog, or auto: s3fd where its weights are.",
)
@with_options(DEVICE_OPTION)
def faces(detector: str, device: str, **chosen: Any) -> None:
    """Detect the face of every clip, once; goes on where it was interrupted.

    Later commands would do so when they need the boxes; this does it ahead, on a GPU. They take S3FD's before dlib's,
    unless --boxes says otherwise. Boxes of another tool are used without preparing anything: `boxes/<clip id>.npy` in
    the dataset, or --boxes DIR.

    \b
      syncdiff-bench prepare faces --dataset lrs3 --data-root /data/lrs3
    """
    from syncdiff_bench.faces.detection import choose_detector
    from syncdiff_bench.faces.preparing import prepare_clip
    from syncdiff_bench.runs.plan import resolve_device

    selection = _selection(**chosen)
    choice = choose_detector(detector, resolve_device(device))
    for reason in choice.passed_over:
        click.echo(f"passed over {reason}", err=True)
    _detect(
        selection,
        "faces",
        lambda clip_id: prepare_clip(selection.dataset, clip_id, choice.detector),
        source=choice.detector.identity,
        own="boxes",
        faceless="without any face",
    )


@click.command()
@with_options(CLIP_OPTIONS, DEVICE_OPTION)
def landmarks(device: str, **chosen: Any) -> None:
    """Detect the 68 landmarks of every frame, once (face-alignment's 2DFAN-4); goes on where it was interrupted.

    Later commands would detect them when they need them; this does it ahead, on a GPU. Landmarks of another tool are
    used without preparing anything: `landmarks/<clip id>.npy` in the dataset, (frames, 68, 2).

    \b
      syncdiff-bench prepare landmarks --dataset lrs2 --data-root /data/mvlrs_v1 --split train
    """
    from syncdiff_bench.errors import NotApplicable, UsageError
    from syncdiff_bench.faces import landmarks as room
    from syncdiff_bench.faces.preparing import prepare_landmarks
    from syncdiff_bench.runs.plan import resolve_device

    selection = _selection(**chosen)
    try:
        source = room.FaceAlignmentSource(resolve_device(device))
    except NotApplicable as error:
        raise UsageError(str(error)) from None
    _detect(
        selection,
        "landmarks",
        lambda clip_id: prepare_landmarks(selection.dataset, clip_id, source),
        source=source.identity,
        own="landmarks",
        faceless="without any face",
    )


def _selection(
    *, dataset: str, data_root: Path | None, settings: tuple[str, ...], split: str | None, limit: int | None
) -> Selection:
    from syncdiff_bench.options import parse_settings
    from syncdiff_bench.plugins import load_dataset

    opened = load_dataset(dataset, data_root, parse_settings(settings, "--dataset-set"))
    split = split or opened.default_split
    return Selection(opened, split, tuple(opened.clip_ids(split)[:limit]))


def _detect(
    selection: Selection, what: str, detect: Callable[[str], Prepared], *, source: str, own: str, faceless: str
) -> None:
    """Clip by clip, with progress; then the clips that failed, and one line that counts them all."""
    from syncdiff_bench.cli.output import stderr_progress

    progress = stderr_progress()
    done: list[Prepared] = []
    with progress.stage(f"{what} {selection}", len(selection.clip_ids)):
        for clip_id in selection.clip_ids:
            progress.working_on([clip_id])
            done.append(detect(clip_id))
            progress.clips_done()
    _print_failed([clip for clip in done if clip.outcome == "failed"])
    click.echo(f"{selection}: {_summary(done, source, own=own, faceless=faceless)}")


def _print_failed(clips: Sequence[Prepared]) -> None:
    """Name the clips that failed, with the reason."""
    for clip in clips[:SHOWN_FAILURES]:
        click.echo(f"failed: {clip.problem}", err=True)
    if len(clips) > SHOWN_FAILURES:
        click.echo(f"failed: {len(clips) - SHOWN_FAILURES} more clips", err=True)


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
