"""`syncdiff-bench paper reproduce`: the paper's tables, made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncdiff_bench.cli.commands import FILE, FLAG, NEW_DIR, PAIR, TABLE, at_least, command, option, say, with_options
from syncdiff_bench.cli.options import DATA_ROOT, DATASET, DEVICE, DRY_RUN, LIMIT, SHARD, parse_shard, told_root
from syncdiff_bench.errors import BenchError, UsageError

if TYPE_CHECKING:
    from syncdiff_bench.estimates.times import Estimate, Times
    from syncdiff_bench.reproduction.models import Model, Request
    from syncdiff_bench.reproduction.planning import Costs
    from syncdiff_bench.reproduction.rows import Job


@command(
    keeps=True,
    examples="""
  syncdiff-bench paper reproduce --table 3 --dry-run
      what there is, what is missing, and how long it will take
  syncdiff-bench paper reproduce --table 3
      Table 3 on pocket, from the models that are there
  syncdiff-bench paper reproduce --table 3 --train
      and trains those that are missing
  syncdiff-bench paper reproduce --table 1 --dataset lrs2 --data-root /data
  CUDA_VISIBLE_DEVICES=0 syncdiff-bench paper reproduce --train &
  CUDA_VISIBLE_DEVICES=1 syncdiff-bench paper reproduce --train
      two GPUs or machines on one folder: each does what the other does not""",
    closing="Stopped at any moment (Ctrl-C, kill -9), the same command goes on where it was.",
)
@option("--table", TABLE, "1 to 6, or beyond.", name="keys", many=True, shown="the paper's")
@with_options(DATASET, DATA_ROOT)
@option("--train", FLAG, "Train the models that are missing.")
@option("--out", NEW_DIR, "Folder of runs, leases and tables.", shown="runs/reproduce-<dataset>")
@option("--training", NEW_DIR, "Folder of the trainings.", default=Path("training"))
@option("--seed", at_least(0), "Seed of the sampling noise.", name="seeds", many=True, shown="the recipe's")
@with_options(LIMIT, SHARD)
@option("--input", PAIR, "What a row needs of you.", name="given", many=True)
@option("--no-shipped", FLAG, "Do not use models that ship: train all of them.")
@option("--recipe", FILE, "How rows are made, instead of the installed recipe of --dataset.", name="recipe_file")
@with_options(DEVICE, DRY_RUN)
@click.pass_context
def reproduce(
    ctx: click.Context,
    *,
    keys: tuple[str, ...],
    dataset: str,
    data_root: Path | None,
    train: bool,
    out: Path | None,
    training: Path,
    seeds: tuple[int, ...],
    limit: int | None,
    shard: str,
    given: tuple[str, ...],
    no_shipped: bool,
    recipe_file: Path | None,
    device: str,
    dry_run: bool,
) -> None:
    """Make the paper's tables: train, generate, score, print.

    A row whose model is missing stays blank, unless --train is given; the command that makes it is named.
    """
    from syncdiff_bench.estimates.times import Times
    from syncdiff_bench.report import paper
    from syncdiff_bench.reproduction.models import Request
    from syncdiff_bench.reproduction.planning import Costs, blanks
    from syncdiff_bench.reproduction.recipe import read_recipe, recipe_of
    from syncdiff_bench.reproduction.rows import jobs_of
    from syncdiff_bench.runs.plan import resolve_device
    from syncdiff_bench.texts import parse_settings

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "reproduce is one process per GPU: start it once for each, with CUDA_VISIBLE_DEVICES=0, 1, ..."
        )
    recipe = recipe_of(dataset) if recipe_file is None else read_recipe(recipe_file)
    inputs = parse_settings(given, "--input")
    for name in inputs:
        if name not in recipe.inputs:
            raise UsageError(f"--input {name}: unknown; this recipe takes {', '.join(recipe.inputs) or 'none'}")
    suffix = "" if limit is None else f"-first{limit}"
    request = Request(
        recipe=recipe,
        tables=tuple(paper.table(key) for key in dict.fromkeys(keys)) or paper.paper_tables(),
        out=out or Path("runs") / f"reproduce-{recipe.dataset}{suffix}",
        seeds=tuple(dict.fromkeys(seeds)),
        limit=limit,
        device=device,
        training=training,
        data_root=told_root(recipe.dataset, data_root),
        inputs=inputs,
        shipped=not no_shipped,
    )
    if train and not recipe.trains:
        raise UsageError(
            f"the models of {recipe.dataset} are trained on {recipe.trained_on}: give --train with that one"
        )
    index, count = parse_shard(shard)
    jobs = jobs_of(request)
    times = Times(request.out / "times", resolve_device(device))
    mine = jobs[index - 1 :: count]
    blank = blanks(mine, train=train)
    print_plan(request, mine, blank, Costs(request, times, jobs, trials=dry_run))
    if not dry_run:
        others = [job for job in jobs if job not in mine]
        blank |= {one.name: "another --shard makes it" for job in others for one in job.replicates}
        blank |= blanks(others, train=train)
        ctx.exit(_carry_out(request, jobs, blank, times))


def _carry_out(request: Request, jobs: Sequence[Job], blank: Mapping[str, str], times: Times) -> int:
    """Make what is not blank, then tables and findings of all jobs. blank: as of `planning.blanks`."""
    from syncdiff_bench.cli.output import present
    from syncdiff_bench.progress import stderr_progress
    from syncdiff_bench.reproduction.findings import judge_all
    from syncdiff_bench.reproduction.leases import Leases
    from syncdiff_bench.reproduction.make import make, steps_of
    from syncdiff_bench.reproduction.results import tables_of, write_tables

    replicates, leases = [one for job in jobs for one in job.replicates], Leases(request.out / "leases")
    todo = [one for one in replicates if one.name not in blank]
    steps = steps_of(todo, leases, times, stderr_progress())
    failed, elsewhere = make(steps, leases, lambda text: say(f"> {text}", err=True))
    for step, who in elsewhere.items():
        say(f"{step}: in work elsewhere ({who}); run the same command again for a complete table", err=True)
    for step, reason in failed.items():
        say(f"failed: {step}: {reason}", err=True)
    keys = {one.job.step(draw): one.name for one in replicates for draw in one.draws}
    reasons = {**blank, **{keys[step]: reason for step, reason in failed.items() if step in keys}}
    tables = tables_of(request, jobs, reasons)
    present(tables)
    for path in write_tables(request, tables, judge_all(request)):
        say(f"{path}", err=True)
    return 1 if failed else 0


def _division(model: Model, device: str) -> str:
    """How the steps of a training will be shared out."""
    from syncdiff_bench.reproduction.launching import processes_for

    try:
        settings = model.plan().settings
    except BenchError:  # `costs.training` says it
        return ""
    return f", {settings.division(processes_for(settings, device))}"


def print_plan(request: Request, jobs: Sequence[Job], blank: Mapping[str, str], costs: Costs) -> None:
    """What there is, what is missing and how long it will take; then why rows stay blank."""
    from syncdiff_bench.estimates.machine import clock
    from syncdiff_bench.estimates.workload import duration
    from syncdiff_bench.report.table import Cell, Heading, Panel, Row, Table, plain_notes
    from syncdiff_bench.report.writers.terminal import print_tables
    from syncdiff_bench.reproduction.planning import lacking, reasons_of, standing
    from syncdiff_bench.reproduction.rows import in_rounds, missing_models, split_to_make

    titles = ("job", "rows", "draws", "checkpoint", "videos", "scores", "generate", "score")
    found: list[Row] = []
    lines: list[str] = []
    estimates: list[Estimate] = []
    for job in jobs:
        makes = [one for one in job.replicates if one.name not in blank]
        takes = costs.of(job, makes) if makes else ()
        estimates += takes
        rows = ", ".join(job.rows) or "the bound of every table"
        times = list(map(str, takes)) if makes else ["blank"]
        texts = (job.name, rows, *standing(job, len(costs.frames(job))), *times, *[""] * (2 - len(times)))
        found.append(Row(tuple(map(Cell, texts))))
        for reason, which in reasons_of(job, blank).items():
            some = ", ".join(str(one.training) for one in which if len(which) < len(job.replicates))
            lines.append(f"blank: {job.name}{f', trainings {some}' if some else ''}: {reason}")
    splits = list(dict.fromkeys(job.split for job in jobs))
    lines += [f"split {one} is made first" for one in splits if split_to_make(request, one)]
    todo = in_rounds(one for job in jobs for one in job.replicates if not one.done)
    lines += [f"training: {what}" for what in lacking(model for model in missing_models(todo) if model.trainable)]
    to_train = missing_models(one for one in todo if one.name not in blank)
    models = [(model, costs.training(model)) for model in to_train]
    for model, estimate in models:
        about = f", about {estimate}" if estimate.source else ""
        lines.append(f"train: {model.name}{about}{_division(model, costs.times.device)}: {model.command()}")
    if any(estimate.source for _, estimate in models):
        lines.append("on top of a training come drawing its data and filling its caches, where they are not there yet")
    estimates += [estimate for _, estimate in models]
    seconds = sum(estimate.seconds or 0.0 for estimate in estimates)
    unknown = any(estimate.seconds is None for estimate in estimates)
    if seconds or unknown:
        known = duration(seconds) if seconds else "unknown"
        lines.append(f"in all: about {known}{', and what is not known' if unknown and seconds else ''}")
    sources = {"trial": clock(costs.times.device), "measured": "by wall time, of what was done here before"}
    used = {estimate.source.partition(" ")[0] for estimate in estimates if estimate.seconds}
    lines += [f"{source}: {said}" for source, said in sources.items() if source in used]
    say(f"{request.recipe.dataset}, {' and '.join(splits)}: {request.out}")
    panel = Panel(tuple(Heading(title, align="left", names_row=title == "job") for title in titles), (tuple(found),))
    print_tables([Table((panel,), notes=plain_notes(lines))])
