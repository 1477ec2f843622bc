"""Which method is better, by how much, and how sure that is: one sentence or two per column, in plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.leaderboard import Board, BoardColumn
from syncdiff_bench.report.table import number
from syncdiff_bench.runs.summary import ColumnSummary
from syncdiff_bench.significance.comparison import ColumnComparison, compare, corrected
from syncdiff_bench.significance.scored import Scored, from_run


@dataclass(frozen=True)
class Verdict:
    """lead: who is better, by how much. sure: how sure that is, "" where nothing can be said of it.

    leader: name of the row that leads, "" for none or a tie. shown: whether its lead is significant at 5 %.
    """

    lead: str
    sure: str = ""
    leader: str = ""
    shown: bool = False


def verdicts_of(board: Board, summaries: Sequence[Sequence[ColumnSummary | None]]) -> tuple[Verdict, ...]:
    """One per column of the board: the best of the methods that compete against the next one, paired over clips.

    summaries: of each row and column. Two runs are in memory at once. p is corrected for the columns that have one.
    """
    duels: dict[int, tuple[int, int]] = {}  # column -> rows: the next one, the best
    for index, column in enumerate(board.columns):
        rivals = [
            (entry.mean if column.direction == "down" else -entry.mean, row)
            for row, entries in enumerate(summaries)
            if (entry := entries[index]) is not None
            and entry.mean is not None
            and not board.rows[row].run.identity.topline
        ]
        if len(rivals) > 1:
            (_, best), (_, second) = sorted(rivals)[:2]
            duels[index] = (second, best)
    found: dict[int, ColumnComparison] = {}
    refused: dict[int, str] = {}
    for pair in dict.fromkeys(duels.values()):
        columns = [index for index, rows in duels.items() if rows == pair]
        compared, why = _compared(board, pair, columns)
        found |= compared
        refused |= dict.fromkeys(set(columns) - compared.keys(), why)
    found = dict(zip(found, corrected(list(found.values())), strict=True))
    tests = sum(one.p is not None for one in found.values())
    names = [row.name for row in board.rows]
    made = []
    for index, column in enumerate(board.columns):
        if index in found:
            a, b = duels[index]
            made.append(of_pair(found[index], column, (names[a], names[b]), tests))
        elif index in duels:
            made.append(_untested(column, summaries, names, duels[index], refused[index]))
        else:
            made.append(_alone(board, column, [entries[index] for entries in summaries]))
    return tuple(made)


def _compared(board: Board, pair: tuple[int, int], indices: Sequence[int]) -> tuple[dict[int, ColumnComparison], str]:
    """Column -> the second row of the pair against the first; and why others are not compared."""
    columns = [board.columns[index] for index in indices]
    keys = {(column.metric, column.protocol) for column in columns}
    try:
        sides = []
        for row in pair:
            side: Scored = from_run(board.rows[row].run)
            sides.append(replace(side, metrics={key: side.metrics[key] for key in keys if key in side.metrics}))
        compared = compare(*sides)
    except UsageError as error:
        return {}, str(error)
    by_name = {(one.metric, one.protocol, one.column.name): one for one in compared.columns}
    return {i: by_name[key] for i in indices if (key := board.columns[i].key[:3]) in by_name}, "scored otherwise"


def of_pair(column: ColumnComparison, shown: BoardColumn, names: tuple[str, str], tests: int) -> Verdict:
    """B against A. names: of A and B. tests: how many columns p is corrected for."""
    if column.worse_by is None or column.delta is None:
        return Verdict(f"{shown.label}: no clip has a value of both {names[0]} and {names[1]}.")
    sign = 1 if column.delta >= 0 else -1
    better, other = reversed(names) if column.worse_by <= 0 else names
    values = {names[0]: column.a, names[1]: column.b}
    stand = " against ".join(number(values[name], shown.decimals) for name in (better, other))
    paired = f"paired over {column.n} clips"
    paired += f" of {column.clusters} speakers" if column.clusters < column.n else ""
    ends = "" if column.ci is None else " to ".join(f"{end:.{shown.decimals}f}" for end in _ordered(column, sign))
    interval = f"95 % interval of the difference {ends}; " if ends else ""
    if column.undecided:
        lead = (
            f"{better} has the better mean {shown.label}, {stand} of {other}; that decides nothing: {column.undecided}."
        )
        return Verdict(lead, f"{interval}{paired}.", better)
    p = "" if column.p_holm is None else _p(column.p_holm, tests)
    if not column.significant or not column.delta:
        lead = f"No difference is shown between {better} and {other} in {shown.label}: {stand}."
        return Verdict(lead, f"{interval}{p}{paired}.", better if column.delta else "")
    lead = f"{better} is better than {other} in {shown.label} by {_with_unit(abs(column.delta), shown)}: {stand}."
    return Verdict(lead, f"{interval}{p}{paired}.", better, shown=True)


def _ordered(column: ColumnComparison, sign: int) -> tuple[float, float]:
    assert column.ci is not None
    low, high = column.ci
    return (low, high) if sign > 0 else (-high, -low)


def _p(p: float, tests: int) -> str:
    corrected_for = f" corrected for {tests} metrics" if tests > 1 else ""
    return f"p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}{corrected_for}; "


def _with_unit(value: float, column: BoardColumn) -> str:
    return f"{number(value, column.decimals)} {column.unit}".rstrip()


def _untested(
    column: BoardColumn,
    summaries: Sequence[Sequence[ColumnSummary | None]],
    names: Sequence[str],
    pair: tuple[int, int],
    why: str,
) -> Verdict:
    """Where the two cannot be compared clip by clip."""
    means = [
        next(e.mean for e in summaries[row] if e is not None and (e.metric, e.protocol, e.column) == column.key[:3])
        for row in pair
    ]
    best, second = (number(mean, column.decimals) for mean in reversed(means))
    stand = f"{best} against {second} of {names[pair[0]]}"
    lead = f"{names[pair[1]]} has the better mean {column.label}, {stand}; the two were not compared: {why}."
    return Verdict(lead, leader=names[pair[1]])


def _alone(board: Board, column: BoardColumn, entries: Sequence[ColumnSummary | None]) -> Verdict:
    """Of a column in which fewer than two methods compete."""
    scored = [(row, entry) for row, entry in zip(board.rows, entries, strict=True) if entry and entry.mean is not None]
    rivals = [(row, entry) for row, entry in scored if not row.run.identity.topline]
    if not rivals:
        only = f": only {' and '.join(row.name for row, _ in scored)}, no method that competes" if scored else ""
        reasons = {entry.reason for entry in entries if entry is not None and entry.reason}
        return Verdict(f"{column.label} has no value{only or ''.join(f': {one}' for one in sorted(reasons)[:1])}.")
    ((row, entry),) = rivals
    value = _with_unit(entry.mean or 0.0, column)
    interval = "" if entry.ci95 is None else " to ".join(f"{end:.{column.decimals}f}" for end in entry.ci95)
    sure = f"95 % interval {interval}; over {entry.n} clips." if interval else f"Over {entry.n} clips, no interval."
    return Verdict(f"{row.name}: {column.label} {value}; there is no other method to compare.", sure)


def headline(verdicts: Sequence[Verdict], fallback: str) -> str:
    """Who leads in how many of the columns, those with most first.

    >>> shown = Verdict("", leader="A", shown=True)
    >>> headline([shown, shown, Verdict("", leader="B")], "")
    'A leads in 2 of 3 metrics, beyond chance in 2; B in 1, beyond chance in none'
    >>> headline([shown, shown], "")
    'A leads in all 2 metrics, beyond chance in all'
    """
    leads = Counter(one.leader for one in verdicts if one.leader)
    beyond = Counter(one.leader for one in verdicts if one.leader and one.shown)
    total = len(verdicts)
    if not leads or total < 2:
        return fallback
    (first, n), *others = leads.most_common(3)
    sure = "all" if beyond[first] == total else beyond[first] or "none"
    most = f"{first} leads in {f'all {total}' if n == total else f'{n} of {total}'} metrics, beyond chance in {sure}"
    return "; ".join([most, *(f"{name} in {n}, beyond chance in {beyond[name] or 'none'}" for name, n in others)])
