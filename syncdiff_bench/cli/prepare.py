"""`syncdiff-bench prepare`: what is made once and read many times."""

from __future__ import annotations

from pathlib import Path

import click

from syncdiff_bench.cli.prepare_detections import faces, landmarks
from syncdiff_bench.cli.prepare_latents import latents


@click.group()
def prepare() -> None:
    """Make once what later commands read: face boxes, landmarks, latents, splits of a dataset that draws itself."""


prepare.add_command(faces)
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

    from syncdiff_bench.plugins import load_dataset

    opened = load_dataset(dataset, data_root)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        for split in splits:
            row = bar.add_task(f"{dataset} {split}", total=None)
            for done, total in opened.prepare(split, workers):
                bar.update(row, completed=done, total=total)
    click.echo(f"{dataset} {', '.join(splits)}: ready")
