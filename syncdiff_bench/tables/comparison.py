"""A paper's table joined with runs: paper | ours | delta | n (failed), cell by cell.

A run stands in the row of the system that it measured: the paper row of the same method whose options, all
of them, are among the run's; where several fit, the one with the most options. A number stands in the paper's
column only where metric, protocol and column agree; one that was measured under another protocol gets a
column of its own, without a paper value. A delta needs the same dataset as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from syncdiff_bench.errors import UsageError
from syncdiff_bench.tables.paper import PaperColumn, PaperRow, PaperTable, PaperValue, System, tables
from syncdiff_bench.tables.results import Measured, RunResult

MISSING = object()
GROUND_TRUTH = "gt"


@dataclass(frozen=True)
class Cell:
    """paper: the printed value, None for N/A; means something only where `printed`.

    run: the directory that `ours` comes from.
    delta: ours - paper, None unless both are numbers of the same dataset.
    """

    paper: PaperValue = None
    printed: bool = False
    ours: Measured | None = None
    run: Path | None = None
    delta: float | None = None


@dataclass(frozen=True)
class ComparedRow:
    """cells: one per column of the panel. in_paper: False for a method that the paper does not have."""

    label: str
    system: System
    topline: bool
    in_paper: bool
    cells: tuple[Cell, ...]

    @property
    def was_run(self) -> bool:
        return any(cell.ours is not None for cell in self.cells)


@dataclass(frozen=True)
class Panel:
    """The table on one dataset.

    paper_dataset: whose values the paper prints; another one than `dataset` where the paper did not use ours.
    columns: the paper's, each followed by those of the same metric under other protocols.
    other_protocols: keys of the latter.
    truth: the cells of ground truth, which may be a run without a row in this table; empty where there is none.
    """

    dataset: str
    paper_dataset: str
    columns: tuple[PaperColumn, ...]
    other_protocols: frozenset[str]
    rows: tuple[ComparedRow, ...]
    truth: tuple[Cell, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """notes: of the paper's table, then what was left out or chosen while joining."""

    table: PaperTable
    panels: tuple[Panel, ...]
    notes: tuple[str, ...]


def compare(
    table: PaperTable,
    runs: Sequence[RunResult] = (),
    *,
    datasets: Sequence[str] = (),
    systems: Iterable[System] | None = None,
) -> Comparison:
    """Join one table with runs.

    datasets: panels to show; by default the paper's (unless every run is on another dataset), then those of
        the runs.
    systems: everything that has a row in some table, so that a variant never passes for the method's default;
        by default the systems of all installed tables.
    Raises UsageError for a dataset that neither the paper nor a run has.
    """
    known = {row.system for row in table.rows}
    known.update({row.system for one in tables() for row in one.rows} if systems is None else systems)
    scored = [run for run in runs if run.summary]
    owned = [(run, owner(run, known)) for run in scored]
    here = {row.system for row in table.rows}
    placed = [(run, system or _own_system(run)) for run, system in owned if _has_row(table, here, system)]
    notes = [*table.notes]
    notes += [f"{run.path} has no summary yet and is left out" for run in runs if not run.summary]
    truths = [run for run in scored if run.method == GROUND_TRUTH]
    strangers = [str(run.path) for run, system in owned if run not in truths and not _has_row(table, here, system)]
    if strangers:
        notes.append(f"without a row in this table: {', '.join(strangers)}")
    panels = []
    for dataset in _panel_datasets(table, scored, datasets):
        on_it = [(run, system) for run, system in placed if run.dataset == dataset]
        panels.append(_panel(table, dataset, on_it, [run for run in truths if run.dataset == dataset]))
        notes += _repeats(table, dataset, on_it)
    return Comparison(table, tuple(panels), tuple(notes))


def owner(run: RunResult, systems: Iterable[System]) -> System | None:
    """The most specific of `systems` that the run is an instance of, None where it is of none."""
    fitting = [
        system
        for system in systems
        if system.method == run.method
        and all(run.options.get(name, MISSING) == value for name, value in system.options)
    ]
    return max(fitting, key=lambda system: len(system.options), default=None)


def _has_row(table: PaperTable, here: set[System], system: System | None) -> bool:
    return table.open if system is None else system in here


def _own_system(run: RunResult) -> System:
    """A method outside the paper: every set of options is a system of its own."""
    options = {name: value if isinstance(value, str) else json.dumps(value) for name, value in run.options.items()}
    return System(run.method, tuple(sorted(options.items())))


def _panel_datasets(table: PaperTable, runs: Sequence[RunResult], wanted: Sequence[str]) -> tuple[str, ...]:
    of_runs = tuple(dict.fromkeys(run.dataset for run in runs))
    known = tuple(dict.fromkeys((*table.datasets, *of_runs)))
    for dataset in wanted:
        if dataset not in known:
            raise UsageError(f"dataset {dataset}: neither the paper nor a run has it; known: {', '.join(known)}")
    if wanted:
        return tuple(dict.fromkeys(wanted))
    return of_runs if of_runs and not set(of_runs) & set(table.datasets) else known


def _panel(
    table: PaperTable, dataset: str, runs: Sequence[tuple[RunResult, System]], truths: Sequence[RunResult]
) -> Panel:
    paper_dataset = dataset if dataset in table.datasets else table.datasets[0]
    columns, others = _columns(table, [run for run, _ in runs])
    rows = []
    for row in table.rows:
        own = [run for run, system in runs if system == row.system]
        cells = tuple(_cell(column, row, dataset, paper_dataset, own) for column in columns)
        rows.append(ComparedRow(row.label, row.system, row.topline, in_paper=True, cells=cells))
    in_paper = {row.system for row in table.rows}
    extra = tuple(dict.fromkeys(system for _, system in runs if system not in in_paper))
    for system in extra:
        own = [run for run, one in runs if one == system]
        cells = tuple(_cell(column, None, dataset, paper_dataset, own) for column in columns)
        label, topline = _label(own[0], system, extra), own[0].topline
        rows.append(ComparedRow(label, system, topline, in_paper=False, cells=cells))
    own_row = next((row.cells for row in rows if row.system.method == GROUND_TRUTH), None)
    truth = own_row or tuple(_cell(column, None, dataset, paper_dataset, truths) for column in columns)
    return Panel(dataset, paper_dataset, columns, others, tuple(rows), truth)


def _columns(table: PaperTable, runs: Sequence[RunResult]) -> tuple[tuple[PaperColumn, ...], frozenset[str]]:
    """The paper's columns, each followed by the same metric under the other protocols that the runs used."""
    columns: list[PaperColumn] = []
    others = []
    ours = {(column.metric, column.protocol, column.column) for column in table.columns}
    for column in table.columns:
        columns.append(column)
        measured = [m for run in runs for m in run.summary if (m.metric, m.column) == (column.metric, column.column)]
        for protocol in dict.fromkeys(m.protocol for m in measured):
            if (column.metric, protocol, column.column) in ours:
                continue
            key, label = f"{column.key}[{protocol}]", f"{column.label} [{protocol}]"
            columns.append(replace(column, key=key, label=label, protocol=protocol))
            others.append(key)
            ours.add((column.metric, protocol, column.column))
    return tuple(columns), frozenset(others)


def _cell(
    column: PaperColumn, row: PaperRow | None, dataset: str, paper_dataset: str, runs: Sequence[RunResult]
) -> Cell:
    printed = row is not None and column.key in row.values[paper_dataset]
    paper = row.values[paper_dataset][column.key] if row is not None and printed else None
    candidates = [(run, m) for run in runs for m in run.summary if _measures(m, column)]
    if not candidates:
        return Cell(paper, printed)
    run, ours = max(candidates, key=lambda candidate: candidate[0].finished)
    comparable = dataset == paper_dataset and paper is not None and ours.mean is not None
    delta = round(ours.mean - paper, 10) if comparable and ours.mean is not None and paper is not None else None
    return Cell(paper, printed, ours, run.path, delta)


def _measures(measured: Measured, column: PaperColumn) -> bool:
    identity = (measured.metric, measured.protocol, measured.column)
    return identity == (column.metric, column.protocol, column.column)


def _label(run: RunResult, system: System, extra: Sequence[System]) -> str:
    """The method's title, and the options that tell it from the others of that name."""
    title = run.title or run.method
    rivals = [one for one in extra if one.method == system.method and one != system]
    differing = [pair for pair in system.options if any(pair not in rival.options for rival in rivals)]
    if not differing:
        return title
    return f"{title} ({', '.join(f'{name}={value}' for name, value in differing)})"


def _repeats(table: PaperTable, dataset: str, runs: Sequence[tuple[RunResult, System]]) -> list[str]:
    """A note for every system of which several runs measured the same column."""
    labels = {row.system: row.label for row in table.rows}
    notes = []
    for system in dict.fromkeys(system for _, system in runs):
        own = [run for run, one in runs if one == system]
        identities = [{(m.metric, m.protocol, m.column) for m in run.summary} for run in own]
        if len(set().union(*identities)) < sum(len(one) for one in identities):
            label = labels.get(system, system.method)
            newest = max(own, key=lambda run: run.finished)
            notes.append(f"{label} on {dataset}: {len(own)} runs measured the same; shown is {newest.path}, the newest")
    return notes
