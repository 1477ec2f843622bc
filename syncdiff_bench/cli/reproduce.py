"""`syncdiff-bench paper reproduce`: the paper's tables, made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncdiff_bench.cli.commands import FILE, FLAG, NEW_DIR, PAIR, N, at_least, command, option, with_options
from syncdiff_bench.cli.options import DATA_ROOT, DATASET, DEVICE, DRY_RUN, LIMIT, SHARD, parse_shard
from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    from syncdiff_bench.estimates.reproduction import Costs
    from syncdiff_bench.reproduction.claims import Claims
    from syncdiff_bench.reproduction.jobs import Job, Request
    from syncdiff_bench.reproduction.planning import Plan


@command(
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
@option("--table", N, "1 to 6.", name="numbers", many=True, shown="all")
@with_options(DATASET, DATA_ROOT)
@option("--train", FLAG, "Train the models that are missing.")
@option("--out", NEW_DIR, "Folder of runs, claims and tables.", shown="runs/reproduce-<dataset>")
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
    numbers: tuple[int, ...],
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
    from syncdiff_bench.estimates.reproduction import Costs
    from syncdiff_bench.report import paper
    from syncdiff_bench.reproduction.claims import Claims
    from syncdiff_bench.reproduction.jobs import Request, jobs_of
    from syncdiff_bench.reproduction.models import Place
    from syncdiff_bench.reproduction.planning import make_plan
    from syncdiff_bench.reproduction.recipe import read_recipe, recipe_of
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
        place=Place(recipe, training, data_root, inputs, shipped=not no_shipped),
        tables=tuple(paper.table(number) for number in dict.fromkeys(numbers)) or paper.tables(),
        out=out or Path("runs") / f"reproduce-{recipe.dataset}{suffix}",
        seeds=tuple(dict.fromkeys(seeds)) or recipe.seeds,
        limit=limit,
        device=device,
    )
    if train and not recipe.trains:
        raise UsageError(
            f"the models of {recipe.dataset} are trained on {recipe.trained_on}: give --train with that one"
        )
    index, count = parse_shard(shard)
    jobs = jobs_of(request)
    costs = Costs(request, resolve_device(device), jobs, trials=dry_run)
    plan = make_plan(request, jobs[index - 1 :: count], costs if dry_run or costs.recorded else None, train=train)
    print_plan(request, plan, costs.device)
    if dry_run:
        return
    ctx.exit(_carry_out(request, jobs, plan, costs, Claims(request.out / "claims"), train=train))


def _carry_out(request: Request, jobs: Sequence[Job], plan: Plan, costs: Costs, claims: Claims, *, train: bool) -> int:
    """Does the work of the plan; tables and findings are those of all jobs, whoever made their runs."""
    from syncdiff_bench.cli.output import stderr_progress
    from syncdiff_bench.report.paper_table import paper_table
    from syncdiff_bench.report.writers import render
    from syncdiff_bench.reproduction.findings import judge_all, write_findings
    from syncdiff_bench.reproduction.planning import blanks
    from syncdiff_bench.reproduction.results import comparisons, write_tables
    from syncdiff_bench.reproduction.units import Workshop
    from syncdiff_bench.reproduction.working import units_of, work

    blank = {one.job.name: one.blank for one in plan.jobs if one.blank}
    units = units_of([one.job for one in plan.jobs if not one.blank], train=train)
    shop = Workshop(claims, costs, stderr_progress(), costs.device)
    outcome = work(units, shop, lambda text: click.echo(f"> {text}", err=True))
    for unit, who in outcome.elsewhere.items():
        click.echo(f"{unit}: in work elsewhere ({who}); run the same command again for a complete table", err=True)
    for unit, reason in outcome.failed.items():
        click.echo(f"failed: {unit}: {reason}", err=True)
    mine = {one.job.name for one in plan.jobs}
    others = [job for job in jobs if job.name not in mine]
    elsewhere = {job.name: "another --shard makes it" for job in others} | blanks(others, train=train)
    reasons = elsewhere | blank | _by_job(jobs, outcome.failed)
    found = comparisons(request, jobs, reasons)
    click.echo(render(list(map(paper_table, found)), "markdown"), nl=False)
    written = write_tables(request, found, jobs)
    judgements = judge_all(request)
    if judgements:
        written.append(write_findings(request, judgements))
    for path in written:
        click.echo(f"{path}", err=True)
    return 1 if outcome.failed else 0


def _by_job(jobs: Sequence[Job], failed: Mapping[str, str]) -> dict[str, str]:
    """Why a job has no result, where its units failed."""
    return {
        job.name: failed[f"{job.name}.seed-{seed}"]
        for job in jobs
        for seed in job.seeds
        if f"{job.name}.seed-{seed}" in failed
    }


def print_plan(request: Request, plan: Plan, device: str) -> None:
    """What there is, what is missing and how long it will take; then why rows stay blank."""
    from syncdiff_bench.estimates.machine import clock
    from syncdiff_bench.estimates.workload import duration
    from syncdiff_bench.report.table import Cell, Heading, Panel, Row, Table, plain_notes
    from syncdiff_bench.report.writers.terminal import print_tables

    recipe = request.place.recipe
    seeds = ", ".join(map(str, request.seeds))
    titles = ("job", "rows", "checkpoint", "videos", "scores", "generate", "score")
    found = []
    for one in plan.jobs:
        takes = [str(estimate) for estimate in one.takes] or ["blank" if one.blank else ""]
        rows = ", ".join(one.job.rows) or "the bound of every table"
        texts = [one.job.name, rows, one.checkpoint, one.videos, one.scores, *takes]
        found.append(Row(tuple(map(Cell, (*texts, *[""] * (len(titles) - len(texts)))))))
    lines = [f"blank: {one.job.name}: {one.blank}" for one in plan.jobs if one.blank]
    for model, estimate in plan.models:
        about = f", about {estimate}" if estimate.source else ""
        lines.append(f"train: {model.name}{about}: {model.command()}")
    if plan.models and any(estimate.source for _, estimate in plan.models):
        lines.append("on top of a training come drawing its data and filling its caches, where they are not there yet")
    seconds, unknown = plan.seconds
    if seconds or unknown:
        known = duration(seconds) if seconds else "unknown"
        lines.append(f"in all: about {known}{', and what is not known' if unknown and seconds else ''}")
    sources = {"trial": clock(device), "measured": "by wall time, of what was done here before"}
    used = {estimate.source.partition(" ")[0] for estimate in plan.estimates if estimate.seconds}
    lines += [f"{source}: {said}" for source, said in sources.items() if source in used]
    click.echo(f"{recipe.dataset}, {recipe.split}: seeds {seeds}; {request.out}")
    panel = Panel(tuple(Heading(title, align="left") for title in titles), (tuple(found),))
    print_tables([Table((panel,), notes=plain_notes(lines))])
