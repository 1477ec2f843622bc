"""A paper's table joined with runs: paper | ours | delta | n (failed), cell by cell.

A run stands in the row of the system that it measured: the paper row of the same method whose options, all
of them, are among the run's; where several fit, the one with the most options. A number stands in the paper's
column only where metric, protocol and column agree; one that was measured under another protocol gets a
column of its own, without a paper value. A delta needs the same dataset and split as well (`deviations`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.anchors import split_size
from syncdiff_bench.report.paper import PaperColumn, PaperRow, PaperTable, PaperValue, System, paper_tables, tables
from syncdiff_bench.report.paper_columns import column_item, columns_of, network_notes, network_of
from syncdiff_bench.report.results import FOREIGN, Deviation, deviations, preference, same_clips
from syncdiff_bench.report.selection import COUNT, EVERYTHING, Choice, Item, picked, refuse_unknown
from syncdiff_bench.report.speed import SPEED, speed_device, with_speeds
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.summary import ColumnSummary

MISSING = object()
GROUND_TRUTH = "gt"


@dataclass(frozen=True)
class JoinedCell:
    """What the paper printed, and what a run measured.

    - paper: the printed value, None for N/A; means something only where `printed`
    - run: the directory that `ours` comes from
    - delta: ours - paper, None unless both are numbers of the same dataset and split
    - deviations: in what the run was made otherwise than the paper's
    - truth: what ground truth scored over the same clips
    - caveats: what a reader should know before believing `ours`
    - device: that a speed was timed on; those of several have no ranks
    """

    paper: PaperValue = None
    printed: bool = False
    ours: ColumnSummary | None = None
    run: Path | None = None
    delta: float | None = None
    deviations: tuple[Deviation, ...] = ()
    truth: float | None = None
    caveats: tuple[str, ...] = ()
    device: str = ""

    @property
    def comparable(self) -> bool:
        return not any(one.excludes for one in self.deviations)

    @property
    def mean(self) -> float | None:
        """What the run measured, None where that is nothing or undefined."""
        return None if self.ours is None else self.ours.mean


@dataclass(frozen=True)
class JoinedRow:
    """A system. cells: one per column of the panel. in_paper: False for a system that the paper does not have."""

    label: str
    system: System
    topline: bool
    in_paper: bool
    cells: tuple[JoinedCell, ...]

    @property
    def was_run(self) -> bool:
        return any(cell.ours is not None for cell in self.cells)


@dataclass(frozen=True)
class JoinedPanel:
    """The table on one dataset.

    - paper_dataset: whose values the paper prints; another one than `dataset` where the paper did not use ours
    - columns: the paper's, each followed by those of the same metric under other protocols
    """

    dataset: str
    paper_dataset: str
    columns: tuple[PaperColumn, ...]
    rows: tuple[JoinedRow, ...]


@dataclass(frozen=True)
class JoinedTable:
    """A paper's table with runs.

    - notes: of the paper's table, then what was left out or chosen while joining
    - intervals: whether they are shown
    - columns, rows: what could be chosen
    """

    table: PaperTable
    panels: tuple[JoinedPanel, ...]
    notes: tuple[str, ...]
    intervals: bool = True
    columns: tuple[Item, ...] = ()
    rows: tuple[Item, ...] = ()


def join(
    table: PaperTable,
    runs: Sequence[Run] = (),
    *,
    datasets: Sequence[str] = (),
    systems: Iterable[System] | None = None,
    defaults: Callable[[str], Mapping[str, Any]] = lambda _method: {},
    choice: Choice = EVERYTHING,
) -> JoinedTable:
    """Join one table with runs.

    datasets: panels to show; by default the paper's (unless every run is on another dataset), then those of
        the runs.
    systems: everything that has a row in some table, so that a variant never passes for the method's default;
        by default the systems of all installed tables.
    defaults: the default options of a method, by its name; a footnote names what a run sets otherwise.
    choice: columns and rows; of columns that it names, all metrics of the runs can be some, and their speed.
        What it names and is not here is left out (`require_chosen`), as is a panel without anything of it.
    Raises UsageError for a dataset that neither the paper nor a run has.
    """
    runs = with_speeds(runs) if choice.show else runs
    known = {row.system for row in table.rows}
    known.update(_systems_beside(table) if systems is None else systems)
    scored = [run for run in runs if run.summary]
    owned = [(run, owner(run, known)) for run in scored]
    here = {row.system for row in table.rows}
    placed = [(run, system or _own_system(run)) for run, system in owned if _has_row(table, here, system)]
    notes = [*table.notes]
    notes += [f"{run.path} has no summary yet and is left out" for run in runs if not run.summary]
    truths = [run for run in scored if run.identity.method == GROUND_TRUTH]
    truths.sort(key=lambda run: run.manifest["finished"] or "", reverse=True)
    strangers = [str(run.path) for run, system in owned if run not in truths and not _has_row(table, here, system)]
    if strangers:
        notes.append(f"without a row in this table: {', '.join(strangers)}")
    panels: list[JoinedPanel] = []
    offered: tuple[dict[Item, None], dict[Item, None]] = {}, {}
    for dataset in _panel_datasets(table, scored, datasets):
        on_it = [(run, system) for run, system in placed if run.identity.dataset == dataset]
        split = _split(table, dataset, [run for run, _ in on_it])
        total = split_size(dataset, split) if on_it else None

        def deviating(run: Run, split: str = split, total: int | None = total) -> tuple[Deviation, ...]:
            if not table.of_paper:  # nothing printed to depart from
                return deviations(run, run.identity.split, None, {}, known)
            # A method outside the paper has a row for every set of options.
            outside = owner(run, known) is None
            return deviations(run, split, total, {} if outside else defaults(run.identity.method), known)

        panel = _panel(table, dataset, split, on_it, truths, deviating, own=bool(choice.show))
        for some, items in zip(offered, _items(table, panel), strict=True):
            some.update(dict.fromkeys(items))
        panel = _chosen(table, panel, choice)
        if not panel.columns or not panel.rows:
            continue
        panels.append(panel)
        notes += [*network_notes(panel.columns), *_repeats(table, dataset, split, on_it), *_deviations(panel)]
        notes += _caveats(panel)
    columns, rows = map(tuple, offered)
    return JoinedTable(table, tuple(panels), tuple(notes), choice.intervals, columns, rows)


def require_chosen(joined: Sequence[JoinedTable], choice: Choice) -> None:
    """Raises UsageError for a column or a row that none of these tables has."""
    for option, what, wanted, offered in (
        ("--show", "column", choice.show, [one.columns for one in joined]),
        ("--rows", "row", choice.rows, [one.rows for one in joined]),
    ):
        unknown = [picked(wanted, items)[1] for items in offered]
        refuse_unknown(option, what, unknown, (item for items in offered for item in items))


def _items(table: PaperTable, panel: JoinedPanel) -> tuple[list[Item], list[Item]]:
    """How the columns and the rows of a panel are chosen; `n` has a line in every row."""
    printed = {column.key for column in table.columns}
    columns = [column_item(one, of_table=one.key in printed) for one in panel.columns]
    folders = [[str(cell.run) for cell in row.cells if cell.run is not None] for row in panel.rows]
    rows = [Item(row.label, (row.system.method, *some)) for row, some in zip(panel.rows, folders, strict=True)]
    return [*columns, Item(COUNT)], rows


def _chosen(table: PaperTable, panel: JoinedPanel, choice: Choice) -> JoinedPanel:
    columns, rows = _items(table, panel)
    if choice.show:
        indices = [i for i in picked(choice.show, columns)[0] if i < len(panel.columns)]
        kept = tuple(replace(row, cells=tuple(row.cells[i] for i in indices)) for row in panel.rows)
        panel = replace(panel, columns=tuple(panel.columns[i] for i in indices), rows=kept)
    if choice.rows:
        panel = replace(panel, rows=tuple(panel.rows[i] for i in picked(choice.rows, rows)[0]))
    return panel


def _split(table: PaperTable, dataset: str, runs: Sequence[Run]) -> str:
    """The paper's; on a data set of which it has no values, where no run is on the paper's, that of most runs."""
    splits = Counter(run.identity.split for run in runs if run.identity.split)
    if dataset in table.datasets or table.split in splits or not splits:
        return table.split
    return splits.most_common(1)[0][0]


def _systems_beside(table: PaperTable) -> set[System]:
    """Everything that has a row in some table. To a paper's table a row of another kind of table is what the options by
    which papers tell their rows apart say of it: a variant is one, a solver is not, and its runs are SyncDiff's.
    """
    papers = {row.system for one in paper_tables() for row in one.rows}
    others = {row.system for one in tables() if not one.of_paper for row in one.rows}
    if not table.of_paper:
        return papers | others
    telling = {(system.method, name) for system in papers for name, _ in system.options}
    cut = (replace(one, options=tuple(o for o in one.options if (one.method, o[0]) in telling)) for one in others)
    return papers.union(cut)


def owner(run: Run, systems: Iterable[System]) -> System | None:
    """The most specific of `systems` that the run is an instance of, None where it is of none."""
    fitting = [
        system
        for system in systems
        if system.method == run.identity.method
        and all(run.identity.options.get(name, MISSING) == value for name, value in system.options)
    ]
    return max(fitting, key=lambda system: len(system.options), default=None)


def _has_row(table: PaperTable, here: set[System], system: System | None) -> bool:
    return table.open if system is None else system in here


def _own_system(run: Run) -> System:
    """A method outside the paper: every set of options is a system of its own."""
    options = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in run.identity.options.items()
    }
    return System(run.identity.method, tuple(sorted(options.items())))


def _panel_datasets(table: PaperTable, runs: Sequence[Run], wanted: Sequence[str]) -> tuple[str, ...]:
    of_runs = tuple(dict.fromkeys(run.identity.dataset for run in runs))
    known = tuple(dict.fromkeys((*table.datasets, *of_runs)))
    for dataset in wanted:
        if dataset not in known:
            raise UsageError(f"dataset {dataset}: neither the paper nor a run has it; known: {', '.join(known)}")
    if wanted:
        return tuple(dict.fromkeys(wanted))
    return of_runs if of_runs and not set(of_runs) & set(table.datasets) else known


def _panel(
    table: PaperTable,
    dataset: str,
    split: str,
    runs: Sequence[tuple[Run, System]],
    truths: Sequence[Run],
    deviating: Callable[[Run], tuple[Deviation, ...]],
    *,
    own: bool,
) -> JoinedPanel:
    """own: with the metrics that the table has no column of."""
    paper_dataset = dataset if dataset in table.datasets or not table.of_paper else table.datasets[0]
    columns = columns_of(table, [run for run, _ in runs], own=own)

    def of(system: System) -> list[Run]:
        return sorted((run for run, one in runs if one == system), key=lambda run: preference(run, split), reverse=True)

    def cells(row: PaperRow | None, system: System) -> tuple[JoinedCell, ...]:
        printed = {} if row is None else row.values.get(paper_dataset, {})
        found = (_cell(column, printed, of(system), truths, deviating) for column in columns)
        return tuple(found) if dataset == paper_dataset else tuple(replace(cell, delta=None) for cell in found)

    def label(system: System, otherwise: str) -> str:
        return next((run.label for run in of(system) if run.label), otherwise)

    rows = [
        JoinedRow(
            *(label(row.system, row.label), row.system, row.topline),
            in_paper=table.of_paper,
            cells=cells(row, row.system),
        )
        for row in table.rows
    ]
    in_paper = {row.system for row in table.rows}
    extra = tuple(dict.fromkeys(system for _, system in runs if system not in in_paper))
    for system in extra:
        first = next(run for run, one in runs if one == system)
        networks = frozenset[str]().union(*(run.identity.trained_against for run, one in runs if one == system))
        mine, name = replace(system, trained_against=networks), label(system, _label(first, system, extra))
        rows.append(JoinedRow(name, mine, first.identity.topline, in_paper=False, cells=cells(None, system)))
    return JoinedPanel(dataset, paper_dataset, columns, tuple(rows))


def _cell(
    column: PaperColumn,
    printed: Mapping[str, PaperValue],
    runs: Sequence[Run],
    truths: Sequence[Run],
    deviating: Callable[[Run], tuple[Deviation, ...]],
) -> JoinedCell:
    """printed: column -> the paper's value. runs: of this row's system, the best choice first."""
    cell = JoinedCell(printed.get(column.key), column.key in printed)
    found = next(((run, m) for run in runs for m in run.summary if _measures(run, m, column)), None)
    if found is None:
        return cell
    run, ours = found
    bounds = (m.mean for one in truths if same_clips(one, run) for m in one.summary if _measures(one, m, column))
    own = (one for one in run.caveats if one.metric in ("", ours.metric) and one.protocol in ("", ours.protocol))
    caveats = tuple(one.text for one in own if one.kind != FOREIGN)  # that one is a deviation
    cell = replace(cell, ours=ours, run=run.path, deviations=deviating(run), truth=next(bounds, None), caveats=caveats)
    cell = replace(cell, device=speed_device(run) if ours.metric == SPEED else "")
    if cell.paper is None or ours.mean is None or not cell.comparable:
        return cell
    return replace(cell, delta=round(ours.mean - cell.paper, 10))


def _measures(run: Run, measured: ColumnSummary, column: PaperColumn) -> bool:
    identity = (measured.metric, measured.protocol, measured.column)
    scored = column.network is None or measured.mean is None or network_of(run, measured) == column.network
    return scored and identity == (column.metric, column.protocol, column.column)


def _label(run: Run, system: System, extra: Sequence[System]) -> str:
    """The method's title, and the options that tell it from the others of that name."""
    title = run.identity.title or run.identity.method
    rivals = [one for one in extra if one.method == system.method and one != system]
    differing = [pair for pair in system.options if any(pair not in rival.options for rival in rivals)]
    if not differing:
        return title
    return f"{title} ({', '.join(f'{name}={value}' for name, value in differing)})"


def _repeats(table: PaperTable, dataset: str, split: str, runs: Sequence[tuple[Run, System]]) -> list[str]:
    """A note for every system of which several runs measured the same column."""
    labels = {row.system: row.label for row in table.rows}
    notes = []
    for system in dict.fromkeys(system for _, system in runs):
        measured = [
            (run, {(m.metric, m.protocol, m.column, network_of(run, m)) for m in run.summary})
            for run, one in runs
            if one == system
        ]
        times = Counter(identity for _, identities in measured for identity in identities)
        same = [run for run, identities in measured if any(times[identity] > 1 for identity in identities)]
        if same:
            label = labels.get(system, system.method)
            shown = max(same, key=lambda run: preference(run, split))
            seed = f" (seed {shown.identity.seed})" if len({run.identity.seed for run in same}) > 1 else ""
            notes.append(
                f"{label} on {dataset}: {len(same)} runs measured the same; shown is {shown.path}{seed}, of the most"
                " clips, then the newest"
            )
    return notes


def _caveats(panel: JoinedPanel) -> list[str]:
    """What a reader should know of the numbers that a panel shows, with the rows that it is about."""
    found: dict[str, dict[str, None]] = {}
    for row in panel.rows:
        for text in (text for cell in row.cells for text in cell.caveats):
            found.setdefault(text, {})[row.label] = None
    return [f"{', '.join(rows)} on {panel.dataset}: {text}" for text, rows in found.items()]


def _deviations(panel: JoinedPanel) -> list[str]:
    """A note for everything in which the runs of a panel were otherwise than the paper's, with the rows it is about."""
    found: dict[tuple[Deviation, ...], list[str]] = {}
    for row in panel.rows:
        columns: dict[tuple[Deviation, ...], list[str]] = {}
        for column, cell in zip(panel.columns, row.cells, strict=True):
            if cell.ours is not None:
                columns.setdefault(cell.deviations, []).append(column.label)
        for these, labels in columns.items():
            some = f" ({', '.join(labels)})" if len(columns) > 1 else ""
            found.setdefault(these, []).append(f"{row.label}{some}")
    without_delta = "; no delta" if panel.dataset == panel.paper_dataset else ""
    return [
        f"{', '.join(rows)} on {panel.dataset}: {'; '.join(one.text for one in these)}"
        + (without_delta if any(one.excludes for one in these) else "")
        for these, rows in found.items()
        if these
    ]
