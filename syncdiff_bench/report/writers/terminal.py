"""Tables on the terminal, the notes below in small print. Best in green."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from syncdiff_bench.characters import one_line
from syncdiff_bench.report.table import Table
from syncdiff_bench.report.writers.raised import raised

if TYPE_CHECKING:
    from rich.table import Table as Grid

STYLES = {"regression": "bold red"}
WIDE = 200  # columns where stdout is not a terminal


def print_tables(tables: Sequence[Table]) -> None:
    """On stdout, as wide as they need to be where that is not a terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    for table in tables:
        console.print(_grid(table))
        for note in table.notes:
            line = f"{raised([note.mark])} {note.text}" if note.mark else note.text
            console.print(one_line(line), style="dim", markup=False, highlight=False)


def _grid(table: Table) -> Grid:
    from rich.table import Table as Grid
    from rich.text import Text

    (panel,) = table.panels
    title = Text(one_line(table.title)) if table.title else None
    grid = Grid(title=title, title_justify="left", title_style="bold", header_style="bold")
    for heading in panel.headings:
        below = [("\n" + one_line(heading.below), "dim not bold")] if heading.below else []
        text = Text.assemble(one_line(heading.text) or "#", *below)
        grid.add_column(text, justify=heading.align, overflow="fold", no_wrap=not heading.fold)
    for group in panel.groups:
        for row in group:
            cells = []
            for cell in row.cells:
                style = "bold green" if cell.rank == 1 else "yellow" if cell.alert else ""
                cells.append(Text(one_line(cell.text + cell.interval) + raised(cell.marks), style=style))
            grid.add_row(*cells, style=STYLES.get(row.kind), end_section=row is group[-1])
    return grid
