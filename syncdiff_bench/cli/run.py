"""`syncdiff-bench run`: everything, from clips to the leaderboard; `generate`: its first stage alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from syncdiff_bench.characters import one_line
from syncdiff_bench.cli.commands import command, say, with_options
from syncdiff_bench.cli.options import (
    CARRYING_OUT,
    DRY_RUN,
    GENERATION,
    METRICS,
    SHARING,
    parse_shard,
    selected,
    told_root,
)

if TYPE_CHECKING:
    from syncdiff_bench.runs.directory import Run
    from syncdiff_bench.runs.plan import Plan


@command(
    keeps=True,
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
      on four GPUs
  syncdiff-bench run --metrics psnr,lpips[net=vgg] --set steps=50""",
    closing="Stopped at any moment (Ctrl-C, kill -9), the same command goes on where it was.",
)
@with_options(*GENERATION, METRICS, *CARRYING_OUT, *SHARING, DRY_RUN)
@click.pass_context
def run(ctx: click.Context, /, *, strict: bool, **given: Any) -> None:
    """Generate videos, score them, print the leaderboard.

    Each method gets a run directory below --out: run.json, videos/, scores.jsonl.
    """
    from syncdiff_bench import pipeline
    from syncdiff_bench.cli.output import exit_code, publish

    with _generated(given) as (plan, work):
        if work is None:
            return
        scored = [
            pipeline.score_run(plan, run_plan, retry_failed=work.retry_failed, own=ours, **work.sharing)
            for run_plan, ours in zip(plan.runs, work.ours, strict=True)
        ]
    if not work.first:
        return
    runs = pipeline.load_runs(plan, scored)
    code = exit_code(runs, strict=strict)
    if not missing_parts(runs):
        publish(plan.out, runs)
    ctx.exit(code)


@command(
    keeps=True,
    examples="""
  syncdiff-bench generate --dataset lrs3 --data-root /data --out runs/lrs3
      with training/paper/model, or --set model=DIR
  syncdiff-bench score runs/lrs3
  torchrun --nproc_per_node 4 -m syncdiff_bench generate --dataset lrs3 ...
      on four GPUs, or processes; the videos are the same
  syncdiff-bench generate --dataset lrs3 --shard 2/8 ...
      the second of eight jobs""",
)
@with_options(*GENERATION, *CARRYING_OUT, *SHARING, DRY_RUN)
@click.pass_context
def generate(ctx: click.Context, /, *, strict: bool, **given: Any) -> None:
    """Generate the videos and stop; resumes by itself."""
    from syncdiff_bench import pipeline
    from syncdiff_bench.cli.output import exit_code, print_generated

    with _generated(given, with_metrics=False) as (plan, work):
        if work is None or not work.first:
            return
    runs = pipeline.load_runs(plan)
    code = exit_code(runs, strict=strict)
    for finished in runs:
        print_generated(finished)
    ctx.exit(code)


@dataclass(frozen=True)
class _Work:
    """What the first stage leaves to go on with.

    ours: of each run, the clips of this launch. sharing: what the next stage is carried out with.
    """

    ours: tuple[frozenset[str], ...]
    retry_failed: bool
    sharing: dict[str, Any]

    @property
    def first(self) -> bool:
        """Whether this process prints."""
        return bool(self.sharing["ranks"].first)


@contextmanager
def _generated(given: dict[str, Any], *, with_metrics: bool = True) -> Iterator[tuple[Plan, _Work | None]]:
    """The first stage, or with `dry_run` the plan on stdout; the plan, and what to go on with, None where this ends."""
    from syncdiff_bench import pipeline
    from syncdiff_bench.reproduction.models import with_model
    from syncdiff_bench.runs.plan import make_plan
    from syncdiff_bench.runs.recorded import check_identity

    how = {name: given.pop(name) for name in ("retry_failed", "fresh", "dry_run", "shard", "workers", "progress")}
    told_root(given["dataset"], given["data_root"])
    plan = make_plan(selected(**given), with_metrics=with_metrics, model_of=with_model)
    # Before the first of them works for an hour.
    for run_plan in plan.runs if not how["fresh"] else ():
        check_identity(run_plan.path, run_plan.identity)
    if how["dry_run"]:
        print_plan(plan)
        yield plan, None
        return
    with shared(how["shard"], how["workers"], how["progress"]) as sharing:
        again = {"retry_failed": how["retry_failed"], "fresh": how["fresh"]}
        ours = [pipeline.generate_run(plan, run_plan, **again, **sharing) for run_plan in plan.runs]
        yield plan, _Work(tuple(ours), how["retry_failed"], sharing)


@contextmanager
def shared(shard: str, workers: int, progress: str) -> Iterator[dict[str, Any]]:
    """What the stages of `pipeline` take of --shard, --workers, --progress and a launcher: ranks, crew, progress."""
    from syncdiff_bench.progress import Progress, stderr_progress
    from syncdiff_bench.runs.ranks import these_ranks
    from syncdiff_bench.runs.workers import Crew

    ranks = these_ranks(parse_shard(shard))
    with Crew(workers) as crew:
        yield {
            "ranks": ranks,
            "crew": crew,
            "progress": stderr_progress(progress) if ranks.first else Progress(),
        }
        ranks.wait()  # nobody is at work in the run directories any more


def missing_parts(runs: Sequence[Run]) -> bool:
    """Whether other shards still have to come; says so."""
    missing = False
    for one in (run for run in runs if not run.unread):
        clips, made = len(one.identity.clips), len(one.generated)
        if made < clips or not one.finished:
            missing = True
            lines = Counter(row.clip for row in one.scores)
            scored = sum(n == max(lines.values()) for n in lines.values())
            report = f"`syncdiff-bench report {one.path.parent}`"
            told = f"{made} of {clips} clips generated, {scored} scored"
            say(f"{one.path}: {told}; once the other shards are done, {report}", err=True)
    return missing


def print_plan(plan: Plan) -> None:
    """What a run would do: clips, frames, batches, metrics, what is done already, and what generating costs."""
    for label, text in _plan_lines(plan):
        say(text, label=f"{label:9}")


def _plan_lines(plan: Plan) -> Iterator[tuple[str, str]]:
    from syncdiff_bench.estimates.machine import available_bytes
    from syncdiff_bench.estimates.workload import clip_frames, in_words
    from syncdiff_bench.media.video_folder import ODD_FILES
    from syncdiff_bench.runs.generating import planned_batches

    first = plan.runs[0].identity
    device = plan.runtime.device
    frames, probed = clip_frames(plan.dataset, first.clips)
    by = "" if probed == len(first.clips) else f" by the headers of {probed}"
    root = f" in {first.root}" if first.root else ""
    yield "dataset", f"{first.dataset}, split {first.split}: {len(first.clips)} clips{root}"
    yield "", f"{sum(frames)} frames at 25 fps{by}"
    yield "", f"first {first.clips[0]}, last {first.clips[-1]}"
    for caveat in (one for one in first.caveats if one.kind == ODD_FILES):
        yield "", one_line(caveat.text)
    if plan.metrics:
        yield "metrics", ", ".join(f"{metric.name} ({metric.protocol})" for metric in plan.metrics)
    yield "seed", f"{first.seed}; encoding {first.encoding}; device {device}"
    for run_plan in plan.runs:
        batches = len(planned_batches(first.clips, run_plan.method, plan.dataset))
        options = " ".join(f"{key}={value}" for key, value in run_plan.identity.options.items())
        yield "method", f"{run_plan.method.name} {options}".rstrip()
        yield "", f"{batches} batches of up to {run_plan.method.batch_size}; {_progress_of(run_plan)}"
        yield "", str(run_plan.path)
        workload = run_plan.method.workload(frames)
        if workload is None:
            yield "", "no estimate of this method"
            continue
        for line in in_words(workload, sum(frames), device, available_bytes(device)):
            yield "", line


def _progress_of(run_plan: Any) -> str:
    from syncdiff_bench.runs.directory import load_run
    from syncdiff_bench.runs.layout import MANIFEST

    if not (run_plan.path / MANIFEST).is_file():
        return "nothing done yet"
    done = load_run(run_plan.path)
    made = sum(record.error is None for record in done.generated.values())
    failed = len(done.generated) - made
    return f"done: {made} clips generated, {failed} failed, {len(done.scores)} scores"
