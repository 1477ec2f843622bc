"""The columns of a paper's table beside runs: the paper's, and those of the same or of other metrics that it lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, cast

from syncdiff_bench.origins import ScoringNetwork, told_apart
from syncdiff_bench.report.paper import PaperColumn, PaperTable
from syncdiff_bench.report.selection import Item
from syncdiff_bench.report.speed import SPEED
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.summary import ColumnSummary

Measured = Sequence[tuple[ColumnSummary, ScoringNetwork]]
PAPER = "paper"  # chooses all columns of the table


def columns_of(table: PaperTable, runs: Sequence[Run], *, own: bool = False) -> tuple[PaperColumn, ...]:
    """The paper's columns, each followed by the same metric under the other protocols and scoring networks of the runs.

    Where several networks have the paper's protocol, its column holds the numbers of the one with most runs.
    own: behind them, the metrics of the runs that the table has no column of.
    """
    columns: list[PaperColumn] = []
    measured = [(m, network_of(run, m)) for run in runs for m in run.summary]
    ours = {(column.metric, column.protocol, column.column) for column in table.columns}
    for column in table.columns:
        here = [(m, network) for m, network in measured if (m.metric, m.column) == (column.metric, column.column)]
        for protocol in dict.fromkeys([column.protocol, *(m.protocol for m, _ in here)]):
            if protocol != column.protocol and (column.metric, protocol, column.column) in ours:
                continue
            ours.add((column.metric, protocol, column.column))
            for index, (network, mark) in enumerate(_networks(here, protocol)):
                if protocol == column.protocol and not index:
                    columns.append(replace(column, network=network))
                else:
                    columns.append(_beside(column, protocol, network, mark))
    if own:
        columns += _own_columns(measured, ours)
    return tuple(columns)


def _own_columns(measured: Measured, known: set[tuple[str, str, str]]) -> Iterator[PaperColumn]:
    """known: metric, protocol and column of those that there are."""
    for key in dict.fromkeys((m.metric, m.protocol, m.column) for m, _ in measured):
        if key in known:
            continue
        here = [(m, network) for m, network in measured if (m.metric, m.protocol, m.column) == key]
        first = here[0][0]
        direction = cast("Literal['up', 'down']", first.direction)
        label = first.label or first.column
        plain = PaperColumn(first.column, label, *key, direction=direction, decimals=first.decimals)
        for network, mark in _networks(here, first.protocol):
            yield _beside(plain, first.protocol, network, mark)


def _beside(column: PaperColumn, protocol: str, network: ScoringNetwork | None, mark: str) -> PaperColumn:
    """The column under a protocol that is not the paper's, or of another network, which its label says in brackets."""
    name = f"{protocol} {mark}".rstrip()
    key, label = f"{column.key}[{name}]", f"{column.label} [{name}]"
    return replace(column, key=key, label=label, protocol=protocol, network=network)


def _networks(measured: Measured, protocol: str) -> list[tuple[ScoringNetwork | None, str]]:
    """The networks of a protocol, most runs first, each with what tells it apart; (None, "") where there is one."""
    by = Counter(network for m, network in measured if m.protocol == protocol and m.mean is not None)
    if len(by) < 2:
        return [(None, "")]
    return [(network, told_apart(network, [one for one in by if one != network])) for network, _ in by.most_common()]


def network_of(run: Run, measured: ColumnSummary) -> ScoringNetwork:
    """What scored this entry of the run."""
    return run.judges.get((measured.metric, measured.protocol), ())


def network_notes(columns: Sequence[PaperColumn]) -> list[str]:
    """A note for every column of the paper that several scoring networks share."""
    notes = []
    for column in columns:
        rivals = [one.network for one in columns if one.network and one.key.startswith(f"{column.key}[")]
        if column.network is not None and rivals:
            mine = told_apart(column.network, rivals)
            notes.append(
                f"{column.label}: runs were judged by different weights or versions; in its column stand those of "
                f"{mine or 'the others'}, with the most runs"
            )
    return notes


def column_item(column: PaperColumn, *, of_table: bool) -> Item:
    """How a column is chosen. of_table: it is one of the table's."""
    if column.metric == SPEED:
        return Item(SPEED)
    protocol = column.protocol
    _, _, name = column.label.rstrip("]").partition(" [")
    names = (column.metric, column.column, column.key.partition("[")[0], column.label.partition(" [")[0])
    whole = (f"{one}[{which}]" for one in names for which in (protocol, name))
    told = f"{column.column}[{name or protocol}]"
    return Item(told, (*names, *whole, *((PAPER,) if of_table else ())))
