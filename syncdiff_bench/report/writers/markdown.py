"""Comparisons as Markdown (GitHub's tables); readable in a terminal as it is."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from tabulate import tabulate

from syncdiff_bench.report.paper_comparison import Comparison
from syncdiff_bench.report.writers.characters import one_line
from syncdiff_bench.report.writers.layout import (
    MARK_NOTES,
    SYMBOLS,
    Entry,
    Grid,
    lay_out,
    marks,
    notes,
    rank_note,
)


def to_markdown(comparisons: Sequence[Comparison]) -> str:
    """Per comparison a heading, a table for each dataset, and notes. Best **bold**, second best *italic*."""
    return "\n".join(_section(comparison) for comparison in comparisons)


def _section(comparison: Comparison) -> str:
    table = comparison.table
    grids = [lay_out(comparison, panel) for panel in comparison.panels]
    parts = [f"## Table {table.number}. {escape(table.title)}"]
    for grid in grids:
        parts += [f"### {escape(grid.title)}", _table(grid)]
    legend = rank_note(comparison, "**bold**", "*italic*")
    lines = [f"- {legend}" if legend else ""]
    lines += [f"- {SYMBOLS[mark]} {MARK_NOTES[mark]}" for mark in marks(grids)]
    lines += [f"- {escape(note)}" for note in notes(comparison)]
    parts.append("\n".join(line for line in lines if line))
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(grid: Grid) -> str:
    header = [escape(grid.stub), "", *(f"{escape(label)} {arrow}" for label, arrow in grid.header)]
    body = [
        [escape(line.row_label), escape(line.label), *(_entry(entry) for entry in line.entries)]
        for group in grid.groups
        for line in group
    ]
    align = ["left", "left", *("right" for _ in grid.header)]
    return tabulate(body, header, tablefmt="pipe", disable_numparse=True, colalign=align)


def _entry(entry: Entry) -> str:
    stars = {0: "", 1: "**", 2: "*"}[entry.rank]
    return f"{stars}{escape(entry.text)}{stars}" + "".join(SYMBOLS[mark] for mark in entry.marks)


def escape(text: str) -> str:
    """Text that Markdown shows as it is and that cannot leave its cell: one line, no markup, no HTML, no controls."""
    return re.sub(r"([\\`*_{}\[\]|~$])", r"\\\1", html.escape(one_line(text), quote=False))
