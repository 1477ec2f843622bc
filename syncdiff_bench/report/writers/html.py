"""Tables as HTML: markup for a page, or a small document without scripts or outside references.

Best in bold, second best underlined.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as escaped
from importlib.resources import files

from syncdiff_bench.characters import one_line
from syncdiff_bench.report.table import Cell, Heading, Panel, Row, Table


def html_text(tables: Sequence[Table]) -> str:
    """A complete document, in the style of the page of runs."""
    title = escape("; ".join(table.title for table in tables))
    style = files("syncdiff_bench.report.page").joinpath("page.css").read_text(encoding="utf-8")
    sections = "\n".join(map(fragment, tables))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{sections}\n</body>\n</html>\n"
    )


def fragment(table: Table) -> str:
    """A table with its title and notes, for a page that has styles of its own or none."""
    caption = f"<p>{escape(table.caption)}</p>\n" if table.caption else ""
    panels = "\n".join(panel_html(panel, panel.title) for panel in table.panels)
    title = f"<h2>{escape(table.title)}</h2>\n" if table.title else ""
    return f"<section>\n{title}{caption}{panels}\n{notes_html(table)}</section>"


def panel_html(panel: Panel, caption: str, *, label: str = "", name: str = "") -> str:
    """A table in a region that scrolls sideways.

    - label: of the region, the caption where that is not unique
    - name: id of a table that the script of a page sorts by its headings; its caption is for screen readers
    """
    head = "".join(_heading(one, sortable=bool(name)) for one in panel.headings)
    groups = (panel.rows,) if name else panel.groups
    bodies = "\n".join(f"<tbody>\n{_group(group, panel.headings, sortable=bool(name))}\n</tbody>" for group in groups)
    kind = f' class="sortable" id="{name}"' if name else ""
    unseen = ' class="unseen"' if name else ""
    return (
        f"{scrolling(label or caption)}<table{kind}>\n<caption{unseen}>{escape(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n{bodies}\n</table></div>"
    )


def notes_html(table: Table) -> str:
    """The legend and the notes as a list, "" where there are none."""
    legend = table.legend("<strong>bold</strong>", '<span class="second">underlined</span>', escape)
    items = [
        *([legend] if legend else []),
        *((f"<sup>{note.mark}</sup> " if note.mark else "") + escape(note.text) for note in table.notes),
    ]
    return '<ul class="notes">\n' + "\n".join(f"<li>{item}</li>" for item in items) + "\n</ul>\n" if items else ""


def scrolling(label: str, name: str = "") -> str:
    """The start tag of a region that scrolls sideways, by keyboard as well."""
    kind = f'id="{name}" ' if name else ""
    return f'<div {kind}class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'


def _heading(heading: Heading, *, sortable: bool) -> str:
    below = f" <small>{escape(heading.below)}</small>" if heading.below else ""
    if sortable:
        button = f'<button type="button">{escape(heading.text) or "#"}{below}</button>'
        return f'<th scope="col"{_side(heading)}>{button}</th>'
    return f'<th scope="col">{escape(heading.text)}{below}</th>' if heading.text else "<td></td>"


def _side(heading: Heading) -> str:
    return ' class="text"' if heading.align == "left" else ""


def _group(group: Sequence[Row], headings: Sequence[Heading], *, sortable: bool) -> str:
    """A name that only the first row of a group has spans all of it."""
    spanned = len(group) > 1 and not any(row.cells[0].text for row in group[1:]) and not sortable
    rows = []
    for index, row in enumerate(group):
        cells = [_cell(cell, heading, sortable=sortable) for cell, heading in zip(row.cells, headings, strict=True)]
        if spanned:
            cells[0] = "" if index else f'<th scope="rowgroup" rowspan="{len(group)}">{_content(row.cells[0])}</th>'
        data = "".join(f' data-{key}="{escaped(value)}"' for key, value in row.data.items())
        rows.append(f'<tr class="{row.kind}"{data}>{"".join(cells)}</tr>')
    return "\n".join(rows)


def _cell(cell: Cell, heading: Heading, *, sortable: bool) -> str:
    tag, kind = ("th", ' scope="row"') if heading.names_row else ("td", _side(heading) if sortable else "")
    value = "" if cell.value is None else escaped(str(cell.value))
    key = f' data-value="{value}"' if sortable and (value or heading.align == "right") else ""
    return f"<{tag}{kind}{key}>{cell.html or _content(cell)}</{tag}>"


def _content(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.rank == 1:
        text = f"<strong>{text}</strong>"
    elif cell.rank == 2:
        text = f'<span class="second" title="second best">{text}</span>'
    interval = f' <span class="interval">{escape(cell.interval)}</span>' if cell.interval else ""
    marks = "".join(f"<sup>{mark}</sup>" for mark in cell.marks)
    return f"{text}{marks}{interval}"


def escape(text: str) -> str:
    """Text that a browser shows as it is."""
    return escaped(one_line(text))
