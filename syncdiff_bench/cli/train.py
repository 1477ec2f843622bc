"""`syncdiff-bench train`: train whatever a config names."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

import click

from syncdiff_bench.cli import offers
from syncdiff_bench.cli.commands import DIR, command, option, say, say_item, with_options
from syncdiff_bench.cli.options import BOXES, CONFIG_SETTINGS, DATA_ROOT, DEVICE, DRY_RUN, PROGRESS, VARIANT, told_root


@command(
    keeps=True,
    examples="""
  syncdiff-bench train
      lists the configs that there are
  syncdiff-bench data prepare splits --dataset pocket
  syncdiff-bench train syncdiff-autoencoder/pocket-autoencoder
  syncdiff-bench train syncdiff/pocket --set training.steps=4000
  syncdiff-bench train syncdiff/pocket --variant prv-
  torchrun --nproc_per_node 8 -m syncdiff_bench.train syncdiff/paper
      on eight GPUs: the same training in less time""",
    former={"--cpu": "--device cpu"},
)
@click.argument("config", required=False, shell_complete=offers.CONFIG)
@with_options(CONFIG_SETTINGS, VARIANT, DATA_ROOT)
@option("--out", DIR, "Folder of checkpoints, log and model.", shown="training/<config>")
@option("--cache", DIR, "Folder for what is computed once.", shown="<out>/../cache")
@with_options(BOXES, DEVICE, PROGRESS, DRY_RUN)
def train(
    *,
    config: str | None,
    overrides: tuple[str, ...],
    variant: str,
    data_root: Path | None,
    out: Path | None,
    cache: Path | None,
    boxes: str,
    device: str,
    progress: str,
    dry_run: bool,
) -> None:
    """Train the model of a config; run it again to resume.

    CONFIG is a TOML file, or the name of a shipped one; without it, those are listed. What masks or cuts faces needs
    their boxes made before: `data prepare faces` for the splits of the training.
    """
    if config is None:
        list_configs()
        return
    from syncdiff_bench.runs.plan import resolve_device
    from syncdiff_bench.training.loader import load_task, read_plan

    plan = read_plan(config, overrides, variant).with_boxes(boxes)
    out = Path("training") / plan.name if out is None else out
    cache = out.parent / "cache" if cache is None else cache
    device = resolve_device(device)
    told_root(plan.dataset, data_root)
    task = load_task(plan, data_root, cache, device)
    if dry_run:
        from syncdiff_bench.estimates.training import forecast
        from syncdiff_bench.training.record import require_trackers

        require_trackers(plan.settings)
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        planned = (("trainer", plan.trainer), ("training", plan.settings), ("options", task.options), ("out", out))
        for label, text in chain(planned, forecast(task, plan.settings, device=device, processes=processes)):
            say(text, label=f"{label:<10}")
        return

    from syncdiff_bench.estimates.training import fitting_batch
    from syncdiff_bench.progress import stderr_progress
    from syncdiff_bench.training.loop import train as run

    if device.startswith("cuda:"):
        import torch

        torch.cuda.set_device(device)  # where accelerate puts what it trains
    folder = run(
        task, plan.settings, out, cpu=device == "cpu", fitting_batch=fitting_batch, progress=stderr_progress(progress)
    )
    if os.environ.get("RANK", "0") == "0":
        say(f"trained: {folder}")


def list_configs() -> None:
    """The shipped configs, by trainer, with what each of them says it is."""
    from syncdiff_bench.training.loader import shipped_configs, title_of

    configs = shipped_configs()
    width = max(map(len, configs), default=0) + 2
    for name, path in configs.items():
        say_item(name.ljust(width), title_of(path), 100)
