"""Runs side by side: one board per set of clips, best values, ranks and the notes that a reader needs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from syncdiff_bench.caveats import Counted
from syncdiff_bench.faces.boxes import FILE
from syncdiff_bench.origins import ScoringNetwork, told_apart
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
REFERENCE = "reference"  # what figures call the dataset's own clips; no row has this name


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


def boards(runs: Iterable[Run]) -> tuple[Board, ...]:
    """One board per dataset, split and list of clips: numbers over other clips are not comparable."""
    groups: dict[tuple[str, str, str, tuple[str, ...]], list[Run]] = {}
    for run in runs:
        identity = run.identity
        key = (identity.dataset, identity.split, identity.fingerprint, identity.clips)
        groups.setdefault(key, []).append(run)
    return tuple(_board(group) for group in groups.values())


def leaderboards(runs: Iterable[Run]) -> list[Table]:
    """The tables of `boards`."""
    return [board.table for board in boards(runs)]


def _board(runs: Sequence[Run]) -> Board:
    """The board of runs over the same clips: rank, name, a cell per column, n (failed); then the notes."""
    notes: dict[str, int] = {}  # text -> number
    columns = _columns(runs)
    grid = [[entries.get(column.key) for column in columns] for entries in (_keyed(run, columns) for run in runs)]
    names = row_names(runs)
    # Of each column: index of run -> its value, of those that compete; bounds do not.
    rivals = [
        {
            index: entry.mean
            for index, entry in enumerate(entries)
            if entry is not None and entry.mean is not None and not runs[index].identity.topline
        }
        for entries in zip(*grid, strict=True)
    ]
    best = [ranked(found, one.direction, one.decimals) for found, one in zip(rivals, columns, strict=True)]
    ranks = _ranks(runs, columns, rivals)
    # What holds of every row needs no mark.
    shared = [text for text in _of_row(runs[0].caveats) if all(text in _of_row(run.caveats) for run in runs)]
    made = []
    for index, run in enumerate(runs):
        own = [] if run.finished else ["this run has not finished"]
        own += [text for text in _of_row(run.caveats) if text not in shared]
        rank = ranks[index]
        first = (Cell("" if rank is None else f"{rank}", value=rank), Cell(names[index], marks=_marks(own, notes)))
        entries = zip(columns, grid[index], best, strict=True)
        cells = (_cell(entry, column, run.caveats, notes, best=index in top) for column, entry, top in entries)
        row = Row((*first, *cells, _count_cell(grid[index])), "bound" if run.identity.topline else "")
        made.append((BoardRow(run, names[index], rank), row))
    made.sort(key=lambda pair: (not pair[1].kind, pair[0].rank is None, pair[0].rank or 0))
    groups = (tuple(row for _, row in made if row.kind == kind) for kind in ("bound", ""))
    headings = (
        *(Heading(""), Heading("Method", align="left", names_row=True)),
        *(Heading(column.heading, column.named, unit=column.unit) for column in columns),
        Heading("n (failed)"),
    )
    identity = runs[0].identity
    table = Table(
        panels=(Panel(headings, tuple(filter(None, groups))),),
        title=f"{identity.dataset}, {identity.split}: {len(identity.clips)} clips",
        notes=(
            *(Note(text, letter(number)) for text, number in notes.items()),
            *plain_notes([*shared, *_remarks(runs, columns)]),
        ),
        records=tuple(record for board_row, _ in made for record in _records(board_row, columns)),
        fields=FIELDS,
    )
    return Board(columns, tuple(board_row for board_row, _ in made), table)


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


def _keyed(run: Run, columns: Sequence[BoardColumn]) -> dict[ColumnKey, ColumnSummary]:
    entries = {}
    for e in run.summary:
        network = run.judges.get((e.metric, e.protocol), ())
        if e.reason is not None:
            network = next((one.network for one in columns if one.key[:3] == (e.metric, e.protocol, e.column)), network)
        entries[e.metric, e.protocol, e.column, network] = e
    return entries


def row_names(runs: Sequence[Run]) -> tuple[str, ...]:
    """The label, else the method, and as many folders of its path as tell the runs apart: "static (b/seed-0)".

    No two are equal, and none is REFERENCE.
    """
    methods = [run.label or run.identity.method for run in runs]
    folders = [run.path.resolve().parts[1:] for run in runs]
    # A folder of the method's own name says nothing; another one is always shown.
    own = [parts[-1:] == (method,) for parts, method in zip(folders, methods, strict=True)]
    folders = [parts[:-1] if named else parts for parts, named in zip(folders, own, strict=True)]
    shown = [0 if run.label or named else 1 for run, named in zip(runs, own, strict=True)]
    while True:
        tails = [parts[len(parts) - n :] for parts, n in zip(folders, shown, strict=True)]
        names = [f"{m} ({'/'.join(tail)})" if tail else m for m, tail in zip(methods, tails, strict=True)]
        counts = Counter([REFERENCE, *names])
        alike = [i for i, name in enumerate(names) if counts[name] > 1 and shown[i] < len(folders[i])]
        if not alike:
            break
        for i in alike:
            shown[i] += 1
    seen: Counter[str] = Counter()  # one run given twice: only a number tells its rows apart
    for i, name in enumerate(names):
        seen[name] += 1
        names[i] = name if seen[name] == 1 else f"{name} #{seen[name]}"
    return tuple(names)


def _count_cell(entries: Sequence[ColumnSummary | None]) -> Cell:
    """n (failed) of most columns; a cell that differs has a note."""
    counts = Counter((e.n, e.failed) for e in entries if e is not None and e.reason is None)
    failed = max((e.failed for e in entries if e is not None), default=0)
    n, failed = counts.most_common(1)[0][0] if counts else (0, failed)
    return Cell(f"{n} ({failed})", value=n, alert=failed > 0)


def _of_row(caveats: Sequence[Counted]) -> list[str]:
    return [one.text for one in caveats if not one.metric]


def _marks(texts: Iterable[str], notes: dict[str, int]) -> tuple[str, ...]:
    """The letters of notes; the same text gets the same one."""
    return tuple(letter(notes.setdefault(text, len(notes) + 1)) for text in texts)


def _cell(
    entry: ColumnSummary | None, column: BoardColumn, caveats: Sequence[Counted], notes: dict[str, int], *, best: bool
) -> Cell:
    if entry is None:
        return Cell("–")
    if entry.reason is not None:
        about = [f"{column.metric} ({column.named}): n/a, {entry.reason}"]
    else:
        about = [one.text for one in caveats if (one.metric, one.protocol) == (column.metric, column.protocol)]
    interval = interval_of(entry.mean, entry.ci95, column.decimals, " ±")
    return Cell(number(entry.mean, column.decimals), interval, int(best), _marks(about, notes), entry.mean)


def _ranks(
    runs: Sequence[Run], columns: Sequence[BoardColumn], found: Sequence[Mapping[int, float]]
) -> list[int | None]:
    """Position by the mean of the ranks in all columns of one scoring network; a missing value ranks last.

    Runs that different networks scored cannot be ordered by what these found.
    """
    competing = [index for index, run in enumerate(runs) if not run.identity.topline]
    sums = dict.fromkeys(competing, 0.0)
    networks = Counter(column.key[:3] for column, rivals in zip(columns, found, strict=True) if rivals)
    ranking = [i for i, column in enumerate(columns) if networks[column.key[:3]] == 1 and found[i]]
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


def _remarks(runs: Sequence[Run], columns: Sequence[BoardColumn]) -> list[str]:
    """How to read the table."""
    entries = [entry for run in runs for entry in run.summary]
    settings = {(run.identity.seed, run.identity.encoding) for run in runs}
    made = "; ".join(f"seed {seed}, {encoding} video" for seed, encoding in sorted(settings))
    release = {str(run.manifest["versions"].get("syncdiff-bench", "unknown")) for run in runs}
    remarks = [f"syncdiff-bench {', '.join(sorted(release))}; {made}."]
    if any(entry.ci95 for entry in entries):
        remarks.append(
            "± is half of the 95 % interval (Student's t on a bootstrap over speakers, or clips where there are none)."
        )
    if any(is_cut(entry.mean, entry.ci95, entry.decimals) for entry in entries):
        remarks.append("[low, high]: that interval where a bound of the metric cuts one end off.")
    rivals = sum(not run.identity.topline for run in runs)
    if rivals > 1 and columns:
        split = "in all columns but those of several weights or versions"
        ranked = split if any(column.twins for column in columns) else "in all columns"
        remarks.append(f"Rank: by the mean of the ranks {ranked}. Bold: best, bounds aside.")
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
