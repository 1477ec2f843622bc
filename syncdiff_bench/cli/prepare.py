"""`syncdiff-bench prepare`: what is made once and read many times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncdiff_bench.cli.prepare_landmarks import landmarks
from syncdiff_bench.cli.prepare_latents import latents

if TYPE_CHECKING:
    from syncdiff_bench.detection.preparing import Prepared


@click.group()
def prepare() -> None:
    """Make once what later commands read: face boxes, landmarks, latents, splits of a dataset that draws itself."""


prepare.add_command(landmarks)
prepare.add_command(latents)


@prepare.command()
@click.option("--dataset", default="pocket", show_default=True, help="A dataset that can make its own files.")
@click.option(
    "--split",
    "splits",
    multiple=True,
    default=("train", "val"),
    show_default=True,
    help="Repeat for several.",
)
@click.option("--data-root", type=click.Path(path_type=Path), help="Where to write [the dataset's own folder].")
@click.option("--workers", default=2, show_default=True, help="Processes.")
def data(dataset: str, splits: tuple[str, ...], data_root: Path | None, workers: int) -> None:
    """Draw splits that are not shipped; goes on where it was interrupted.

    \b
      syncdiff-bench prepare data --dataset pocket --split train --split val
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from syncdiff_bench.registry import load_dataset

    opened = load_dataset(dataset, data_root)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        for split in splits:
            row = bar.add_task(f"{dataset} {split}", total=None)
            for done, total in opened.prepare(split, workers):
                bar.update(row, completed=done, total=total)
    click.echo(f"{dataset} {', '.join(splits)}: ready")


@prepare.command()
@click.option("--dataset", required=True, metavar="NAME", help="Dataset.")
@click.option(
    "--data-root", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the dataset, or its parent."
)
@click.option(
    "--dataset-set", "settings", multiple=True, metavar="KEY=VALUE", help="Option of the dataset; repeatable."
)
@click.option("--split", metavar="NAME", help="Split.  [default: the dataset's, mostly test]")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N clips.")
@click.option(
    "--detector",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="s3fd, dlib-hog, or auto: s3fd where its weights are.",
)
@click.option("--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")
def faces(
    dataset: str,
    data_root: Path | None,
    settings: tuple[str, ...],
    split: str | None,
    limit: int | None,
    detector: str,
    device: str,
) -> None:
    """Detect the face of every clip, once; goes on where it was interrupted.

    Later commands use these boxes for clips that have none of their own. Boxes of another tool are used without
    preparing anything: `boxes/<clip id>.npy` in the dataset, or --dataset-set boxes=DIR.

    \b
      syncdiff-bench prepare faces --dataset lrs3 --data-root /data/lrs3
    """
    from syncdiff_bench.cli.output import stderr_progress
    from syncdiff_bench.cli.prepared import print_failed, summary
    from syncdiff_bench.detection.detectors import choose_detector
    from syncdiff_bench.detection.preparing import prepare_clip
    from syncdiff_bench.options import parse_settings
    from syncdiff_bench.registry import load_dataset
    from syncdiff_bench.runs.plan import make_runtime

    opened = load_dataset(dataset, data_root, parse_settings(settings, "--dataset-set"))
    split = split or opened.default_split
    clip_ids = opened.clip_ids(split)[:limit]
    choice = choose_detector(detector, make_runtime(device))
    for reason in choice.passed_over:
        click.echo(f"passed over {reason}", err=True)
    progress = stderr_progress()
    done: list[Prepared] = []
    with progress.stage(f"faces {dataset} {split}", len(clip_ids)):
        for clip_id in clip_ids:
            progress.working_on([clip_id])
            done.append(prepare_clip(opened, clip_id, choice.detector))
            progress.clips_done()
    print_failed([clip for clip in done if clip.outcome == "failed"])
    told = summary(done, choice.detector.identity, own="boxes", faceless="without any face: centred box")
    click.echo(f"{dataset} {split}: {told}")
