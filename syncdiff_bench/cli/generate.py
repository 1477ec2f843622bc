"""`syncdiff-bench generate`: the first stage alone."""

from __future__ import annotations

from typing import Any

import click

from syncdiff_bench.cli.selection import COMMON_OPTIONS, METHOD_OPTIONS, with_options

EPILOG = """\b
Examples:
  syncdiff-bench generate --dataset lrs3 --data-root /data/lrs3 --out runs/lrs3
      with training/paper/model, or --set model=DIR
  syncdiff-bench score runs/lrs3
  torchrun --nproc_per_node 4 -m syncdiff_bench generate --dataset lrs3 ...
      on four GPUs, or processes; the videos are the same"""


@click.command(epilog=EPILOG)
@with_options(METHOD_OPTIONS, COMMON_OPTIONS)
@click.pass_context
def generate(ctx: click.Context, /, *, retry_failed: bool, fresh: bool, strict: bool, **selection: Any) -> None:
    """Generate the videos and stop; resumes by itself."""
    from syncdiff_bench import pipeline
    from syncdiff_bench.cli.output import exit_code, print_generated, stderr_progress
    from syncdiff_bench.reproduction.defaults import with_model
    from syncdiff_bench.runs.directory import check_identity
    from syncdiff_bench.runs.plan import Selection, make_plan
    from syncdiff_bench.runs.progress import Progress
    from syncdiff_bench.runs.ranks import these_ranks

    plan = make_plan(Selection(**selection), with_metrics=False, model_of=with_model)
    for run_plan in plan.runs if not fresh else ():
        check_identity(run_plan.path, run_plan.identity)
    ranks = these_ranks()
    progress = stderr_progress() if ranks.first else Progress()
    for run_plan in plan.runs:
        pipeline.generate_run(plan, run_plan, retry_failed=retry_failed, fresh=fresh, progress=progress, ranks=ranks)
    if not ranks.first:
        return
    runs = pipeline.load_runs(plan)
    code = exit_code(runs, strict=strict)
    for finished in runs:
        print_generated(finished)
    ctx.exit(code)
