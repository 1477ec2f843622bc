"""Tables as GitHub's Markdown, readable in a terminal as it is. Best **bold**, second best *italic*."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from syncdiff_bench.characters import one_line
from syncdiff_bench.report.table import Cell, Heading, Note, Panel, Table
from syncdiff_bench.report.writers.raised import raised


def markdown_text(tables: Sequence[Table]) -> str:
    """One after the other: a heading, the panels, the notes; those of several panels as a list."""
    return "\n".join(_with_panels(table) if any(p.title for p in table.panels) else _alone(table) for table in tables)


def _alone(table: Table) -> str:
    (panel,) = table.panels
    title = f"### {escape(table.title)}\n\n" if table.title else ""
    return f"{title}{pipes(panel)}\n\n" + "  \n".join(_below(table)) + "\n"


def _with_panels(table: Table) -> str:
    parts = [f"## {escape(table.title)}"]
    for panel in table.panels:
        parts += [f"### {escape(panel.title)}", pipes(panel)]
    lines = _below(table)
    return "\n\n".join([*parts, *(["\n".join(f"- {line}" for line in lines)] if lines else [])]) + "\n"


def _below(table: Table) -> list[str]:
    """The legend, then the notes."""
    legend = table.legend("**bold**", "*italic*", escape)
    return [*([legend] if legend else []), *map(_note, table.notes)]


def pipes(panel: Panel) -> str:
    """The rows of a panel alone."""
    from tabulate import tabulate

    header = [_heading(heading) for heading in panel.headings]
    body = [[_cell(cell) for cell in row.cells] for row in panel.rows]
    align = [heading.align for heading in panel.headings]
    return tabulate(body, header, tablefmt="pipe", disable_numparse=True, colalign=align if body else None)


def _heading(heading: Heading) -> str:
    return escape(heading.text) + (f"<br>{escape(heading.below)}" if heading.below else "")


def _cell(cell: Cell) -> str:
    stars = ("", "**", "*")[cell.rank]
    return f"{stars}{escape(cell.text + cell.interval)}{stars}{raised(cell.marks)}"


def _note(note: Note) -> str:
    return f"{raised([note.mark])} {escape(note.text)}" if note.mark else escape(note.text)


def escape(text: str) -> str:
    """Text that Markdown shows as it is and that cannot leave its cell: one line, no markup, no HTML, no controls."""
    return re.sub(r"([\\`*_{}\[\]|~$])", r"\\\1", html.escape(one_line(text), quote=False))
