"""`syncdiff-bench prepare latents`: what a training computes once per clip, made ahead of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from syncdiff_bench.training.cache import TensorCache

SHOWN_FAILURES = 10


@click.command()
@click.argument("config")
@click.option("--variant", default="", metavar="NAME", help="One of the config's variants (rnd, prv-, np5, ...).")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder of the dataset.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=Path("training/cache"),
    show_default=True,
    help="Where to write.",
)
@click.option("--cpu", is_flag=True, help="Encode on the CPU even where there is a GPU.")
@click.option("--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE", help="Override a value of the config.")
@click.option("--part", default="1/1", show_default=True, metavar="K/N", help="The K-th of N parts, one per GPU.")
@click.option("--force", is_flag=True, help="Make it anew, whatever is there.")
@click.option("--dry-run", is_flag=True, help="Only say what it costs.")
def latents(
    config: str,
    variant: str,
    data_root: Path | None,
    cache: Path,
    cpu: bool,
    overrides: tuple[str, ...],
    part: str,
    force: bool,
    dry_run: bool,
) -> None:
    """Fill the caches of the training that CONFIG describes; goes on where it was interrupted.

    For SyncDiff: latents of every frame, full and masked, and the activations of the frozen layers of AV-HuBERT. A
    training step then runs only what is trained. `train` fills them too; this does it ahead, on any machine.

    \b
      syncdiff-bench prepare latents syncdiff/pocket
      syncdiff-bench train syncdiff/pocket --cache training/cache
    """
    import torch

    from syncdiff_bench.estimates.forecast import cache_line, split_size
    from syncdiff_bench.training.loader import load_task, read_plan

    number, parts = _part(part)
    plan = read_plan(config, overrides, variant)
    device = "cuda" if torch.cuda.is_available() and not cpu else "cpu"
    task = load_task(plan, data_root, cache, device)
    caches = task.caches()
    if not caches:
        click.echo(f"{plan.name}: trainer {plan.trainer} caches nothing; start the training")
        return
    for entry in caches:
        if force and not dry_run:
            entry.clear()
        click.echo(cache_line(entry, split_size(task.data.dataset, entry.split).hours))
        if dry_run:
            continue
        _fill(entry, number, parts)
        failures = entry.failures()
        for clip_id, reason in list(failures.items())[:SHOWN_FAILURES]:
            click.echo(f"left out: {reason if clip_id in reason else f'{clip_id}: {reason}'}", err=True)
        if len(failures) > SHOWN_FAILURES:
            click.echo(f"left out: {len(failures) - SHOWN_FAILURES} more clips", err=True)


def _fill(cache: TensorCache, number: int, parts: int) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        row = bar.add_task(cache.title, total=None)
        for done, total in cache.fill(number - 1, parts):
            bar.update(row, completed=done, total=total)


def _part(text: str) -> tuple[int, int]:
    number, slash, parts = text.partition("/")
    if slash and number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts):
        return int(number), int(parts)
    raise click.BadParameter(f"{text!r} is not K/N with 1 <= K <= N", param_hint="--part")
