"""What a reproduction found: the runs of each job pooled, and the tables written from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncdiff_bench.faults import blamed
from syncdiff_bench.files import write_whole
from syncdiff_bench.report.joined import join
from syncdiff_bench.report.paper import PaperTable
from syncdiff_bench.report.paper_table import paper_table
from syncdiff_bench.report.results import read_run, run_of
from syncdiff_bench.report.table import Table
from syncdiff_bench.report.writers import render
from syncdiff_bench.reproduction.findings import Judgement, rendered
from syncdiff_bench.reproduction.models import Request
from syncdiff_bench.reproduction.planning import MAKES, reasons_of
from syncdiff_bench.reproduction.probing import spreads_of, summary_entry
from syncdiff_bench.reproduction.rows import BOUND, Job
from syncdiff_bench.runs.directory import Run, load_run
from syncdiff_bench.runs.draws import Draw
from syncdiff_bench.runs.layout import MANIFEST
from syncdiff_bench.runs.protocols import recorded_metric
from syncdiff_bench.runs.records import Score
from syncdiff_bench.runs.summary import summarise
from syncdiff_bench.significance.scored import require_alike

SUFFIXES = {"markdown": "md", "latex": "tex", "csv": "csv", "html": "html"}
FOLDER = "tables"


def result_of(job: Job) -> Run | None:
    """Over all of its finished draws; None where there is none.

    Raises UsageError where they were scored differently, or a folder is damaged.
    """
    paths = job.finished()
    if not paths:
        return None
    results = [read_run(path / MANIFEST) for path in paths.values()]
    newest = max(results, key=lambda result: result.manifest["finished"])
    if len(paths) == 1:
        return replace(newest, path=job.path)
    summary = _pooled_probes(paths) if job.probed else _pooled_scores(paths)
    caveats = {one.text: one.to_json() for result in results for one in result.caveats}
    return run_of(job.path, {**newest.manifest, "summary": summary, "caveats": list(caveats.values())})


def _pooled_scores(paths: Mapping[Draw, Path]) -> list[dict[str, Any]]:
    """A clip counts once per draw; the interval resamples trainings, and speakers with all their clips of all draws."""
    runs = {draw: load_run(path) for draw, path in paths.items()}
    require_alike(runs)
    first, *_ = runs.values()
    metrics = [recorded_metric(entry) for entry in first.manifest["protocols"]]
    speakers: dict[str, str] = {}
    trainings: dict[int | None, list[Score]] = {}
    for draw, run in runs.items():
        speakers.update(run.speakers)
        trainings.setdefault(draw.training, []).extend(run.scores)
    with blamed(f"a metric on {first.path} and its like", "score them again, or mend the plugin"):
        return [entry.to_json() for entry in summarise(list(trainings.values()), metrics, speakers, {})]


def _pooled_probes(paths: Mapping[Draw, Path]) -> list[dict[str, Any]]:
    """The mean over draws of each group's variance; the interval resamples trainings, and speakers."""
    trainings = spreads_of(paths)
    first, *_ = trainings.values()
    sides = {name: [one[name] for one in trainings.values() if name in one] for name in first}
    return [summary_entry(name, *spreads) for name, spreads in sides.items()]


def tables_of(request: Request, jobs: Sequence[Job], reasons: Mapping[str, str]) -> list[Table]:
    """Each table with what was made of it.

    reasons: name of a replicate -> why it has no result, for the notes.
    """
    results = {job.name: result_of(job) for job in jobs}
    made = []
    for table in request.tables:
        systems = {row.system for row in table.rows}
        here = [job for job in jobs if job.belongs_to(table)]
        mine = [job for job in here if job.system in systems]
        bound = [job for job in here if job.system.method == BOUND and job not in mine]
        found = [result for job in (*mine, *bound) if (result := results[job.name]) is not None]
        # Before anything is there, the paper alone. No default options: those that the recipe sets make the row.
        joined = join(table, found, datasets=(request.recipe.dataset,) if found else ())
        notes = [*joined.notes, *_notes(request, mine, results, reasons, table)]
        made.append(paper_table(replace(joined, notes=tuple(notes))))
    return made


def _notes(
    request: Request,
    jobs: Sequence[Job],
    results: Mapping[str, Run | None],
    reasons: Mapping[str, str],
    table: PaperTable,
) -> list[str]:
    """jobs: those of the rows."""
    recipe, found = request.recipe, [job for job in jobs if results[job.name] is not None]
    notes = _chances(found)
    for job in jobs:
        here = f"{table.heading} "
        labels = ", ".join(name.removeprefix(here) for name in job.rows if name.startswith(here))
        lacks = _absence(job) if job in found else "is blank"
        # A command for each of several trainings would bury the table; the dry run names them.
        why = "; ".join(one.partition(MAKES)[0] if job.trainings else one for one in reasons_of(job, reasons))
        if lacks and (why or job in found):
            notes.append(f"{labels} {lacks}{f': {why}' if why else ''}.")
    if any(job.ablation for job in found):
        notes.append(recipe.ablation.note)
    limited = f", the first {request.limit} clips" if request.limit else ""
    return [
        *notes,
        f"Made by syncdiff-bench paper reproduce --table {table.key} --dataset {recipe.dataset}{limited}.",
    ]


def _chances(jobs: Sequence[Job]) -> list[str]:
    """What the numbers of a table are drawn with, and what their intervals hold. jobs: those with a result."""
    models = [job for job in jobs if job.recipe.model]
    if not models:
        return []
    drawn = max(models, key=lambda job: len({draw.training for draw in job.finished()}))
    if len({draw.training for draw in drawn.finished()}) > 1:
        return [
            f"A row is trained with {_seeds('seed', drawn.trainings)}, and each training is sampled with"
            f" {_seeds('seed', drawn.seeds)}: a clip counts once for each, and the intervals hold the luck of training"
            " as well as the choice of speakers."
        ]
    sampled = max((job.seeds for job in models), key=len)
    counts = f"A clip is sampled with {_seeds('seed', sampled)} and counts once for each. " if len(sampled) > 1 else ""
    return [
        f"{counts}There is one training per row: the intervals hold the choice of speakers alone, and a difference"
        " between two rows holds the luck of two trainings as well."
    ]


def _absence(job: Job) -> str:
    """Which draws there are, where some are missing: "has only trainings 0, 1 of 0, 1, 2"."""
    there = tuple(job.finished())
    of: Sequence[object] = job.draws
    if len(there) == len(job.draws):
        return ""
    if not job.trainings:
        of, found = job.seeds, _seeds("seed", [draw.seed for draw in there])
    elif len(job.seeds) == 1:
        of, found = job.trainings, _seeds("training", [draw.training for draw in there])
    else:
        found = ", ".join(map(str, there))
    return f"has only {found} of {', '.join(map(str, of))}"


def _seeds(what: str, seeds: Sequence[object]) -> str:
    """ "seed 0", "seeds 0, 1"."""
    return f"{what}{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def write_tables(request: Request, tables: Sequence[Table], judgements: Sequence[Judgement]) -> list[Path]:
    """Write OUT/tables, and name the files.

    tableN.md, .tex, .csv and .html; a table with a name is called so
    findings.md                     where there are judgements
    """
    folder = request.out / FOLDER
    pages = {
        folder / f"{table.name or f'table{table.number}'}.{suffix}": render([made], name)
        for table, made in zip(request.tables, tables, strict=True)
        for name, suffix in SUFFIXES.items()
    }
    if judgements:
        pages[folder / "findings.md"] = rendered(judgements, request.recipe.dataset)
    for path, text in pages.items():
        write_whole(path, text)
    return list(pages)
