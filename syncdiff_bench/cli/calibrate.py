"""`syncdiff-bench paper calibrate`: ground truth through the whole pipeline, against numbers that are known."""

from __future__ import annotations

from pathlib import Path

import click

from syncdiff_bench.cli.commands import NAME, NEW_DIR, command, option, with_options
from syncdiff_bench.cli.options import DATA_ROOT, DATASET, DEVICE, LIMIT


@command(
    examples="""
  syncdiff-bench paper calibrate
      pocket, the data set inside the package
  syncdiff-bench paper calibrate --dataset lrs2 --data-root /data/lrs2
      against the ground-truth row of the paper
  syncdiff-bench paper calibrate --dataset lrs3 --data-root /data --limit 50
      a part; numbers about the whole split are judged within their interval""",
    closing="Exit codes: 0 nothing disagrees; 1 something does; 2 unusable input.",
)
@with_options(DATASET, DATA_ROOT)
@option("--split", NAME, "Split.", default="test")
@with_options(LIMIT, DEVICE)
@option("--out", NEW_DIR, "Folder of the run.", shown="runs/calibrate-<dataset>-<split>")
@click.pass_context
def calibrate(
    ctx: click.Context,
    /,
    *,
    dataset: str,
    data_root: Path | None,
    split: str,
    limit: int | None,
    out: Path | None,
    device: str,
) -> None:
    """Score ground truth and compare with known values.

    For LRS2 and LRS3 these are the published ones, so that agreement means: this machine, these weights and these
    files give the numbers of the literature. Resumes by itself.
    """
    from syncdiff_bench import pipeline
    from syncdiff_bench.cli.output import print_failures, stderr_progress
    from syncdiff_bench.report.anchors import find_anchors
    from syncdiff_bench.report.calibration import (
        METHOD,
        Answer,
        calibration_out,
        check_same_software,
        judge,
        overall,
        summary_keys,
    )
    from syncdiff_bench.runs.directory import check_identity
    from syncdiff_bench.runs.plan import Selection, make_plan
    from syncdiff_bench.texts import metric_specs

    anchors = find_anchors(dataset, split)
    plan = make_plan(
        Selection(
            methods=(METHOD,),
            dataset=dataset,
            data_root=data_root,
            split=split,
            metrics=metric_specs(anchor.metric for anchor in anchors.anchors),
            limit=limit,
            out=out or calibration_out(dataset, split, limit),
            device=device,
        )
    )
    (run_plan,) = plan.runs
    check_identity(run_plan.path, run_plan.identity)
    check_same_software(run_plan.path)
    keys = summary_keys(anchors, plan.runtime, plan.dataset)
    progress = stderr_progress()
    pipeline.generate_run(plan, run_plan, retry_failed=True, progress=progress)
    pipeline.score_run(plan, run_plan, retry_failed=True, progress=progress)
    (run,) = pipeline.load_runs(plan)
    print_failures(run)
    verdicts = judge(anchors, keys, run)
    click.echo(f"{dataset}, {split}: ground truth of {len(run.identity.clips)} of {anchors.clips} clips")
    for verdict in verdicts:
        click.echo(f"  {verdict.line()}")
    click.echo(overall(verdicts))
    ctx.exit(1 if any(verdict.answer is Answer.DISAGREES for verdict in verdicts) else 0)
