"""The group `paper`: the paper's tables beside one's own runs, ground truth against known numbers, and Table 4's probe.

`reproduce`, of the same group, has a file of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncdiff_bench.cli.commands import (
    ANY_PATH,
    DATASET_NAME,
    FILE,
    NAME,
    NEW_DIR,
    TABLE,
    N,
    Takes,
    at_least,
    command,
    option,
    say,
    with_options,
)
from syncdiff_bench.cli.options import (
    BOXES,
    DATA_ROOT,
    DATASET,
    DATASET_SETTINGS,
    DEVICE,
    INTERVALS,
    LABELS,
    LIMIT,
    METHOD,
    ROWS,
    SEED,
    SETTINGS,
    SPLIT,
    markup,
    out_file,
    selected,
    show_columns,
    told_root,
)
from syncdiff_bench.errors import UsageError
from syncdiff_bench.progress import QUIET

if TYPE_CHECKING:
    from syncdiff_bench.reproduction.probing import Spread


@command(
    examples="""
  syncdiff-bench paper tables --table 1
      what the paper printed
  syncdiff-bench paper tables --table 1 runs/lrs2-test
      paper | ours ± CI | delta | n (failed)
  syncdiff-bench paper tables --table 1 --format latex > table1.tex
  syncdiff-bench paper tables --table 1 runs/lrs2-test --show paper,speed""",
    former={"--runs": ""},
)
@click.argument("runs", type=ANY_PATH, nargs=-1, metavar="[DIR]...")
@option("--table", TABLE, "1 to 6, or beyond.", name="keys", many=True, shown="the paper's")
@option("--dataset", DATASET_NAME, "Dataset to show.", name="datasets", many=True, shown="all")
@with_options(
    markup(
        *("table", "markdown", "latex", "html", "csv"),
        shown="table on a terminal, else markdown",
        note="; csv has one line per cell",
    ),
    out_file(""),
    show_columns("the paper's, and their metrics under other protocols", "paper (the paper's), speed"),
    ROWS,
    LABELS,
    INTERVALS,
)
def tables(
    *,
    runs: tuple[Path, ...],
    keys: tuple[str, ...],
    datasets: tuple[str, ...],
    format_name: str | None,
    out: Path | None,
    show: tuple[str, ...],
    rows: tuple[str, ...],
    labels: tuple[str, ...],
    intervals: bool,
) -> None:
    """Print the paper's tables beside your runs.

    A cell has paper | ours ± 95 % interval | delta | n (failed).
    Each DIR is a run directory, or a folder of them; without one, ours is blank. A number of another
    protocol than the paper's gets a column of its own, and so does every other metric that --show names.
    """
    from syncdiff_bench.cli.output import present, write_told
    from syncdiff_bench.plugins import default_options
    from syncdiff_bench.report import paper
    from syncdiff_bench.report.joined import join, require_chosen
    from syncdiff_bench.report.paper_table import paper_table
    from syncdiff_bench.report.results import find_runs
    from syncdiff_bench.report.selection import Choice, labelled
    from syncdiff_bench.report.writers import render

    chosen = [paper.table(key) for key in dict.fromkeys(keys)] or paper.paper_tables()
    if not chosen:
        raise UsageError("no leaderboard package is installed; reinstall syncdiff-bench")
    results, choice = labelled(find_runs(runs), labels), Choice(show, rows, intervals)
    joined = [join(table, results, datasets=datasets, defaults=default_options, choice=choice) for table in chosen]
    require_chosen(joined, choice)
    made = [paper_table(one) for one in joined if one.panels]
    if out is None:
        present(made, format_name)
        return
    write_told("--out", out, render(made, "markdown" if format_name in (None, "table") else format_name))


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
    from syncdiff_bench.cli.output import print_failures
    from syncdiff_bench.progress import stderr_progress
    from syncdiff_bench.report import calibration
    from syncdiff_bench.report.anchors import find_anchors
    from syncdiff_bench.runs.plan import Selection, make_plan
    from syncdiff_bench.runs.recorded import check_identity
    from syncdiff_bench.texts import metric_specs

    anchors = find_anchors(dataset, split)
    told_root(dataset, data_root)
    plan = make_plan(
        Selection(
            methods=(calibration.METHOD,),
            dataset=dataset,
            data_root=data_root,
            split=split,
            metrics=metric_specs(anchor.metric for anchor in anchors.anchors),
            limit=limit,
            out=out or calibration.calibration_out(dataset, split, limit),
            device=device,
        )
    )
    (run_plan,) = plan.runs
    check_identity(run_plan.path, run_plan.identity)
    calibration.check_same_software(run_plan.path)
    keys = calibration.summary_keys(anchors, plan.runtime, plan.dataset)
    progress = stderr_progress()
    pipeline.generate_run(plan, run_plan, retry_failed=True, progress=progress)
    pipeline.score_run(plan, run_plan, retry_failed=True, progress=progress)
    (run,) = pipeline.load_runs(plan)
    print_failures(run)
    verdicts = calibration.judge(anchors, keys, run)
    say(f"{dataset}, {split}: ground truth of {len(run.identity.clips)} of {anchors.clips} clips")
    for verdict in verdicts:
        say(verdict.line(), label="  ", hang=6)
    say(calibration.overall(verdicts))
    ctx.exit(1 if any(verdict.answer is calibration.Answer.DISAGREES for verdict in verdicts) else 0)


@command(
    examples="""
  syncdiff-bench paper probe
      IDENT on ten clips
  syncdiff-bench paper probe --pose-list watching.txt
      and POSE on frames labelled by hand
  syncdiff-bench paper probe --phone w --set model=training/pocket-rnd/model
  syncdiff-bench paper tables --table 4 probes
      beside the paper's numbers""",
    former={"--videos": "--pose-clips"},
)
@with_options(METHOD, SETTINGS, DATASET, DATA_ROOT, DATASET_SETTINGS, SPLIT, BOXES)
@option("--layer", NAME, "Where the latent is read; mid or z0 with syncdiff.", default="mid")
@option("--step", at_least(0), "Timestep at which it is read.", shown="the last")
@option("--clips", N, "IDENT: clips, drawn by --seed.", default=10)
@option("--clip", Takes("ID"), "IDENT: this clip instead of drawn ones.", name="chosen", many=True)
@option("--identity-frames", at_least(0), "IDENT: thin to N identity frames (0: all).", default=0)
@option("--pose-list", FILE, "POSE: lines of CLIP FRAME.")
@option("--phone", Takes("TEXT"), "POSE: this phone of one speaker, where the dataset knows its times.")
@option("--pose-clips", at_least(2), "POSE: clips with --phone.", name="videos", default=5)
@with_options(SEED, DEVICE)
@option("--out", NEW_DIR, "Folder for the record.", shown="probes/<dataset>-<split>")
def probe(
    *,
    method: str,
    layer: str,
    step: int | None,
    clips: int,
    chosen: tuple[str, ...],
    identity_frames: int,
    pose_list: Path | None,
    phone: str | None,
    videos: int,
    seed: int,
    out: Path | None,
    **given: Any,
) -> None:
    """Measure how far latents spread (Table 4).

    IDENT: only the identity frame varies. POSE: all but the identity frame does.
    """
    from rich.progress import Progress

    from syncdiff_bench.reproduction import probing
    from syncdiff_bench.reproduction.models import with_model
    from syncdiff_bench.runs.plan import make_plan

    told_root(given["dataset"], given["data_root"])
    selection = selected(methods=(method,), seed=seed, **given)
    plan = make_plan(selection, with_metrics=False, model_of=with_model)
    (run,), dataset = plan.runs, plan.dataset
    clip_ids = run.identity.clips
    probing.probed(run.method, layer)

    groups = probing.ident_groups(dataset, chosen or probing.draw_clips(clip_ids, clips, seed), identity_frames)
    if pose_list is not None:
        groups.append(probing.pose_group(phone or str(pose_list), probing.read_poses(pose_list, dataset)))
    elif phone is not None:
        groups.append(probing.pose_group(phone, probing.find_poses(dataset, clip_ids, phone, videos)))

    folder = out or Path("probes") / f"{dataset.name}-{run.identity.split}" / run.method.name
    with Progress(transient=True, disable=QUIET.get()) as bar:
        row = bar.add_task("latents", total=sum(len(group.cases) for group in groups))
        asked: dict[str, Any] = {"layer": layer, "step": step, "seed": seed}
        spreads = probing.measure(plan, groups, folder, **asked, advance=lambda cases: bar.advance(row, cases))
    _print(spreads)
    say(f"{folder / 'run.json'}", err=True)


def _print(spreads: dict[str, list[Spread]]) -> None:
    rows = []
    for experiment, group in spreads.items():
        rows += [(experiment.upper(), one.label, f"{one.cases}", f"{one.variance:.4f}") for one in group]
        mean = sum(one.variance for one in group) / len(group)
        rows.append((experiment.upper(), "mean", "", f"{mean:.4f}"))
    from syncdiff_bench.report.table import text_table
    from syncdiff_bench.report.writers.terminal import print_tables

    print_tables([text_table(("experiment", "over", "latents", "variance"), rows)])
