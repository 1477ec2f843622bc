"""`syncdiff-bench run`: everything, from clips to the leaderboard; `generate`: its first stage alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from syncdiff_bench.cli.commands import command, with_options
from syncdiff_bench.cli.options import CARRYING_OUT, DRY_RUN, GENERATION, METRICS, selected

if TYPE_CHECKING:
    from syncdiff_bench.runs.plan import Plan
    from syncdiff_bench.runs.progress import Progress


@command(
    examples="""
  syncdiff-bench run
      SyncDiff on pocket, the data set inside the package
  syncdiff-bench run --method gt --method static --method syncdiff
      one leaderboard of three
  syncdiff-bench run --dataset lrs3 --data-root /data/lrs3 --dry-run
      what it would do, with training/paper/model (else --set model=DIR)
  syncdiff-bench run --method videos --set folder=mine/ --dataset pocket
      videos of another program, named <clip id>.mp4
  torchrun --nproc_per_node 4 -m syncdiff_bench run --dataset lrs2 ...
      on four GPUs; the first one scores
  syncdiff-bench run --metrics psnr,lpips[net=vgg] --set steps=50""",
    closing="Stopped at any moment (Ctrl-C, kill -9), the same command goes on where it was.",
)
@with_options(*GENERATION, METRICS, *CARRYING_OUT, DRY_RUN)
@click.pass_context
def run(
    ctx: click.Context, /, *, retry_failed: bool, fresh: bool, strict: bool, dry_run: bool, **selection: Any
) -> None:
    """Generate videos, score them, print the leaderboard.

    Each method gets a run directory below --out: run.json, videos/, scores.jsonl.
    """
    from syncdiff_bench import pipeline
    from syncdiff_bench.cli.output import exit_code, publish
    from syncdiff_bench.reproduction.models import with_model
    from syncdiff_bench.runs.plan import make_plan

    plan = make_plan(selected(**selection), model_of=with_model)
    progress = _generate(plan, retry_failed=retry_failed, fresh=fresh, dry_run=dry_run)
    if progress is None:
        return
    for run_plan in plan.runs:
        pipeline.score_run(plan, run_plan, retry_failed=retry_failed, progress=progress)
    runs = pipeline.load_runs(plan)
    code = exit_code(runs, strict=strict)
    publish(plan.out, runs)
    ctx.exit(code)


@command(
    examples="""
  syncdiff-bench generate --dataset lrs3 --data-root /data --out runs/lrs3
      with training/paper/model, or --set model=DIR
  syncdiff-bench score runs/lrs3
  torchrun --nproc_per_node 4 -m syncdiff_bench generate --dataset lrs3 ...
      on four GPUs, or processes; the videos are the same""",
)
@with_options(*GENERATION, *CARRYING_OUT, DRY_RUN)
@click.pass_context
def generate(
    ctx: click.Context, /, *, retry_failed: bool, fresh: bool, strict: bool, dry_run: bool, **selection: Any
) -> None:
    """Generate the videos and stop; resumes by itself."""
    from syncdiff_bench import pipeline
    from syncdiff_bench.cli.output import exit_code, print_generated
    from syncdiff_bench.reproduction.models import with_model
    from syncdiff_bench.runs.plan import make_plan

    plan = make_plan(selected(**selection), with_metrics=False, model_of=with_model)
    if _generate(plan, retry_failed=retry_failed, fresh=fresh, dry_run=dry_run) is None:
        return
    runs = pipeline.load_runs(plan)
    code = exit_code(runs, strict=strict)
    for finished in runs:
        print_generated(finished)
    ctx.exit(code)


def _generate(plan: Plan, *, retry_failed: bool, fresh: bool, dry_run: bool) -> Progress | None:
    """The first stage, or with `dry_run` the plan on stdout; the progress to go on with, None where this ends here."""
    from syncdiff_bench import pipeline
    from syncdiff_bench.cli.output import stderr_progress
    from syncdiff_bench.runs.directory import check_identity
    from syncdiff_bench.runs.progress import Progress
    from syncdiff_bench.runs.ranks import these_ranks

    # Before the first of them works for an hour.
    for run_plan in plan.runs if not fresh else ():
        check_identity(run_plan.path, run_plan.identity)
    if dry_run:
        print_plan(plan)
        return None
    ranks = these_ranks()
    progress = stderr_progress() if ranks.first else Progress()
    for run_plan in plan.runs:
        pipeline.generate_run(plan, run_plan, retry_failed=retry_failed, fresh=fresh, progress=progress, ranks=ranks)
    return progress if ranks.first else None


def print_plan(plan: Plan) -> None:
    """What a run would do: clips, frames, batches, metrics, what is done already, and what generating costs."""
    from math import ceil

    from syncdiff_bench.estimates.machine import available_bytes
    from syncdiff_bench.estimates.workload import clip_frames, in_words

    first = plan.runs[0].identity
    device = plan.runtime.device
    frames, probed = clip_frames(plan.dataset, first.clips)
    by = "" if probed == len(first.clips) else f" by the headers of {probed}"
    root = f" in {first.root}" if first.root else ""
    click.echo(f"dataset  {first.dataset}, split {first.split}: {len(first.clips)} clips{root}")
    click.echo(f"         {sum(frames)} frames at 25 fps{by}")
    click.echo(f"         first {first.clips[0]}, last {first.clips[-1]}")
    if plan.metrics:
        click.echo(f"metrics  {', '.join(f'{metric.name} ({metric.protocol})' for metric in plan.metrics)}")
    click.echo(f"seed     {first.seed}; encoding {first.encoding}; device {device}")
    for run_plan in plan.runs:
        batches = ceil(len(first.clips) / run_plan.method.batch_size)
        options = " ".join(f"{key}={value}" for key, value in run_plan.identity.options.items())
        click.echo(f"method   {run_plan.method.name} {options}".rstrip())
        click.echo(f"         {batches} batches of up to {run_plan.method.batch_size}; {_progress_of(run_plan)}")
        click.echo(f"         {run_plan.path}")
        workload = run_plan.method.workload(frames)
        if workload is None:
            click.echo("         no estimate of this method")
            continue
        for line in in_words(workload, sum(frames), device, available_bytes(device)):
            click.echo(f"         {line}")


def _progress_of(run_plan: Any) -> str:
    from syncdiff_bench.runs.directory import MANIFEST, load_run

    if not (run_plan.path / MANIFEST).is_file():
        return "nothing done yet"
    done = load_run(run_plan.path)
    made = sum(record.error is None for record in done.generated.values())
    failed = len(done.generated) - made
    return f"done: {made} clips generated, {failed} failed, {len(done.scores)} scores"
