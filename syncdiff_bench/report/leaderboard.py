"""Runs side by side: one board per set of clips, best values, ranks and the notes that a reader needs.

`boards` finds what is best and who ranks where; `board_table` makes the table of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
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
    """One column: metric, protocol, column and judge are its identity, so two protocols or weights never share one.

    twins: the judges of the other columns of the same metric and protocol.
    """

    metric: str
    protocol: str
    column: str
    label: str
    direction: str
    unit: str
    decimals: int
    judge: ScoringNetwork = ()
    twins: tuple[ScoringNetwork, ...] = ()

    @property
    def key(self) -> ColumnKey:
        return self.metric, self.protocol, self.column, self.judge

    @property
    def named(self) -> str:
        """The protocol, and what tells it from its twins."""
        return f"{self.protocol} {told_apart(self.judge, self.twins)}".rstrip()

    @property
    def heading(self) -> str:
        return f"{self.label} {ARROWS[self.direction]}"


@dataclass(frozen=True)
class BoardCell:
    """entry: None where the run was not scored by this metric. notes: numbers of the board's notes."""

    entry: ColumnSummary | None
    best: bool = False
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class BoardRow:
    """One run.

    name: of `row_names`.
    rank: position by `mean_rank`, None for a bound (ground truth) and where nothing was scored.
    n, failed: of most columns; a cell that differs has a note.
    """

    run: Run
    name: str
    cells: tuple[BoardCell, ...]
    rank: int | None
    n: int
    failed: int
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Board:
    """The leaderboard of one set of clips.

    title: "pocket, test: 24 clips". notes: numbered from 1. remarks: how to read it.
    """

    title: str
    columns: tuple[BoardColumn, ...]
    rows: tuple[BoardRow, ...]
    notes: tuple[str, ...]
    remarks: tuple[str, ...]


def boards(runs: Iterable[Run]) -> tuple[Board, ...]:
    """One board per dataset, split and list of clips: numbers over other clips are not comparable."""
    groups: dict[tuple[str, str, str, tuple[str, ...]], list[Run]] = {}
    for run in runs:
        identity = run.identity
        key = (identity.dataset, identity.split, identity.fingerprint, identity.clips)
        groups.setdefault(key, []).append(run)
    return tuple(_board(group) for group in groups.values())


def _board(runs: Sequence[Run]) -> Board:
    notes: dict[str, int] = {}  # text -> number
    summaries = [run.summary for run in runs]
    columns = _columns(runs)
    grid = [[entries.get(column.key) for column in columns] for entries in (_keyed(run, columns) for run in runs)]
    ranks = _ranks(runs, columns, grid)
    best = [_best(runs, column, [row[i] for row in grid]) for i, column in enumerate(columns)]
    names = row_names(runs)
    # What holds of every row needs no mark.
    shared = [text for text in _of_row(runs[0].caveats) if all(text in _of_row(run.caveats) for run in runs)]
    rows = []
    for index, run in enumerate(runs):
        n, failed = _counts(grid[index])
        caveats = run.caveats
        row_notes: tuple[int, ...] = () if run.finished else _numbered(["this run has not finished"], notes)
        row_notes += _numbered([text for text in _of_row(caveats) if text not in shared], notes)
        cells = tuple(
            BoardCell(entry, index in best[i], _cell_notes(entry, caveats, columns[i], notes))
            for i, entry in enumerate(grid[index])
        )
        rows.append(BoardRow(run, names[index], cells, ranks[index], n, failed, row_notes))
    identity = runs[0].identity
    title = f"{identity.dataset}, {identity.split}: {len(identity.clips)} clips"
    return Board(title, columns, _ordered(rows), tuple(notes), (*shared, *_remarks(runs, columns, summaries)))


def _columns(runs: Sequence[Run]) -> tuple[BoardColumn, ...]:
    columns: dict[ColumnKey, BoardColumn] = {}
    found = [(run, entry) for run in runs for entry in run.summary]
    # What was judged by nobody (n/a) has a column of its own only where no run was judged.
    for run, e in sorted(found, key=lambda one: one[1].reason is not None):
        judge = run.judges.get((e.metric, e.protocol), ())
        column = BoardColumn(e.metric, e.protocol, e.column, e.label, e.direction, e.unit, e.decimals, judge)
        if e.reason is None or not any(key[:3] == column.key[:3] for key in columns):
            columns.setdefault(column.key, column)
    order = list(dict.fromkeys((e.metric, e.protocol, e.column) for _, e in found))
    same = {key: [column.judge for column in columns.values() if column.key[:3] == key] for key in order}
    return tuple(
        replace(column, twins=tuple(judge for judge in same[column.key[:3]] if judge != column.judge))
        for column in sorted(columns.values(), key=lambda column: order.index(column.key[:3]))
    )


def _keyed(run: Run, columns: Sequence[BoardColumn]) -> dict[ColumnKey, ColumnSummary]:
    entries = {}
    for e in run.summary:
        judge = run.judges.get((e.metric, e.protocol), ())
        if e.reason is not None:
            judge = next((one.judge for one in columns if one.key[:3] == (e.metric, e.protocol, e.column)), judge)
        entries[e.metric, e.protocol, e.column, judge] = e
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


def _counts(entries: Sequence[ColumnSummary | None]) -> tuple[int, int]:
    counts = Counter((e.n, e.failed) for e in entries if e is not None and e.reason is None)
    failed = max((e.failed for e in entries if e is not None), default=0)
    return counts.most_common(1)[0][0] if counts else (0, failed)


def _of_row(caveats: Sequence[Counted]) -> list[str]:
    return [one.text for one in caveats if not one.metric]


def _numbered(texts: Iterable[str], notes: dict[str, int]) -> tuple[int, ...]:
    """The numbers of notes; the same text gets the same one."""
    return tuple(notes.setdefault(text, len(notes) + 1) for text in texts)


def _cell_notes(
    entry: ColumnSummary | None, caveats: Sequence[Counted], column: BoardColumn, notes: dict[str, int]
) -> tuple[int, ...]:
    if entry is None:
        return ()
    if entry.reason is not None:
        return _numbered([f"{column.metric} ({column.named}): n/a, {entry.reason}"], notes)
    own = (one.text for one in caveats if (one.metric, one.protocol) == (column.metric, column.protocol))
    return _numbered(own, notes)


def _rivals(runs: Sequence[Run], values: Sequence[ColumnSummary | None]) -> dict[int, float]:
    """Index of run -> its value, of those that compete: bounds do not."""
    return {
        index: entry.mean
        for index, entry in enumerate(values)
        if entry is not None and entry.mean is not None and not runs[index].identity.topline
    }


def _best(runs: Sequence[Run], column: BoardColumn, values: Sequence[ColumnSummary | None]) -> set[int]:
    rivals = _rivals(runs, values)
    if len(rivals) < 2:
        return set()
    # Equal as printed is equal: nobody can see a difference in the next digit.
    printed = {index: round(value, column.decimals) for index, value in rivals.items()}
    top = (max if column.direction == "up" else min)(printed.values())
    return {index for index, value in printed.items() if value == top}


def _ranks(
    runs: Sequence[Run], columns: Sequence[BoardColumn], grid: Sequence[Sequence[ColumnSummary | None]]
) -> list[int | None]:
    """Position by the mean of the ranks in all columns of one judge; a value that is missing ranks last in its column.

    Runs that different judges measured cannot be ordered by what these found.
    """
    competing = [index for index, run in enumerate(runs) if not run.identity.topline]
    sums = dict.fromkeys(competing, 0.0)
    found = [_rivals(runs, [row[i] for row in grid]) for i in range(len(columns))]
    judges = Counter(column.key[:3] for column, rivals in zip(columns, found, strict=True) if rivals)
    ranking = [i for i, column in enumerate(columns) if judges[column.key[:3]] == 1 and found[i]]
    for i in ranking:
        rivals, sign = found[i], -1 if columns[i].direction == "up" else 1
        for index in competing:
            ahead = [other for other in rivals if _ahead(rivals, other, index, sign)]
            sums[index] += len(ahead)
    scored = [index for index in competing if any(index in found[i] for i in ranking)]
    return [
        sum(sums[other] < sums[index] for other in scored) + 1 if index in scored else None
        for index in range(len(runs))
    ]


def _ahead(rivals: dict[int, float], other: int, index: int, sign: int) -> bool:
    if index not in rivals:
        return True
    return sign * rivals[other] < sign * rivals[index]


def _ordered(rows: Sequence[BoardRow]) -> tuple[BoardRow, ...]:
    """Bounds first, then by rank, then as given."""
    return tuple(sorted(rows, key=lambda row: (not row.run.identity.topline, row.rank is None, row.rank or 0)))


def _remarks(
    runs: Sequence[Run], columns: Sequence[BoardColumn], summaries: Sequence[Sequence[ColumnSummary]]
) -> tuple[str, ...]:
    settings = {(run.identity.seed, run.identity.encoding) for run in runs}
    made = "; ".join(f"seed {seed}, {encoding} video" for seed, encoding in sorted(settings))
    release = {str(run.manifest["versions"].get("syncdiff-bench", "unknown")) for run in runs}
    remarks = [f"syncdiff-bench {', '.join(sorted(release))}; {made}."]
    if any(entry.ci95 for summary in summaries for entry in summary):
        remarks.append(
            "± is half of the 95 % interval (Student's t on a bootstrap over speakers, or clips where there are none)."
        )
    if any(is_cut(e.mean, e.ci95, e.decimals) for summary in summaries for e in summary):
        remarks.append("[low, high]: that interval where a bound of the metric cuts one end off.")
    rivals = sum(not run.identity.topline for run in runs)
    if rivals > 1 and columns:
        split = "in all columns but those of several weights or versions"
        ranked = split if any(column.twins for column in columns) else "in all columns"
        remarks.append(f"Rank: by the mean of the ranks {ranked}. Bold: best, bounds aside.")
    if any(entry.failed for summary in summaries for entry in summary):
        remarks.append("Where clips failed, the mean is over the others: compare it with care.")
    detected = {source for summary in summaries for entry in summary for source in entry.boxes or () if source != FILE}
    if detected:
        remarks.append(f"Face boxes: {', '.join(sorted(detected))}; numbers on others do not compare.")
    remarks += _weights_remarks(summaries)
    return tuple(remarks)


def _weights_remarks(summaries: Sequence[Sequence[ColumnSummary]]) -> list[str]:
    used: dict[str, None] = {}
    for entry in (entry for summary in summaries for entry in summary if entry.weights):
        files = ", ".join(f"{one['name']} (sha256 {one['sha256'][:12]})" for one in entry.weights)
        used[f"{entry.metric} ({entry.protocol}) uses {files}."] = None
    return list(used)


def leaderboards(runs: Iterable[Run]) -> list[Table]:
    """The table of each board."""
    return list(map(board_table, boards(runs)))


def board_table(board: Board) -> Table:
    """One row per run, bounds apart: rank, name, a cell per column, n (failed); then the notes."""
    headings = (
        Heading(""),
        Heading("Method", align="left", names_row=True, fold=False),
        *(Heading(column.heading, column.named) for column in board.columns),
        Heading("n (failed)"),
    )
    bounds = tuple(_row(row, board.columns) for row in board.rows if row.run.identity.topline)
    rivals = tuple(_row(row, board.columns) for row in board.rows if not row.run.identity.topline)
    notes = (Note(text, letter(i)) for i, text in enumerate(board.notes, start=1))
    return Table(
        panels=(Panel(headings, tuple(filter(None, (bounds, rivals)))),),
        title=board.title,
        notes=(*notes, *plain_notes(board.remarks)),
        records=tuple(record for row in board.rows for record in _records(row)),
        fields=FIELDS,
    )


def _row(row: BoardRow, columns: Sequence[BoardColumn]) -> Row:
    rank = Cell("" if row.rank is None else str(row.rank), value=row.rank)
    count = Cell(f"{row.n} ({row.failed})", value=row.n, alert=row.failed > 0)
    cells = (_cell(cell, column.decimals) for cell, column in zip(row.cells, columns, strict=True))
    kind = "bound" if row.run.identity.topline else ""
    return Row((rank, Cell(row.name, marks=tuple(map(letter, row.notes))), *cells, count), kind)


def _cell(cell: BoardCell, decimals: int) -> Cell:
    entry, marks = cell.entry, tuple(map(letter, cell.notes))
    if entry is None:
        return Cell("–", marks=marks)
    interval = interval_of(entry.mean, entry.ci95, decimals, " ±")
    return Cell(number(entry.mean, decimals), interval, int(cell.best), marks, entry.mean)


def _records(row: BoardRow) -> list[dict[str, Any]]:
    """One per column: where it was measured, the entry of run.json, judges and caveats."""
    identity = row.run.identity
    return [
        {
            **{"dataset": identity.dataset, "split": identity.split, "clips": len(identity.clips)},
            **{"run": str(row.run.path), "method": identity.method, "rank": row.rank},
            **entry.to_json(),
            "judge": list(row.run.judges.get((entry.metric, entry.protocol), ())),
            "caveats": [
                {**one.to_json(), "text": one.text}
                for one in row.run.caveats
                if not one.metric or (one.metric, one.protocol) == (entry.metric, entry.protocol)
            ],
        }
        for entry in (cell.entry for cell in row.cells)
        if entry is not None
    ]
