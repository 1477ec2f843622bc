"""One writer per format: text for files and pages, `terminal` for people, `junit` for CI systems."""

from __future__ import annotations

from collections.abc import Sequence

from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.table import Table
from syncdiff_bench.report.writers.html import html_text
from syncdiff_bench.report.writers.latex import latex_text
from syncdiff_bench.report.writers.markdown import markdown_text
from syncdiff_bench.report.writers.records import csv_text, json_text

WRITERS = {
    **{"markdown": markdown_text, "latex": latex_text, "html": html_text},
    **{"csv": csv_text, "json": json_text},
}


def render(tables: Sequence[Table], format_name: str) -> str:
    """The tables, one after the other, ending in a newline. Raises UsageError for an unknown format."""
    if format_name not in WRITERS:
        raise UsageError(f"unknown format {format_name}; known: {', '.join(WRITERS)}")
    return WRITERS[format_name](tables)
