"""Runs side by side: one board per set of clips, best values, ranks and the notes that a reader needs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar

from syncdiff_bench.caveats import Counted
from syncdiff_bench.faces.boxes import FILE
from syncdiff_bench.origins import ScoringNetwork, told_apart
from syncdiff_bench.report.selection import COUNT, EVERYTHING, RANK, Choice, Item, picked, refuse_unknown, row_names
from syncdiff_bench.report.speed import SPEED, speed_device, speed_remarks, with_speeds
from syncdiff_bench.report.table import (
    ARROWS,
    Cell,
    Heading,
    Note,
    Panel,
    Row,
    Table,
    interval_of,
    is_cut,
    letter,
    number,
    plain_notes,
    ranked,
)
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.summary import ColumnSummary

ColumnKey = tuple[str, str, str, ScoringNetwork]
FIELDS = (
    *("dataset", "split", "clips", "run", "method", "rank", "metric", "protocol", "column", "direction"),
    *("mean", "ci95_low", "ci95_high", "n", "failed", "reason", "judge", "caveats"),
)


@dataclass(frozen=True)
class BoardColumn:
    """One column; two protocols or scoring networks (weights, versions) never share one.

    - network: the weights and versions behind its numbers
    - twins: those of the other columns of the same metric and protocol
    """

    metric: str
    protocol: str
    column: str
    label: str
    direction: str
    unit: str
    decimals: int
    network: ScoringNetwork = ()
    twins: tuple[ScoringNetwork, ...] = ()

    @property
    def key(self) -> ColumnKey:
        return self.metric, self.protocol, self.column, self.network

    @property
    def named(self) -> str:
        """The protocol, and what tells it from its twins."""
        return f"{self.protocol} {told_apart(self.network, self.twins)}".rstrip()

    @property
    def heading(self) -> str:
        return f"{self.label} {ARROWS[self.direction]}"

    @property
    def item(self) -> Item:
        """How it is chosen."""
        if self.metric == SPEED:
            return Item(SPEED)
        whole = (
            f"{name}[{protocol}]" for name in (self.metric, self.column) for protocol in (self.protocol, self.named)
        )
        return Item(f"{self.column}[{self.named}]", (self.metric, self.column, self.label, *whole))


Layout = tuple[str | BoardColumn, ...]  # RANK, COUNT, columns
T = TypeVar("T")


@dataclass(frozen=True)
class BoardRow:
    """One run. name: of `row_names`. rank: position by `_ranks`, None for a bound and where nothing was scored."""

    run: Run
    name: str
    rank: int | None


@dataclass(frozen=True)
class Board:
    """The leaderboard of one set of clips.

    - columns: what was measured
    - rows: bounds first, then by rank, then as given
    - table: the same for the writers, with the notes that a reader needs
    """

    columns: tuple[BoardColumn, ...]
    rows: tuple[BoardRow, ...]
    table: Table


def boards(runs: Iterable[Run], choice: Choice = EVERYTHING) -> tuple[Board, ...]:
    """One board per dataset, split and list of clips: numbers over other clips are not comparable.

    Of several boards, those that hold nothing of the choice are left out.
    Raises UsageError for a row or a column that no board has.
    """
    groups: dict[tuple[str, str, str, tuple[str, ...]], list[Run]] = {}
    for run in with_speeds(list(runs)) if choice.show else runs:
        identity = run.identity
        key = (identity.dataset, identity.split, identity.fingerprint, identity.clips)
        groups.setdefault(key, []).append(run)
    chosen = _with_names(list(groups.values()), choice)
    layouts = _layouts([runs for runs, _ in chosen], choice)
    return tuple(
        _board(runs, names, layout, choice) for (runs, names), layout in zip(chosen, layouts, strict=True) if layout
    )


def leaderboards(runs: Iterable[Run], choice: Choice = EVERYTHING) -> list[Table]:
    """The tables of `boards`."""
    return [board.table for board in boards(runs, choice)]


def _with_names(groups: Sequence[Sequence[Run]], choice: Choice) -> list[tuple[list[Run], list[str]]]:
    """The runs of each board, and the names of their rows, which tell them from those that are not shown too."""
    found, unknown, known = [], [], []
    for runs in groups:
        names = row_names(runs)
        items = [
            Item(name, (run.identity.method, run.identity.title, str(run.path), run.path.name))
            for run, name in zip(runs, names, strict=True)
        ]
        indices, strange = picked(choice.rows, items)
        chosen = indices if choice.rows else range(len(runs))
        found.append(([runs[i] for i in chosen], [names[i] for i in chosen]))
        unknown.append(strange)
        known += items
    refuse_unknown("--rows", "row", unknown, known)
    return [(runs, names) for runs, names in found if runs]


def _layouts(groups: Sequence[Sequence[Run]], choice: Choice) -> list[Layout]:
    """What stands in the columns of each board, from left to right, beside the names of its rows."""
    found: list[Layout] = []
    unknown, known = [], []
    for runs in groups:
        offered: Layout = (RANK, *_columns(runs), COUNT)
        items = [Item(one) if isinstance(one, str) else one.item for one in offered]
        indices, strange = picked(choice.show, items)
        found.append(tuple(offered[i] for i in indices) if choice.show else offered[0 if choice.ranks else 1 :])
        unknown.append(strange)
        known += items
    refuse_unknown("--show", "column", unknown, known)
    return found


def _board(runs: Sequence[Run], names: Sequence[str], layout: Layout, choice: Choice) -> Board:
    """The board of runs over the same clips: what `layout` says, the notes, the records."""
    notes: dict[str, int] = {}  # text -> number
    columns = [one for one in layout if isinstance(one, BoardColumn)]
    grid = [[entries.get(column.key) for column in columns] for entries in (_keyed(run, columns) for run in runs)]
    # Of each column: index of run -> its value, of those that compete; bounds do not.
    rivals = [
        {
            index: entry.mean
            for index, entry in enumerate(entries)
            if entry is not None and entry.mean is not None and not runs[index].identity.topline
        }
        for entries in zip(*grid, strict=True)
    ]
    best = [_best(found, one, runs, choice) for found, one in zip(rivals, columns, strict=True)]
    ranks = _ranks(runs, columns, rivals)
    # What holds of every row needs no mark.
    shared = [text for text in _of_row(runs[0].caveats) if all(text in _of_row(run.caveats) for run in runs)]
    order = list(range(len(runs)))
    if not choice.rows:
        order.sort(key=lambda index: (not runs[index].identity.topline, ranks[index] is None, ranks[index] or 0))
    made = []
    for index in order:
        run, rank = runs[index], ranks[index]
        own = [] if run.finished else ["this run has not finished"]
        own += [text for text in _of_row(run.caveats) if text not in shared]
        name = Cell(names[index], marks=_marks(own, notes))
        of_run = iter(zip(columns, grid[index], best, strict=True))
        cells = []
        for one in layout:
            if isinstance(one, BoardColumn):
                column, entry, top = next(of_run)
                cell = _cell(entry, column, run.caveats, notes, rank=top.get(index, 0))
                cells.append(cell if choice.intervals else replace(cell, interval=""))
            else:
                cells.append(Cell("" if rank is None else f"{rank}", value=rank) if one == RANK else _count_cell(run))
        row = Row(_beside(name, cells, layout), "bound" if run.identity.topline else "")
        made.append((BoardRow(run, names[index], rank), row))
    groups = tuple(tuple(row for _, row in some) for _, some in groupby(made, key=lambda pair: pair[1].kind))
    headings = [
        Heading(one.heading, one.named, unit=one.unit)
        if isinstance(one, BoardColumn)
        else Heading("" if one == RANK else "n (failed)")
        for one in layout
    ]
    method = Heading("Method", align="left", names_row=True)
    identity = runs[0].identity
    table = Table(
        panels=(Panel(_beside(method, headings, layout), groups),),
        title=f"{identity.dataset}, {identity.split}: {len(identity.clips)} clips",
        notes=(
            *(Note(text, letter(number)) for text, number in notes.items()),
            *plain_notes([*shared, *_remarks(runs, layout, choice)]),
        ),
        label=f"{identity.dataset}-{identity.split}",
        ranks_marked=max((rank for top in best for rank in top.values()), default=0) if choice.second_best else 0,
        unranked=tuple(row.name for row, _ in made if row.run.identity.topline),
        records=tuple(record for board_row, _ in made for record in _records(board_row, columns)),
        fields=FIELDS,
    )
    measured = tuple(column for column in columns if column.metric != SPEED)
    return Board(measured, tuple(board_row for board_row, _ in made), table)


def _beside(name: T, cells: Sequence[T], layout: Layout) -> tuple[T, ...]:
    """What names a row, and its cells: behind it, but for a rank that comes first."""
    place = int(layout[:1] == (RANK,))
    return (*cells[:place], name, *cells[place:])


def _best(found: Mapping[int, float], column: BoardColumn, runs: Sequence[Run], choice: Choice) -> dict[int, int]:
    """Index of run -> rank, of those that are marked; none of speeds that different machines had."""
    if column.metric == SPEED and len({speed_device(runs[index]) for index in found}) > 1:
        return {}
    places = 2 if choice.second_best and len(found) > 2 else 1
    return ranked(found, column.direction, column.decimals, places)


def _columns(runs: Sequence[Run]) -> tuple[BoardColumn, ...]:
    columns: dict[ColumnKey, BoardColumn] = {}
    found = [(run, entry) for run in runs for entry in run.summary]
    # What no network scored (n/a) has a column of its own only where no run was scored.
    for run, e in sorted(found, key=lambda one: one[1].reason is not None):
        network = run.judges.get((e.metric, e.protocol), ())
        column = BoardColumn(e.metric, e.protocol, e.column, e.label, e.direction, e.unit, e.decimals, network)
        if e.reason is None or not any(key[:3] == column.key[:3] for key in columns):
            columns.setdefault(column.key, column)
    order = list(dict.fromkeys((e.metric, e.protocol, e.column) for _, e in found))
    same = {key: [column.network for column in columns.values() if column.key[:3] == key] for key in order}
    return tuple(
        replace(column, twins=tuple(network for network in same[column.key[:3]] if network != column.network))
        for column in sorted(columns.values(), key=lambda column: order.index(column.key[:3]))
    )


def entries_of(run: Run, columns: Sequence[BoardColumn]) -> tuple[ColumnSummary | None, ...]:
    """What the run has of each column, None where it was not scored so."""
    entries = _keyed(run, columns)
    return tuple(entries.get(column.key) for column in columns)


def _keyed(run: Run, columns: Sequence[BoardColumn]) -> dict[ColumnKey, ColumnSummary]:
    entries = {}
    for e in run.summary:
        network = run.judges.get((e.metric, e.protocol), ())
        if e.reason is not None:
            network = next((one.network for one in columns if one.key[:3] == (e.metric, e.protocol, e.column)), network)
        entries[e.metric, e.protocol, e.column, network] = e
    return entries


def _count_cell(run: Run) -> Cell:
    """n (failed) of most columns, shown or not; a cell that differs has a note."""
    entries = [entry for entry in run.summary if entry.metric != SPEED]
    counts = Counter((e.n, e.failed) for e in entries if e.reason is None)
    failed = max((e.failed for e in entries), default=0)
    n, failed = counts.most_common(1)[0][0] if counts else (0, failed)
    return Cell(f"{n} ({failed})", value=n, alert=failed > 0)


def _of_row(caveats: Sequence[Counted]) -> list[str]:
    return [one.text for one in caveats if not one.metric]


def _marks(texts: Iterable[str], notes: dict[str, int]) -> tuple[str, ...]:
    """The letters of notes; the same text gets the same one."""
    return tuple(letter(notes.setdefault(text, len(notes) + 1)) for text in texts)


def _cell(
    entry: ColumnSummary | None, column: BoardColumn, caveats: Sequence[Counted], notes: dict[str, int], *, rank: int
) -> Cell:
    if entry is None:
        return Cell("–")
    if entry.reason is not None:
        about = [f"{column.metric} ({column.named}): n/a, {entry.reason}"]
    else:
        about = [one.text for one in caveats if (one.metric, one.protocol) == (column.metric, column.protocol)]
    interval = interval_of(entry.mean, entry.ci95, column.decimals, " ±")
    return Cell(number(entry.mean, column.decimals), interval, rank, _marks(about, notes), entry.mean)


def _ranks(
    runs: Sequence[Run], columns: Sequence[BoardColumn], found: Sequence[Mapping[int, float]]
) -> list[int | None]:
    """Position by the mean of the ranks in all columns of one scoring network; a missing value ranks last.

    Runs that different networks scored cannot be ordered by what these found.
    """
    competing = [index for index, run in enumerate(runs) if not run.identity.topline]
    sums = dict.fromkeys(competing, 0.0)
    networks = Counter(column.key[:3] for column, rivals in zip(columns, found, strict=True) if rivals)
    quality = [i for i, column in enumerate(columns) if column.metric != SPEED]
    ranking = [i for i in quality if networks[columns[i].key[:3]] == 1 and found[i]]
    for i in ranking:
        sign = -1 if columns[i].direction == "up" else 1
        key = {index: sign * found[i][index] if index in found[i] else math.inf for index in competing}
        for index in competing:
            sums[index] += sum(key[other] < key[index] for other in competing)
    scored = [index for index in competing if any(index in found[i] for i in ranking)]
    return [
        sum(sums[other] < sums[index] for other in scored) + 1 if index in scored else None
        for index in range(len(runs))
    ]


def _remarks(runs: Sequence[Run], layout: Layout, choice: Choice) -> list[str]:
    """How to read the table."""
    columns = [one for one in layout if isinstance(one, BoardColumn)]
    shown = {column.key[:3] for column in columns}
    entries = [entry for run in runs for entry in run.summary if (entry.metric, entry.protocol, entry.column) in shown]
    settings = {(run.identity.seed, run.identity.encoding) for run in runs}
    made = "; ".join(f"seed {seed}, {encoding} video" for seed, encoding in sorted(settings))
    release = {str(run.manifest["versions"].get("syncdiff-bench", "unknown")) for run in runs}
    remarks = [f"syncdiff-bench {', '.join(sorted(release))}; {made}."]
    if choice.intervals and any(entry.ci95 for entry in entries):
        remarks.append(
            "± is half of the 95 % interval (Student's t on a bootstrap over speakers, or clips where there are none)."
        )
    if choice.intervals and any(is_cut(entry.mean, entry.ci95, entry.decimals) for entry in entries):
        remarks.append("[low, high]: that interval where a bound of the metric cuts one end off.")
    rivals = sum(not run.identity.topline for run in runs)
    if rivals > 1 and columns:
        split = "in all columns but those of several weights or versions"
        these = split if any(column.twins for column in columns) else "in all columns"
        rank = f"Rank: by the mean of the ranks {these}." if RANK in layout else ""
        bold = "" if choice.second_best else "Bold: best, bounds aside."  # else the writer has a legend
        remarks += [f"{rank} {bold}".strip()] if rank or bold else []
    if any(column.metric == SPEED for column in columns):
        remarks += speed_remarks(map(speed_device, runs))
    if any(entry.failed for entry in entries):
        remarks.append("Where clips failed, the mean is over the others: compare it with care.")
    detected = {source for entry in entries for source in entry.boxes or () if source != FILE}
    if detected:
        remarks.append(f"Face boxes: {', '.join(sorted(detected))}; numbers on others do not compare.")
    used: dict[str, None] = {}
    for entry in (entry for entry in entries if entry.weights):
        files = ", ".join(f"{one['name']} (sha256 {one['sha256'][:12]})" for one in entry.weights)
        used[f"{entry.metric} ({entry.protocol}) uses {files}."] = None
    return [*remarks, *used]


def _records(row: BoardRow, columns: Sequence[BoardColumn]) -> list[dict[str, Any]]:
    """One per column: where it was measured, the entry of run.json, scoring network and caveats."""
    run, identity = row.run, row.run.identity
    entries = _keyed(run, columns)
    return [
        {
            **{"dataset": identity.dataset, "split": identity.split, "clips": len(identity.clips)},
            **{"run": str(run.path), "method": identity.method, "rank": row.rank},
            **entry.to_json(),
            "judge": list(run.judges.get((entry.metric, entry.protocol), ())),
            "caveats": [
                {**one.to_json(), "text": one.text}
                for one in run.caveats
                if not one.metric or (one.metric, one.protocol) == (entry.metric, entry.protocol)
            ],
        }
        for entry in (entries[column.key] for column in columns if column.key in entries)
    ]
