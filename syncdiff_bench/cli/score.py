"""`syncdiff-bench score`: the second stage alone, on a run or on videos from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncdiff_bench.cli.commands import ANY_PATH, DIR, command, option, with_options
from syncdiff_bench.cli.options import CARRYING_OUT, GENERATION, METRICS, SHARING, selected, told_root
from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    from syncdiff_bench.runs.plan import ScorePlan, Selection


@command(
    keeps=True,
    examples="""
  syncdiff-bench score runs/pocket-test --metrics ssim
      add a metric to runs that exist; the rest is taken from their run.json
  syncdiff-bench score --videos mine/ --reference theirs/
      videos of any program, paired by name
  syncdiff-bench score --videos faces512/ --reference theirs/ --align faces
      crops against whole frames: faces, each cut by boxes of its own
  syncdiff-bench score --videos dubbed/ --metrics lse
      without a reference; metrics that need one read n/a""",
)
@click.argument("runs", nargs=-1, type=ANY_PATH, metavar="[RUN]...")
@option("--videos", DIR, "Score the videos below this folder.")
@option("--reference", DIR, "Their references, of the same names.")
@option(
    "--align",
    click.Choice(["frames", "faces"]),
    "With --reference: what is compared; faces for videos of another shape or crop.",
    default="frames",
)
@with_options(*GENERATION, METRICS, *CARRYING_OUT, *SHARING)
@click.pass_context
def score(
    ctx: click.Context,
    /,
    *,
    runs: tuple[Path, ...],
    videos: Path | None,
    reference: Path | None,
    retry_failed: bool,
    fresh: bool,
    strict: bool,
    shard: str,
    workers: int,
    progress: str,
    **selection: Any,
) -> None:
    """Only score: a run, or videos of your own.

    The videos are those of RUNs, those that the options name as in `run`, or --videos. --fresh deletes the scores
    of RUNs, never their videos.
    """
    from syncdiff_bench import pipeline
    from syncdiff_bench.cli.output import exit_code, publish
    from syncdiff_bench.cli.run import missing_parts, shared

    if bool(runs) + (videos is not None) > 1 or (reference is not None and videos is None):
        raise UsageError("give RUN directories, or --videos with or without --reference, not both")
    if selection["align"] == "faces" and reference is None:
        raise UsageError("--align faces goes with --videos and --reference")
    plans = _plans(selected(**selection), runs, videos, reference)
    with shared(shard, workers, progress) as sharing:
        ended = [pipeline.score_videos(plan, retry_failed=retry_failed, fresh=fresh, **sharing) for plan in plans]
        if not sharing["ranks"].first:
            return
    scored = [run or pipeline.load_whole(plan.path) for run, plan in zip(ended, plans, strict=True)]
    code = exit_code(scored, strict=strict)
    if not missing_parts(scored):
        for out in dict.fromkeys(plan.path.parent for plan in plans):
            publish(out, scored)
    ctx.exit(code)


def _plans(
    selection: Selection, runs: tuple[Path, ...], videos: Path | None, reference: Path | None
) -> list[ScorePlan]:
    from syncdiff_bench import pipeline
    from syncdiff_bench.reproduction.models import with_model
    from syncdiff_bench.runs.directory import run_directories
    from syncdiff_bench.runs.layout import MANIFEST
    from syncdiff_bench.runs.plan import make_plan, plan_given
    from syncdiff_bench.runs.recorded import check_identity

    if videos is not None:
        return [plan_given(selection, videos, reference)]
    if runs:
        return [pipeline.recorded_plan(path, selection) for path in run_directories(runs)]
    told_root(selection.dataset, selection.data_root)
    plan = make_plan(selection, model_of=with_model)
    for run_plan in plan.runs:
        if not (run_plan.path / MANIFEST).is_file():
            raise UsageError(f"{run_plan.path} holds no run; generate it first, or give its folder with --out")
        check_identity(run_plan.path, run_plan.identity)
    return [plan.scoring(run_plan) for run_plan in plan.runs]
