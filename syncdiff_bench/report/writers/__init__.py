"""A comparison as text: Markdown, LaTeX, HTML or CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.paper_comparison import Comparison

FORMATS = ("markdown", "latex", "html", "csv")


def render(comparisons: Sequence[Comparison], format_name: str) -> str:
    """The comparisons, one after the other, ending in a newline. Raises UsageError for an unknown format."""
    return _renderer(format_name)(comparisons)


def _renderer(format_name: str) -> Callable[[Sequence[Comparison]], str]:
    if format_name == "markdown":
        from syncdiff_bench.report.writers.markdown import to_markdown

        return to_markdown
    if format_name == "latex":
        from syncdiff_bench.report.writers.latex import to_latex

        return to_latex
    if format_name == "html":
        from syncdiff_bench.report.writers.page import to_html

        return to_html
    if format_name == "csv":
        from syncdiff_bench.report.writers.tidy import to_csv

        return to_csv
    raise UsageError(f"unknown format {format_name}; known: {', '.join(FORMATS)}")
