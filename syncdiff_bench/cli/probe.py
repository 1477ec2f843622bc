"""`syncdiff-bench probe`: the variance of latents when identity or pose frames vary (the paper's Table 4)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncdiff_bench.cli.selection import BOXES

if TYPE_CHECKING:
    from syncdiff_bench.probing import Spread


@click.command()
@click.option("--method", default="syncdiff", show_default=True, metavar="NAME", help="Method to probe.")
@click.option("--dataset", "dataset_name", default="pocket", show_default=True, metavar="NAME", help="Dataset.")
@click.option("--data-root", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the dataset.")
@click.option("--split", metavar="NAME", help="Split.  [default: the dataset's, mostly test]")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the method; repeatable.",
)
@BOXES
@click.option("--layer", default="mid", show_default=True, help="Where the latent is read; mid or z0 with syncdiff.")
@click.option(
    "--step", type=click.IntRange(min=0), metavar="T", help="Timestep at which it is read.  [default: the last]"
)
@click.option(
    "--clips", default=10, show_default=True, type=click.IntRange(min=1), help="IDENT: clips, drawn by --seed."
)
@click.option(
    "--clip", "chosen", multiple=True, metavar="ID", help="IDENT: this clip instead of drawn ones; repeatable."
)
@click.option(
    "--identity-frames", default=0, show_default=True, metavar="N", help="IDENT: thin to N identity frames (0: all)."
)
@click.option("--pose-list", type=click.Path(path_type=Path), metavar="FILE", help="POSE: lines of CLIP FRAME.")
@click.option("--phone", metavar="TEXT", help="POSE: this phone of one speaker, where the dataset knows its times.")
@click.option("--videos", default=5, show_default=True, type=click.IntRange(min=2), help="POSE: clips with --phone.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), metavar="S", help="Of draw and noise."
)
@click.option("--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Folder for the record.")
def probe(
    method: str,
    dataset_name: str,
    data_root: Path | None,
    split: str | None,
    settings: tuple[str, ...],
    boxes: str,
    layer: str,
    step: int | None,
    clips: int,
    chosen: tuple[str, ...],
    identity_frames: int,
    pose_list: Path | None,
    phone: str | None,
    videos: int,
    seed: int,
    device: str,
    out: Path | None,
) -> None:
    """Measure how far latents spread when only the identity frame, or all but the identity frame, varies.

    \b
      syncdiff-bench probe                                     IDENT on ten clips
      syncdiff-bench probe --pose-list watching.txt            and POSE on frames labelled by hand
      syncdiff-bench probe --phone w --set model=training/pocket-rnd/model
      syncdiff-bench tables --table 4 --runs probes            beside the paper's numbers
    """
    from rich.progress import Progress

    from syncdiff_bench import plugins
    from syncdiff_bench.errors import UsageError
    from syncdiff_bench.probing import (
        Group,
        ProbedMethod,
        draw_clips,
        find_poses,
        ident_cases,
        measure,
        pose_cases,
        read_poses,
        write_record,
    )
    from syncdiff_bench.reproduction.defaults import with_model
    from syncdiff_bench.runs.plan import load_methods, make_runtime

    dataset = plugins.load_dataset(dataset_name, data_root, {"boxes": boxes})
    split = split or dataset.default_split
    clip_ids = dataset.clip_ids(split)
    (plugin,) = load_methods((method,), settings, make_runtime(device, dataset.name), with_model)
    if not isinstance(plugin, ProbedMethod):
        raise UsageError(f"method {method} has no latents to probe; syncdiff has")
    if layer not in plugin.probe_layers:
        raise UsageError(f"--layer {layer}: {method} is read at {' or '.join(plugin.probe_layers)}")

    groups: list[Group] = []
    for clip_id in chosen or draw_clips(clip_ids, clips, seed):
        clip = dataset.clip(clip_id)
        groups.append(Group("ident", clip_id, ident_cases(clip, identity_frames), clip.speaker or ""))
    if pose_list is not None or phone is not None:
        poses = read_poses(pose_list, dataset) if pose_list else find_poses(dataset, clip_ids, phone or "", videos)
        groups.append(Group("pose", phone or str(pose_list), pose_cases(poses), poses[0].clip.speaker or ""))

    with Progress(transient=True) as bar:
        row = bar.add_task("latents", total=sum(len(group.cases) for group in groups))
        spreads = measure(
            plugin, groups, layer=layer, step=step, seed=seed, advance=lambda cases: bar.advance(row, cases)
        )
    folder = out or Path("probes") / f"{dataset.name}-{split}" / plugin.name
    _print(spreads)
    write_record(folder, plugin, dataset, split, groups, spreads, {"layer": layer, "step": step, "seed": seed})
    click.echo(f"{folder / 'run.json'}", err=True)


def _print(spreads: dict[str, list[Spread]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("experiment", "over", "latents", "variance"):
        table.add_column(title, justify="right" if title in ("latents", "variance") else "left")
    for experiment, group in spreads.items():
        for spread in group:
            table.add_row(experiment.upper(), spread.label, str(spread.cases), f"{spread.variance:.4f}")
        mean = sum(spread.variance for spread in group) / len(group)
        table.add_row(experiment.upper(), "mean", "", f"{mean:.4f}", style="bold")
    Console().print(table)
