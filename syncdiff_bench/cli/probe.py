"""`syncdiff-bench paper probe`: the variance of latents when identity or pose frames vary (the paper's Table 4)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncdiff_bench.cli.commands import FILE, NAME, NEW_DIR, N, Takes, at_least, command, option, with_options
from syncdiff_bench.cli.options import (
    BOXES,
    DATA_ROOT,
    DATASET,
    DATASET_SETTINGS,
    DEVICE,
    METHOD,
    SEED,
    SETTINGS,
    SPLIT,
    dataset_values,
)

if TYPE_CHECKING:
    from syncdiff_bench.probing import Spread


@command(
    examples="""
  syncdiff-bench paper probe
      IDENT on ten clips
  syncdiff-bench paper probe --pose-list watching.txt
      and POSE on frames labelled by hand
  syncdiff-bench paper probe --phone w --set model=training/pocket-rnd/model
  syncdiff-bench paper tables --table 4 probes
      beside the paper's numbers""",
    former={"--videos": "--pose-clips"},
)
@with_options(METHOD, SETTINGS, DATASET, DATA_ROOT, DATASET_SETTINGS, SPLIT, BOXES)
@option("--layer", NAME, "Where the latent is read; mid or z0 with syncdiff.", default="mid")
@option("--step", at_least(0), "Timestep at which it is read.", shown="the last")
@option("--clips", N, "IDENT: clips, drawn by --seed.", default=10)
@option("--clip", Takes("ID"), "IDENT: this clip instead of drawn ones.", name="chosen", many=True)
@option("--identity-frames", at_least(0), "IDENT: thin to N identity frames (0: all).", default=0)
@option("--pose-list", FILE, "POSE: lines of CLIP FRAME.")
@option("--phone", Takes("TEXT"), "POSE: this phone of one speaker, where the dataset knows its times.")
@option("--pose-clips", at_least(2), "POSE: clips with --phone.", name="videos", default=5)
@with_options(SEED, DEVICE)
@option("--out", NEW_DIR, "Folder for the record.", shown="probes/<dataset>-<split>")
def probe(
    *,
    method: str,
    settings: tuple[str, ...],
    dataset: str,
    data_root: Path | None,
    dataset_settings: tuple[str, ...],
    split: str | None,
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
    """Measure how far latents spread (Table 4).

    IDENT: only the identity frame varies. POSE: all but the identity frame does.
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
    from syncdiff_bench.texts import method_options

    values = {"boxes": boxes, **dataset_values(dataset, dataset_settings)}
    opened = plugins.load_dataset(dataset, data_root, values)
    split = split or opened.default_split
    clip_ids = opened.clip_ids(split)
    given = method_options((method,), settings)
    (plugin,) = load_methods((method,), given, make_runtime(device, opened.name), with_model)
    if not isinstance(plugin, ProbedMethod):
        raise UsageError(f"method {method} has no latents to probe; syncdiff has")
    if layer not in plugin.probe_layers:
        raise UsageError(f"--layer {layer}: {method} is read at {' or '.join(plugin.probe_layers)}")

    groups: list[Group] = []
    for clip_id in chosen or draw_clips(clip_ids, clips, seed):
        clip = opened.clip(clip_id)
        groups.append(Group("ident", clip_id, ident_cases(clip, identity_frames), clip.speaker or ""))
    if pose_list is not None or phone is not None:
        poses = read_poses(pose_list, opened) if pose_list else find_poses(opened, clip_ids, phone or "", videos)
        groups.append(Group("pose", phone or str(pose_list), pose_cases(poses), poses[0].clip.speaker or ""))

    with Progress(transient=True) as bar:
        row = bar.add_task("latents", total=sum(len(group.cases) for group in groups))
        spreads = measure(
            plugin, groups, layer=layer, step=step, seed=seed, advance=lambda cases: bar.advance(row, cases)
        )
    folder = out or Path("probes") / f"{opened.name}-{split}" / plugin.name
    _print(spreads)
    write_record(folder, plugin, opened, split, groups, spreads, {"layer": layer, "step": step, "seed": seed})
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
