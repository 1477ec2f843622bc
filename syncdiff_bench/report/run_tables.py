"""A leaderboard as Markdown, CSV, JSON, or a table on the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from syncdiff_bench.report.leaderboard import Board, BoardRow, Cell
from syncdiff_bench.report.writers.characters import with_interval

if TYPE_CHECKING:
    from rich.table import Table

# Letters: a raised digit behind a number reads as its power. (Unicode has no raised q.)
SUPERSCRIPTS = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"


def markdown(boards: Sequence[Board]) -> str:
    """GitHub-flavoured tables, the best values in bold, notes below."""
    return "\n".join(_markdown(board) for board in boards)


def _markdown(board: Board) -> str:
    from tabulate import tabulate

    from syncdiff_bench.report.writers.markdown import escape

    headings = [f"{escape(column.heading)}<br>{escape(column.named)}" for column in board.columns]
    header = ["", "Method", *headings, "n (failed)"]
    body = []
    for row in board.rows:
        cells = [_cell(cell, column.decimals) for cell, column in zip(row.cells, board.columns, strict=True)]
        bold = [f"**{text}**" if cell.best else text for text, cell in zip(cells, row.cells, strict=True)]
        marked = [text + _marks(cell.notes) for text, cell in zip(bold, row.cells, strict=True)]
        body.append([_rank(row), escape(_name(row)), *marked, _count(row)])
    align = ["right", "left", *["right"] * len(board.columns), "right"]
    table = tabulate(body, header, tablefmt="pipe", colalign=align, disable_numparse=True)
    lines = "  \n".join(escape(line) for line in below(board))
    return f"### {escape(board.title)}\n\n{table}\n\n{lines}\n"


def terminal_table(board: Board) -> Table:
    """A rich table; print notes and remarks (`below`) after it."""
    from rich.table import Table

    table = Table(title=board.title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column("#", justify="right", style="dim")
    table.add_column("method", no_wrap=True)
    for column in board.columns:
        table.add_column(f"{column.heading}\n[dim not bold]{column.named}[/]", justify="right")
    table.add_column("n (failed)", justify="right")
    bounds = [row.run.identity.topline for row in board.rows]
    for index, row in enumerate(board.rows):
        cells = [_terminal_cell(cell, column.decimals) for cell, column in zip(row.cells, board.columns, strict=True)]
        # A line between the bounds and the methods that compete.
        end = bounds[index] and index + 1 < len(bounds) and not bounds[index + 1]
        count = f"[yellow]{_count(row)}[/]" if row.failed else _count(row)
        table.add_row(_rank(row), _name(row).replace("[", r"\["), *cells, count, end_section=end)
    return table


def _terminal_cell(cell: Cell, decimals: int) -> str:
    text = _cell(cell, decimals) + _marks(cell.notes)
    return f"[bold green]{text}[/]" if cell.best else text


def below(board: Board) -> list[str]:
    """The notes and remarks of a board, one per line."""
    notes = [f"{_superscript(i)} {note}" for i, note in enumerate(board.notes, start=1)]
    return [*notes, *board.remarks]


def csv_text(boards: Sequence[Board]) -> str:
    """One line per run and column, in full precision."""
    from syncdiff_bench.report.writers.characters import one_line

    text = io.StringIO()
    records = [record for board in boards for record in _records(board)]
    fields = [
        *("dataset", "split", "clips", "run", "method", "rank", "metric", "protocol", "column", "direction"),
        *("mean", "ci95_low", "ci95_high", "n", "failed", "reason", "judge", "caveats"),
    ]
    writer = csv.DictWriter(text, fields, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for record in records:
        low, high = record["ci95"] or (None, None)
        texts = one_line("; ".join(caveat["text"] for caveat in record["caveats"]))
        writer.writerow(
            {**record, "ci95_low": low, "ci95_high": high, "caveats": texts, "judge": " ".join(record["judge"])}
        )
    return text.getvalue()


def json_text(boards: Sequence[Board]) -> str:
    """A list of the same records, with `ci95` as a pair, the judge (digests, versions), and the clips of caveats."""
    records = [record for board in boards for record in _records(board)]
    return json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _records(board: Board) -> list[dict[str, Any]]:
    records = []
    for row in board.rows:
        identity = row.run.identity
        for entry in (cell.entry for cell in row.cells if cell.entry is not None):
            records.append(
                {
                    "dataset": identity.dataset,
                    "split": identity.split,
                    "clips": len(identity.clips),
                    "run": str(row.run.path),
                    "method": identity.method,
                    "rank": row.rank,
                    **entry.to_json(),
                    "judge": list(row.run.judges.get((entry.metric, entry.protocol), ())),
                    "caveats": [
                        {**one.to_json(), "text": one.text}
                        for one in row.run.caveats
                        if not one.metric or (one.metric, one.protocol) == (entry.metric, entry.protocol)
                    ],
                }
            )
    return records


def _cell(cell: Cell, decimals: int) -> str:
    if cell.entry is None:
        return "–"
    if cell.entry.mean is None:
        return "N/A"
    if cell.entry.ci95 is None:
        return f"{cell.entry.mean:.{decimals}f}"
    return with_interval(cell.entry.mean, cell.entry.ci95, decimals, " ±")


def _rank(row: BoardRow) -> str:
    return "" if row.rank is None else str(row.rank)


def _name(row: BoardRow) -> str:
    return row.name + _marks(row.notes)


def _count(row: BoardRow) -> str:
    return f"{row.n} ({row.failed})"


def _marks(notes: Sequence[int]) -> str:
    return " ".join(_superscript(note) for note in notes)


def _superscript(number: int) -> str:
    """a, b, ... z, aa, bb, ... for 1, 2, ..."""
    times, letter = divmod(number - 1, len(SUPERSCRIPTS))
    return SUPERSCRIPTS[letter] * (times + 1)
