"""`syncdiff-bench list`: what is installed, broken plugins included."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from click.formatting import wrap_text

from syncdiff_bench.cli.commands import command
from syncdiff_bench.cli.options import AS_JSON
from syncdiff_bench.report.table import text_table
from syncdiff_bench.report.writers.terminal import print_tables

if TYPE_CHECKING:
    from syncdiff_bench.registry import Kind
    from syncdiff_bench.weights.catalog import Entry

PLUGINS: Mapping[str, Kind] = {
    "methods": "method",
    "metrics": "metric",
    "datasets": "dataset",
    "trainers": "trainer",
    "converters": "converter",
    "acoustic-models": "acoustic_model",
}
KINDS = (*PLUGINS, "weights", "tables")


@command(
    examples="""
  syncdiff-bench list
  syncdiff-bench list metrics
  syncdiff-bench list methods --json""",
)
@click.argument("kind", type=click.Choice(KINDS), required=False)
@AS_JSON
def list_plugins(kind: str | None, as_json: bool) -> None:
    """Show what is installed; a plugin that cannot be used says why.

    Without an argument, the names of every kind, and no plugin is loaded.
    """
    if kind is None:
        print_names(as_json)
        return
    others = {"tables": tables_rows, "weights": lambda: [asdict(entry) for entry in _entries()]}
    rows = others.get(kind, lambda: plugin_rows(kind))()
    if as_json:
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False, default=str))
        return
    print_rows([_for_people(kind, row) for row in rows])


def print_names(as_json: bool) -> None:
    """The names of the plugins of each kind, as their packages register them."""
    from syncdiff_bench.registry import names

    found = {kind: names(singular) for kind, singular in PLUGINS.items()}
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    width = max(map(len, found)) + 2
    for kind, known in found.items():
        click.echo(wrap_text(", ".join(known) or "none", 80, kind.ljust(width), " " * width))
    click.echo("\n`syncdiff-bench list KIND` says more; weights and tables are kinds as well.")


def plugin_rows(kind: str) -> list[dict[str, Any]]:
    """One record per registered name of a kind of plugins.

    weights: of a metric, the catalogue's entries that are made for it; which of them a protocol takes is its options'.
    """
    from syncdiff_bench.registry import describe

    records = [asdict(description) for description in describe(PLUGINS[kind])]
    if kind != "metrics":
        of_metrics = ("protocol", "columns", "needs", "source")
        return [{key: value for key, value in one.items() if key not in of_metrics} for one in records]
    entries = _entries()
    return [{**one, "weights": [entry.name for entry in entries if one["name"] in entry.used_by]} for one in records]


def _entries() -> Iterable[Entry]:
    """The weights files that the catalogue knows; packages whose list cannot be used are told on stderr."""
    from syncdiff_bench.weights.catalog import installed

    catalogue = installed()
    for problem in catalogue.problems:
        click.echo(problem, err=True)
    return catalogue.entries.values()


def tables_rows() -> list[dict[str, Any]]:
    """One record per table of the installed leaderboard packages."""
    from syncdiff_bench.report.paper import tables

    return [
        {
            "number": table.number,
            "title": table.title,
            "datasets": list(table.datasets),
            "columns": [column.label for column in table.columns],
            "rows": len(table.rows),
        }
        for table in tables()
    ]


def print_rows(rows: Sequence[dict[str, str]]) -> None:
    """A table: long texts wrap on a terminal, and stay on their line in a pipe."""
    if not rows:
        click.echo("none installed")
        return
    if not sys.stdout.isatty():
        from tabulate import tabulate

        click.echo(tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True))
        return
    print_tables([text_table(rows[0], (row.values() for row in rows))])


# What fits a line; --json has the rest.
SHOWN = {
    "metrics": ("name", "protocol", "columns", "direction", "unit", "weights", "needs", "source", "status"),
    "weights": ("name", "size", "sha256", "licence", "used_by", "description"),
}


def _for_people(kind: str, row: dict[str, Any]) -> dict[str, str]:
    row = dict(row)
    if kind == "metrics":
        labels, arrows, units = zip(*row["columns"], strict=True) if row["columns"] else ((), (), ())
        row |= {"columns": labels, "direction": _once(arrows), "unit": _once(units)}
    if kind == "weights":
        row["sha256"] = (row["sha256"] or "unknown")[:12]
    return {key: _text(row[key]) for key in SHOWN.get(kind, tuple(row))}


def _once(values: Sequence[str]) -> Sequence[str]:
    """What all columns share, said once."""
    return values[:1] if len(set(values)) == 1 else values


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return "" if value is None else str(value)
