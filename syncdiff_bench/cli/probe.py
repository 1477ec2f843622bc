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
    selected,
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
    layer: str,
    step: int | None,
    clips: int,
    chosen: tuple[str, ...],
    identity_frames: int,
    pose_list: Path | None,
    phone: str | None,
    videos: int,
    seed: int,
    out: Path | None,
    **given: Any,
) -> None:
    """Measure how far latents spread (Table 4).

    IDENT: only the identity frame varies. POSE: all but the identity frame does.
    """
    from rich.progress import Progress

    from syncdiff_bench.reproduction import probing
    from syncdiff_bench.reproduction.models import with_model
    from syncdiff_bench.runs.plan import make_plan

    selection = selected(methods=(method,), seed=seed, **given)
    plan = make_plan(selection, with_metrics=False, model_of=with_model)
    (run,), dataset = plan.runs, plan.dataset
    clip_ids = run.identity.clips
    probing.probed(run.method, layer)

    groups = probing.ident_groups(dataset, chosen or probing.draw_clips(clip_ids, clips, seed), identity_frames)
    if pose_list is not None:
        groups.append(probing.pose_group(phone or str(pose_list), probing.read_poses(pose_list, dataset)))
    elif phone is not None:
        groups.append(probing.pose_group(phone, probing.find_poses(dataset, clip_ids, phone, videos)))

    folder = out or Path("probes") / f"{dataset.name}-{run.identity.split}" / run.method.name
    with Progress(transient=True) as bar:
        row = bar.add_task("latents", total=sum(len(group.cases) for group in groups))
        asked: dict[str, Any] = {"layer": layer, "step": step, "seed": seed}
        spreads = probing.measure(plan, groups, folder, **asked, advance=lambda cases: bar.advance(row, cases))
    _print(spreads)
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
