"""Comparisons as one small HTML page without scripts or outside references."""

from __future__ import annotations

import html
from collections.abc import Sequence

from syncdiff_bench.report.paper_comparison import Comparison
from syncdiff_bench.report.writers.characters import one_line
from syncdiff_bench.report.writers.layout import (
    MARK_NOTES,
    SYMBOLS,
    Entry,
    Grid,
    Line,
    lay_out,
    marks,
    notes,
    rank_note,
)

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .6rem 0 .3rem; }
th, td { padding: .15rem .7rem; text-align: right; white-space: nowrap; }
thead th { border-top: 2px solid; border-bottom: 1px solid; }
tbody th { text-align: left; font-weight: normal; }
tbody tr:first-child > * { border-top: 1px solid #8884; }
table { border-bottom: 2px solid; }
.second { text-decoration: underline; }
.delta, .n { font-size: .85em; opacity: .75; }
"""


def to_html(comparisons: Sequence[Comparison]) -> str:
    """A complete document. Best in bold, second best underlined."""
    title = "Table " + ", ".join(str(comparison.table.number) for comparison in comparisons)
    sections = "\n".join(_section(comparison) for comparison in comparisons)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{sections}\n</body>\n</html>\n"
    )


def _section(comparison: Comparison) -> str:
    table = comparison.table
    grids = [lay_out(comparison, panel) for panel in comparison.panels]
    legend = rank_note(comparison, "<strong>bold</strong>", '<span class="second">underlined</span>')
    items = [legend] if legend else []
    items += [f"{SYMBOLS[mark]} {escape(MARK_NOTES[mark])}" for mark in marks(grids)]
    items += [escape(note) for note in notes(comparison)]
    footer = "<ul>\n" + "\n".join(f"<li>{item}</li>" for item in items) + "\n</ul>\n" if items else ""
    body = "\n".join(_table(grid) for grid in grids)
    return (
        f"<section>\n<h2>Table {table.number}. {escape(table.title)}</h2>\n"
        f"<p>{escape(table.caption)}</p>\n{body}\n{footer}</section>"
    )


def _table(grid: Grid) -> str:
    columns = "".join(f'<th scope="col">{escape(label)} {arrow}</th>' for label, arrow in grid.header)
    head = f'<thead><tr><th scope="col">{escape(grid.stub)}</th><td></td>{columns}</tr></thead>'
    bodies = "\n".join(f"<tbody>\n{_group(group)}\n</tbody>" for group in grid.groups)
    caption = f"<caption>{escape(grid.title)}</caption>"
    return f'<div class="scroll"><table>\n{caption}\n{head}\n{bodies}\n</table></div>'


def _group(group: Sequence[Line]) -> str:
    rows = []
    for index, line in enumerate(group):
        row_head = f'<th scope="rowgroup" rowspan="{len(group)}">{escape(line.row_label)}</th>' if index == 0 else ""
        cells = "".join(f"<td>{_entry(entry)}</td>" for entry in line.entries)
        rows.append(f'<tr class="{line.kind}">{row_head}<th scope="row">{escape(line.label)}</th>{cells}</tr>')
    return "\n".join(rows)


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.rank == 1:
        text = f"<strong>{text}</strong>"
    elif entry.rank == 2:
        text = f'<span class="second" title="second best">{text}</span>'
    return text + "".join(f"<sup>{SYMBOLS[mark]}</sup>" for mark in entry.marks)


def escape(text: str) -> str:
    """Text that a browser shows as it is."""
    return html.escape(one_line(text))
