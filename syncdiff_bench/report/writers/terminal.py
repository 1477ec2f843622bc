"""Tables for people at a terminal, in its width, and for pipes, as wide as they are.

On a terminal a table looks as in a paper: lines above, below and under the headings, numbers aligned by their decimal
point, the best in bold (green), the second best underlined, the notes below. One that is wider than the terminal is
folded into blocks of columns:

- key columns stand in every block: all up to the last that names its row, the first where none does
- a number is never broken, nor is the name of a row where a word of it fits; texts wrap between words
- where not even the keys and one column fit, a row is a list of `heading  cell`
- notes, and headings that were shortened, stand once, outside the blocks
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from syncdiff_bench.characters import one_line, spelled
from syncdiff_bench.report.table import Cell, Heading, Panel, Row, Table
from syncdiff_bench.report.writers.raised import raised
from syncdiff_bench.screens import cells_in, columns_of, console_of, words_of, wrapped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

STYLES = {"regression": "bold red"}
RANKS = ("", "bold green", "underline")
WIDE = 200  # columns where stdout is no terminal and nothing needs more
GAP = 2  # columns between two of a table
READABLE = 24  # columns that a text gets before it goes to another block
# Of a number: what stands before its decimal point, its decimals, the rest.
PARTS = re.compile(r"([<>=~+\-−±\[(]*\d[\d,]*|[<>=~+\-−±]*(?=\.\d))(\.\d+)?(.*)")


def print_tables(tables: Sequence[Table]) -> None:
    """On stdout: folded to the width of a terminal, else as grids that are as wide as they need to be."""
    if columns_of(sys.stdout) is not None:
        print_folded(tables, console_of(sys.stdout))
        return
    for table in tables:
        _print_grid(table)


def print_folded(tables: Sequence[Table], console: Console) -> None:
    """As on a terminal of the console's width, encoding and colours."""
    for index, table in enumerate(tables):
        if index:
            console.print()
        for line in _lines(table, console.width, console.encoding, marked=console.color_system is not None):
            console.print(line, soft_wrap=True, highlight=False)


def _lines(table: Table, width: int, encoding: str, *, marked: bool) -> Iterator[Text]:
    """marked: ranks can be seen."""
    from rich.text import Text

    if table.title:
        yield from (Text(line, "bold") for line in _wrapped(table.title, width, encoding))
    for panel in table.panels:
        if panel.title:
            yield from (Text(""), Text(spelled(one_line(panel.title), encoding), "bold"))
        yield from _panel(panel, width, encoding)
    legend = table.legend("bold", "underlined", one_line) if marked else ""
    for mark, text in (("", legend), *((note.mark, note.text) for note in table.notes)):
        lead = spelled(f"{raised([mark])} ", encoding) if mark else ""
        lines = _wrapped(text, width - len(lead), encoding) if text else []
        for index, line in enumerate(lines):
            yield Text((" " * len(lead) if index else lead) + line, "dim")


def _wrapped(text: str, width: int, encoding: str) -> list[str]:
    return wrapped(spelled(one_line(text), encoding), max(1, width), whole=False)


# ------------------------------------------------------------------------------------------------ columns


@dataclass(frozen=True)
class _Shown:
    """A cell as it stands on a line. pad: columns of space before it. style: of the text alone."""

    text: str
    marks: str = ""
    pad: int = 0
    style: str = ""

    @property
    def width(self) -> int:
        return self.pad + cells_in(self.text + self.marks)

    def lines(self, width: int) -> list[Text]:
        """In so many columns; only texts are ever too wide."""
        from rich.text import Text

        if self.width <= width:
            return [Text.assemble(" " * self.pad, (self.text, self.style), self.marks)]
        return [Text(line, self.style) for line in wrapped(self.text + self.marks, width, whole=False)]


@dataclass(frozen=True)
class _Column:
    """heads: the lines above it, with their style. least: how narrow it may become. natural: how wide it is at most."""

    heading: Heading
    cells: tuple[_Shown, ...]
    heads: tuple[tuple[str, str], ...]
    least: int
    natural: int


def _keys(headings: Sequence[Heading]) -> int:
    """How many columns stand in every block."""
    return max((index for index, one in enumerate(headings, 1) if one.names_row), default=1)


def _columns(panel: Panel, encoding: str, *, shorten: bool) -> list[_Column]:
    """shorten: headings may wrap, and be the short ones; so may the cells of columns that are no numbers."""
    columns = []
    for index, heading in enumerate(panel.headings):
        numeric = heading.align == "right"
        cells = _cells([row.cells[index] for row in panel.rows], encoding, numeric=numeric)
        widest = max((cell.width for cell in cells), default=0)
        longest = widest if numeric else max((_longest(cell.text + cell.marks) for cell in cells), default=0)
        texts = 0 if numeric or index < _keys(panel.headings) else READABLE
        room = max(widest if not texts else min(widest, texts), longest)
        heads = _heads(heading, encoding, room if shorten else None)
        headed = max(cells_in(line) for line, _ in heads)
        natural = max(widest, headed)
        if numeric:
            cells = tuple(replace(cell, pad=cell.pad + (natural - widest) // 2) for cell in cells)
        least = natural if not shorten else min(natural, max(longest, headed, texts))
        columns.append(_Column(heading, cells, heads, least, natural))
    return columns


def _heads(heading: Heading, encoding: str, room: int | None) -> tuple[tuple[str, str], ...]:
    """room: columns in which the heading wraps and may be the short one, unless a word of it needs more."""
    text = heading.text if room is None or not heading.short else heading.short
    below = ", ".join(filter(None, (heading.below, heading.unit)))
    lines = [(spelled(one_line(one), encoding), style) for one, style in ((text, "bold"), (below, "dim"))]
    lines = [line for line in lines if line[0]] or [("", "")]
    if room is None:
        return tuple(lines)
    room = max(room, *(_longest(line) for line, _ in lines))
    return tuple((part, style) for line, style in lines for part in wrapped(line, room))


def _longest(text: str) -> int:
    return max(map(cells_in, words_of(text)), default=0)


def _cells(cells: Sequence[Cell], encoding: str, *, numeric: bool) -> tuple[_Shown, ...]:
    """numeric: aligned by the decimal point; what is no number ends where the numbers do."""
    texts = [spelled(one_line(cell.text), encoding) for cell in cells]
    intervals = [spelled(_trimmed(cell.interval), encoding) for cell in cells]
    parts = [PARTS.fullmatch(text) if numeric else None for text in texts]
    before = max((len(part[1]) for part in parts if part), default=0)
    after = max((len(part[2] or "") for part in parts if part), default=0)
    others = (cells_in(text) for text, part in zip(texts, parts, strict=True) if not part)
    shift = max([0, *(width - before - after for width in others)]) if numeric else 0
    shown = []
    for cell, text, interval, part in zip(cells, texts, intervals, parts, strict=True):
        whole = text + interval
        if part:
            gap = " " * (after - len(part[2] or "")) if interval else ""
            whole = f"{text}{gap}{interval}"
        pad = shift + before - len(part[1]) if part else shift + before + after - cells_in(text)
        shown.append(_Shown(whole, spelled(raised(cell.marks), encoding), pad if numeric else 0, _style(cell)))
    return tuple(shown)


def _style(cell: Cell) -> str:
    return RANKS[cell.rank] or ("yellow" if cell.alert else "")


def _trimmed(interval: str) -> str:
    return f" {one_line(interval)}" if interval else ""


# ------------------------------------------------------------------------------------------------- blocks


def _panel(panel: Panel, width: int, encoding: str) -> Iterator[Text]:
    from rich.text import Text

    keys = _keys(panel.headings)
    columns = _columns(panel, encoding, shorten=False)
    if _fits(columns, width):
        yield from _blocks(panel, [columns], [[one.natural for one in columns]], encoding)
        return
    columns = _columns(panel, encoding, shorten=True)
    for one in columns:
        yield from map(Text, _wrapped(one.heading.text, width, encoding) if one.heading.short else ())
    whole = [replace(one, least=one.natural) for one in columns[:keys]]
    if all(_fits([*whole, one], width) for one in columns[keys:]):
        columns[:keys] = whole
    room = max(READABLE, width - sum(one.least + GAP for one in columns[:keys]))
    for index, one in enumerate(columns):
        if index >= keys and one.heading.align == "left":
            columns[index] = replace(one, least=min(one.least, room))  # a word that is wider is broken
    if not all(_fits([*columns[:keys], one], width) for one in columns[keys:]) or not _fits(columns[:keys], width):
        yield from _lists(panel, columns, keys, width)
        return
    blocks = _folded(columns, keys, width)
    yield from _blocks(panel, blocks, [_spread(block, width) for block in blocks], encoding)


def _fits(columns: Sequence[_Column], width: int) -> bool:
    return sum(one.least for one in columns) + GAP * (len(columns) - 1) <= width


def _folded(columns: Sequence[_Column], keys: int, width: int) -> list[list[_Column]]:
    """As few blocks as hold the columns; of numbers alone, blocks of like width."""
    blocks = _filled(columns, keys, width)
    if all(one.heading.align == "right" for one in columns[keys:]):
        while width > 1 and len(_filled(columns, keys, width - 1)) == len(blocks):
            width -= 1
        blocks = _filled(columns, keys, width)
    return blocks


def _filled(columns: Sequence[_Column], keys: int, width: int) -> list[list[_Column]]:
    first = list(columns[:keys])
    blocks = [first]
    for one in columns[keys:]:
        if _fits([*blocks[-1], one], width) or len(blocks[-1]) == keys:
            blocks[-1] = [*blocks[-1], one]
        else:
            blocks.append([*first, one])
    return blocks


def _spread(columns: Sequence[_Column], width: int) -> list[int]:
    """How wide each becomes: the room that is left goes to those that want it, a column at a time."""
    widths = [one.least for one in columns]
    room = width - sum(widths) - GAP * (len(columns) - 1)
    while room > 0 and (wanting := [i for i, one in enumerate(columns) if widths[i] < one.natural]):
        for index in wanting[:room]:
            widths[index] += 1
        room -= len(wanting)
    return widths


def _blocks(
    panel: Panel, blocks: Sequence[Sequence[_Column]], widths: Sequence[Sequence[int]], encoding: str
) -> Iterator[Text]:
    """One below the other, their lines of one length."""
    from rich.text import Text

    across = max(sum(found) + GAP * (len(found) - 1) for found in widths)
    heavy, thin = (Text(spelled(line, encoding) * across) for line in ("━", "─"))
    for columns, found in zip(blocks, widths, strict=True):
        yield heavy
        heads = zip_longest(*(one.heads[::-1] for one in columns), fillvalue=("", ""))
        for line in list(heads)[::-1]:
            sides = (one.heading.align for one in columns)
            yield _line([Text(*_placed(*part)) for part in zip(line, found, sides, strict=True)], found)
        yield thin
        index = 0
        for group in panel.groups:
            if index:
                yield thin if len(panel.groups) == 2 else Text("")
            for row in group:
                yield from _row(row, [one.cells[index] for one in columns], found)
                index += 1
    yield heavy


def _placed(head: tuple[str, str], width: int, align: str) -> tuple[str, str]:
    """Above numbers in the middle."""
    text, style = head
    return (" " * ((width - cells_in(text)) // 2 if align == "right" else 0) + text, style)


def _row(row: Row, cells: Sequence[_Shown], widths: Sequence[int]) -> Iterator[Text]:
    from rich.text import Text

    parts = [cell.lines(width) for cell, width in zip(cells, widths, strict=True)]
    for line in zip_longest(*parts, fillvalue=Text("")):
        shown = _line(line, widths)
        shown.stylize_before(STYLES.get(row.kind, ""))
        yield shown


def _line(parts: Iterable[Text], widths: Sequence[int]) -> Text:
    from rich.text import Text

    line = Text()
    for part, width in zip(parts, widths, strict=True):
        line.append_text(part)
        line.append(" " * (width + GAP - part.cell_len))
    line.rstrip()
    return line


def _lists(panel: Panel, columns: Sequence[_Column], keys: int, width: int) -> Iterator[Text]:
    """Where a terminal is too narrow for a key beside a column."""
    from rich.text import Text

    for index, row in enumerate(panel.rows):
        named = "  ".join(filter(None, (one.cells[index].text + one.cells[index].marks for one in columns[:keys])))
        yield from (Text(line, f"bold {STYLES.get(row.kind, '')}") for line in wrapped(named, width, whole=False))
        for one in columns[keys:]:
            head, cell = " ".join(line for line, _ in one.heads), one.cells[index]
            pair = Text.assemble(f"  {head}  ", (cell.text, cell.style), cell.marks)
            if pair.cell_len <= width:
                yield pair
                continue
            yield from (Text(f"  {line}") for line in wrapped(head, width - 2, whole=False))
            yield from (Text(f"    {line}") for line in wrapped(cell.text + cell.marks, width - 4, whole=False))


# -------------------------------------------------------------------------------------------------- pipes


def _print_grid(table: Table) -> None:
    grids = [_grid(panel, table.title if not index else "") for index, panel in enumerate(table.panels)]
    needed = max(map(_needed, table.panels), default=0)
    console = console_of(sys.stdout, max(WIDE, needed))
    for grid in grids:
        console.print(grid)
    for note in table.notes:
        line = f"{raised([note.mark])} {note.text}" if note.mark else note.text
        console.print(one_line(line), style="dim", markup=False, highlight=False)


def _needed(panel: Panel) -> int:
    """Columns of a grid that breaks no number and no word."""
    widths = []
    for index, heading in enumerate(panel.headings):
        texts = [
            one_line(cell.text + cell.interval) + raised(cell.marks)
            for cell in (row.cells[index] for row in panel.rows)
        ]
        if heading.align == "left":
            texts = [word for text in texts for word in text.split()]
        widths.append(max(map(cells_in, [*texts, *heading.text.split(), *heading.below.split()]), default=0))
    return sum(widths) + 3 * len(widths) + 1


def _grid(panel: Panel, title: str) -> Grid:
    from rich.table import Table as Grid
    from rich.text import Text

    above = Text(one_line(title)) if title else None
    grid = Grid(title=above, title_justify="left", title_style="bold", header_style="bold")
    for heading in panel.headings:
        below = f"\n{one_line(heading.below)}" if heading.below else ""
        text = f"{one_line(heading.text) or '#'}{below}"
        grid.add_column(Text(text), justify=heading.align, overflow="fold", no_wrap=heading.align == "right")
    for group in panel.groups:
        for row in group:
            cells = (Text(one_line(cell.text + cell.interval) + raised(cell.marks), _style(cell)) for cell in row.cells)
            grid.add_row(*cells, style=STYLES.get(row.kind), end_section=row is group[-1])
    return grid
