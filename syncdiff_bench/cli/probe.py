"""`syncdiff-bench paper probe`: the variance of latents when identity or pose frames vary (the paper's Table 4)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from syncdiff_bench.reproduction.probing import Spread


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
    from syncdiff_bench.reproduction import probing
    from syncdiff_bench.reproduction.models import with_model
    from syncdiff_bench.runs.plan import load_methods, make_runtime
    from syncdiff_bench.texts import method_options

    values = {"boxes": boxes, **dataset_values(dataset, dataset_settings)}
    opened = plugins.load_dataset(dataset, data_root, values)
    split = split or opened.default_split
    clip_ids = opened.clip_ids(split)
    given = method_options((method,), settings)
    (plugin,) = load_methods((method,), given, make_runtime(device, opened.name), with_model)
    if not isinstance(plugin, probing.ProbedMethod):
        raise UsageError(f"method {method} has no latents to probe; syncdiff has")
    if layer not in plugin.probe_layers:
        raise UsageError(f"--layer {layer}: {method} is read at {' or '.join(plugin.probe_layers)}")

    groups = probing.ident_groups(opened, chosen or probing.draw_clips(clip_ids, clips, seed), identity_frames)
    if pose_list is not None:
        groups.append(probing.pose_group(phone or str(pose_list), probing.read_poses(pose_list, opened)))
    elif phone is not None:
        groups.append(probing.pose_group(phone, probing.find_poses(opened, clip_ids, phone, videos)))

    asked: dict[str, Any] = {"layer": layer, "step": step, "seed": seed}
    with Progress(transient=True) as bar:
        row = bar.add_task("latents", total=sum(len(group.cases) for group in groups))
        spreads = probing.measure(plugin, groups, **asked, advance=lambda cases: bar.advance(row, cases))
    folder = out or Path("probes") / f"{opened.name}-{split}" / plugin.name
    _print(spreads)
    probing.write_record(folder, plugin, opened, split, groups, spreads, asked)
    click.echo(f"{folder / 'run.json'}", err=True)


def _print(spreads: dict[str, list[Spread]]) -> None:
    from syncdiff_bench.report.table import text_table
    from syncdiff_bench.report.writers.terminal import print_tables

    rows = []
    for experiment, group in spreads.items():
        rows += [(experiment.upper(), one.label, f"{one.cases}", f"{one.variance:.4f}") for one in group]
        mean = sum(one.variance for one in group) / len(group)
        rows.append((experiment.upper(), "mean", "", f"{mean:.4f}"))
    print_tables([text_table(("experiment", "over", "latents", "variance"), rows)])
