"""What a reproduction found: the seeds of each job pooled, and the tables written from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncdiff_bench.files import write_whole
from syncdiff_bench.report.joined import join
from syncdiff_bench.report.paper import PaperTable
from syncdiff_bench.report.paper_table import paper_table
from syncdiff_bench.report.results import read_run, run_of
from syncdiff_bench.report.table import Table
from syncdiff_bench.report.writers import render
from syncdiff_bench.reproduction.findings import Judgement, rendered
from syncdiff_bench.reproduction.models import Request
from syncdiff_bench.reproduction.probing import read_spreads, summary_entry
from syncdiff_bench.reproduction.rows import Job
from syncdiff_bench.runs.directory import Run, load_run
from syncdiff_bench.runs.layout import MANIFEST
from syncdiff_bench.runs.plan import recorded_metric
from syncdiff_bench.runs.summary import summarise
from syncdiff_bench.significance.scored import require_alike

SUFFIXES = {"markdown": "md", "latex": "tex", "csv": "csv", "html": "html"}
FOLDER = "tables"


def result_of(job: Job) -> Run | None:
    """Over all of its finished seeds; None where there is none.

    Raises UsageError where seeds were scored differently, or a folder is damaged.
    """
    paths = [job.run_path(seed) for seed in job.finished_seeds()]
    if not paths:
        return None
    results = [read_run(path / MANIFEST) for path in paths]
    newest = max(results, key=lambda result: result.manifest["finished"])
    if len(paths) == 1:
        return replace(newest, path=job.path)
    summary = _pooled_probes(paths) if job.probed else _pooled_scores(paths)
    caveats = {one.text: one.to_json() for result in results for one in result.caveats}
    return run_of(job.path, {**newest.manifest, "summary": summary, "caveats": list(caveats.values())})


def _pooled_scores(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """A clip counts once per seed; the interval resamples speakers, with all seeds of all their clips."""
    runs = [load_run(path) for path in paths]
    require_alike(runs)
    metrics = [recorded_metric(entry) for entry in runs[0].manifest["protocols"]]
    speakers: dict[str, str] = {}
    for run in runs:
        speakers.update(run.speakers)
    scores = [score for run in runs for score in run.scores]
    return [entry.to_json() for entry in summarise(scores, metrics, speakers, {})]


def _pooled_probes(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The mean over seeds of each group's variance, then as in a single probe."""
    return [summary_entry(*found) for found in read_spreads([path / MANIFEST for path in paths]).items()]


def tables_of(request: Request, jobs: Sequence[Job], reasons: Mapping[str, str]) -> list[Table]:
    """Each table with what was made of it. reasons: name of a job -> why it has no result, for the notes."""
    results = {job.name: result_of(job) for job in jobs}
    made = []
    for table in request.tables:
        systems = {row.system for row in table.rows}
        here = [job for job in jobs if job.belongs_to(table)]
        found = [result for job in here if (result := results[job.name]) is not None]
        # Before anything is there, the paper alone. No default options: those that the recipe sets make the row.
        joined = join(table, found, datasets=(request.recipe.dataset,) if found else ())
        mine = [job for job in here if job.system in systems]
        notes = [note for note in joined.notes if not note.startswith("without a row in this table")]
        notes += _notes(request, mine, results, reasons, table)
        made.append(paper_table(replace(joined, notes=tuple(notes))))
    return made


def _notes(
    request: Request,
    jobs: Sequence[Job],
    results: Mapping[str, Run | None],
    reasons: Mapping[str, str],
    table: PaperTable,
) -> list[str]:
    recipe, notes = request.recipe, []
    if any(len(job.seeds) > 1 and results[job.name] is not None for job in jobs):
        seeds = ", ".join(map(str, request.seeds))
        notes.append(
            f"Seeds {seeds} of the sampling noise: every clip counts once per seed, and the intervals resample whole"
            " speakers. There is one training per row: a difference between two rows holds the luck of two trainings."
        )
    for job in jobs:
        done = job.finished_seeds()
        if done and len(done) < len(job.seeds):
            notes.append(f"{job.name}: only seeds {', '.join(map(str, done))} are there.")
        if not done and job.name in reasons:
            rows = [
                name.partition(" ")[2].partition(" ")[2]
                for name in job.rows
                if name.startswith(f"Table {table.number} ")
            ]
            notes.append(f"{', '.join(rows)} is blank: {reasons[job.name]}.")
    if any(job.ablation and results[job.name] is not None for job in jobs):
        notes.append(recipe.ablation.note)
    limited = f", the first {request.limit} clips" if request.limit else ""
    return [
        *notes,
        f"Made by syncdiff-bench paper reproduce --table {table.number} --dataset {recipe.dataset}{limited}.",
    ]


def write_tables(
    request: Request, tables: Sequence[Table], jobs: Sequence[Job], judgements: Sequence[Judgement]
) -> list[Path]:
    """Write OUT/tables, and name the files.

    tableN.md, .tex, .csv and .html
    findings.md                     where there are judgements
    manifests/<job>/seed-S.json     the run.json behind each number; these are not named
    """
    folder = request.out / FOLDER
    pages = {
        folder / f"table{table.number}.{suffix}": render([made], name)
        for table, made in zip(request.tables, tables, strict=True)
        for name, suffix in SUFFIXES.items()
    }
    if judgements:
        pages[folder / "findings.md"] = rendered(judgements, request.recipe.dataset)
    for path, text in pages.items():
        write_whole(path, text)
    for job in jobs:
        for seed in job.finished_seeds():
            record = (job.run_path(seed) / MANIFEST).read_bytes()
            write_whole(folder / "manifests" / job.name / f"seed-{seed}.json", record)
    return list(pages)
