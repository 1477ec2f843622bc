"""`syncdiff-bench prepare landmarks`: the 68 points of every frame, for DiffTalk, `lmd` and `wer[crop=mouth]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from syncdiff_bench.detection.preparing import Prepared


@click.command()
@click.option("--dataset", required=True, metavar="NAME", help="Dataset.")
@click.option(
    "--data-root", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the dataset, or its parent."
)
@click.option(
    "--dataset-set", "settings", multiple=True, metavar="KEY=VALUE", help="Option of the dataset; repeatable."
)
@click.option("--split", metavar="NAME", help="Split.  [default: the dataset's, mostly test]")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N clips.")
@click.option("--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")
def landmarks(
    dataset: str, data_root: Path | None, settings: tuple[str, ...], split: str | None, limit: int | None, device: str
) -> None:
    """Detect the 68 landmarks of every frame, once (face-alignment's 2DFAN-4); goes on where it was interrupted.

    Later commands would detect them when they need them; this does it ahead, on a GPU. Landmarks of another tool are
    used without preparing anything: `landmarks/<clip id>.npy` in the dataset, (frames, 68, 2).

    \b
      syncdiff-bench prepare landmarks --dataset lrs2 --data-root /data/mvlrs_v1 --split train
    """
    from syncdiff_bench.cli.output import stderr_progress
    from syncdiff_bench.cli.prepared import print_failed, summary
    from syncdiff_bench.detection import landmarks as room
    from syncdiff_bench.detection.preparing import prepare_landmarks
    from syncdiff_bench.errors import NotApplicable, UsageError
    from syncdiff_bench.options import parse_settings
    from syncdiff_bench.registry import load_dataset
    from syncdiff_bench.runs.plan import resolve_device

    opened = load_dataset(dataset, data_root, parse_settings(settings, "--dataset-set"))
    split = split or opened.default_split
    clip_ids = opened.clip_ids(split)[:limit]
    try:
        source = room.FaceAlignmentSource(resolve_device(device))
    except NotApplicable as error:
        raise UsageError(str(error)) from None
    progress = stderr_progress()
    done: list[Prepared] = []
    with progress.stage(f"landmarks {dataset} {split}", len(clip_ids)):
        for clip_id in clip_ids:
            progress.working_on([clip_id])
            done.append(prepare_landmarks(opened, clip_id, source))
            progress.clips_done()
    print_failed([clip for clip in done if clip.outcome == "failed"])
    told = summary(done, source.identity, own="landmarks", faceless="without any face")
    click.echo(f"{dataset} {split}: {told}")
