"""`syncdiff-bench train`: train whatever a config names."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

import click


@click.command()
@click.argument("config")
@click.option(
    "--data-root", type=click.Path(path_type=Path), help="Folder of the dataset (an embedded one needs none)."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of checkpoints, log and model [training/<config>]."
)
@click.option("--cache", type=click.Path(path_type=Path), help="Folder for what is computed once [<out>/../cache].")
@click.option("--cpu", is_flag=True, help="Train on the CPU even where there is a GPU.")
@click.option("--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE", help="Override a value of the config.")
@click.option("--variant", default="", metavar="NAME", help="One of the config's variants (rnd, prv-, np5, ...).")
@click.option("--dry-run", is_flag=True, help="Print what it costs (FLOPs, memory, cache, time) and start nothing.")
def train(
    config: str,
    data_root: Path | None,
    out: Path | None,
    cache: Path | None,
    cpu: bool,
    overrides: tuple[str, ...],
    variant: str,
    dry_run: bool,
) -> None:
    """Train the model that CONFIG describes; run the same command again to resume.

    CONFIG is a TOML file, or the name of a shipped one:

    \b
      syncdiff-bench prepare data --dataset pocket --split train --split val
      syncdiff-bench train syncdiff-autoencoder/pocket-autoencoder
      syncdiff-bench train syncdiff/pocket --set training.steps=4000
      syncdiff-bench train syncdiff/pocket --variant prv-

    On several GPUs: torchrun --nproc_per_node 4 -m syncdiff_bench.train syncdiff/pocket
    """
    from syncdiff_bench.training.loader import load_task, read_plan

    plan = read_plan(config, overrides, variant)
    out = Path("training") / plan.name if out is None else out
    cache = out.parent / "cache" if cache is None else cache

    import torch

    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() and not cpu else "cpu"
    task = load_task(plan, data_root, cache, device)
    if dry_run:
        from syncdiff_bench.estimates.forecast import forecast
        from syncdiff_bench.training.record import require_trackers

        require_trackers(plan.settings)
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        planned = (("trainer", plan.trainer), ("training", plan.settings), ("options", task.options), ("out", out))
        for label, text in chain(planned, forecast(task, plan.settings, device=device, processes=processes)):
            click.echo(f"{label:<10}{text}")
        return

    from syncdiff_bench.training.loop import train as run

    folder = run(task, plan.settings, out, cpu=device == "cpu")
    if os.environ.get("RANK", "0") == "0":
        click.echo(f"trained: {folder}")
