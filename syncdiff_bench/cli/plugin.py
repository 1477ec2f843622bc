"""`list`: what is installed, broken plugins included; the group `plugin`: a package that works at once, and the
conformance suite on an installed plugin.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import click

from syncdiff_bench.characters import json_text
from syncdiff_bench.cli import offers
from syncdiff_bench.cli.commands import DIR, FLAG, PAIR, command, option, say, say_item
from syncdiff_bench.cli.options import AS_JSON, DATA_ROOT
from syncdiff_bench.errors import BenchError, UsageError, one_line
from syncdiff_bench.screens import columns_of

if TYPE_CHECKING:
    from syncdiff_bench.registry import Kind
    from syncdiff_bench.testing.plugin_checks import Plugin
    from syncdiff_bench.weights.catalog import Entry

KINDS = ("method", "metric", "dataset")
DRAWN = "pocket"  # whose models are held to the contract; the faces of the checks are drawn as well


@command(
    keeps=True,
    examples="""
  syncdiff-bench plugin new method my-method
  pip install -e my-method
  syncdiff-bench run --method my-method --dataset pocket""",
    former={"--in": "--out"},
)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@option("--out", DIR, "Where to write the package.", default=Path())
def new(*, kind: str, name: str, out: Path) -> None:
    """Write a plugin package of your own, ready to install.

    It has an entry point, one module, a test and a README; runs as it is, and passes the conformance suite; replace
    what it does with your own.
    """
    from syncdiff_bench.scaffold.writing import FIRST_COMMAND, write_package

    for path in write_package(kind, name, out):
        say(path)
    say(f"next: pip install -e {out / name} && {FIRST_COMMAND[kind].format(name=name)}", err=True)


@command(
    examples="""
  syncdiff-bench plugin check my-method
  syncdiff-bench plugin check "psnr[protocol=talklip]"
  syncdiff-bench plugin check my-dataset --data-root /data/mine""",
    closing="Exit codes: 0 none failed (those that were skipped are counted, with the reason); 1 one failed, or with"
    " --strict was skipped; 2 no such plugin.",
)
@click.argument("name", shell_complete=offers.PLUGIN)
@option("--kind", click.Choice(KINDS), "Where a name is registered in several groups.")
@DATA_ROOT
@option("--set", PAIR, "Option of the plugin.", name="settings", many=True)
@option("--strict", FLAG, "Exit with 1 where a check was skipped, too.")
def check(*, name: str, kind: str | None, data_root: Path | None, settings: tuple[str, ...], strict: bool) -> int:
    """Hold an installed plugin to the contract.

    Checked are shapes, determinism, independence, errors, laziness. A check is skipped, with the reason, where
    weights or a package that the plugin needs are missing here.

    The same checks run in a plugin's own tests: see `syncdiff_bench.testing`.
    """
    from syncdiff_bench.testing.checks import checks_of
    from syncdiff_bench.testing.plugin_checks import Skipped

    checks = checks_of(_load(name, kind, data_root, settings))
    width = max(len(one.name) for one in checks)
    passed, failed, skipped = 0, 0, Counter[str]()
    for one in checks:
        try:
            one()
        except Skipped as reason:
            skipped[str(reason)] += 1
            say(reason, label=f"skip {one.name:<{width}}  ", hang=7, fg="yellow")
        except (Exception, SystemExit) as error:  # a plugin that exits ends no suite, least of all with 0
            failed += 1
            said = " ".join(str(error).split()) if isinstance(error, AssertionError | BenchError) else one_line(error)
            say(said, label=f"FAIL {one.name:<{width}}  ", hang=7, fg="red", bold=True)
        else:
            passed += 1
            say(one.about, label=f"ok   {one.name:<{width}}  ", hang=7, fg="green")
    counts = ", ".join([f"{passed} passed", *([f"{failed} failed"] if failed else [])])
    reasons = [f"{n} skipped: {reason}" for reason, n in skipped.items()]
    for line in [", ".join([counts, *reasons])] if len(reasons) == 1 else [counts, *reasons]:
        say(line)
    return int(failed > 0 or (strict and bool(skipped)))


def _load(name: str, kind: str | None, data_root: Path | None, settings: tuple[str, ...]) -> Plugin:
    from syncdiff_bench import plugins, registry
    from syncdiff_bench.contracts import Runtime
    from syncdiff_bench.reproduction.models import with_model
    from syncdiff_bench.runs.plan import load_methods
    from syncdiff_bench.texts import option_values, parse_settings, parse_spec
    from syncdiff_bench.weights.store import WeightsStore

    spec = parse_spec(name)
    plain, given = spec.name, {**spec.options, **parse_settings(settings)}
    groups = [one for one in KINDS if plain in registry.names(one)] if kind is None else [kind]  # type: ignore[arg-type]
    if not groups:
        known = ", ".join(one for group in KINDS for one in registry.names(group))  # type: ignore[arg-type]
        raise UsageError(f"no plugin {plain!r} is installed; there are {known}")
    if len(groups) > 1:
        raise UsageError(f"{plain!r} is a {' and a '.join(groups)}; choose one with --kind")
    runtime = Runtime("cpu", WeightsStore())
    if groups[0] == "dataset":
        values = option_values(plugins.dataset_options(plain, given), given, plain)
        return plugins.load_dataset(plain, data_root, values)
    values = option_values(registry.load_class(groups[0], plain).Options, given, plain)  # type: ignore[arg-type]
    if groups[0] == "metric":
        return plugins.load_metric(plain, values, runtime)
    return load_methods((plain,), {plain: values}, replace(runtime, dataset=DRAWN), with_model)[0]


PLUGINS: Mapping[str, Kind] = {
    "methods": "method",
    "metrics": "metric",
    "datasets": "dataset",
    "trainers": "trainer",
    "converters": "converter",
    "acoustic-models": "acoustic_model",
}
LISTED = (*PLUGINS, "weights", "tables")


@command(
    examples="""
  syncdiff-bench list
  syncdiff-bench list metrics
  syncdiff-bench list methods --json""",
)
@click.argument("kind", type=click.Choice(LISTED), required=False)
@AS_JSON
def list_plugins(kind: str | None, as_json: bool) -> None:
    """Show what is installed; a plugin that cannot be used says why.

    Without an argument, the names of every kind, and no plugin is loaded.
    """
    if kind is None:
        print_names(as_json)
        return
    if kind == "tables":
        rows = tables_rows()
    else:
        rows = [asdict(entry) for entry in _entries()] if kind == "weights" else plugin_rows(kind)
    if as_json:
        say(json_text(rows))
        return
    if kind == "methods":
        print_methods(rows)
        return
    print_rows([_for_people(kind, row) for row in rows])


def print_names(as_json: bool) -> None:
    """The names of the plugins of each kind, as their packages register them."""
    from syncdiff_bench.registry import names

    found = {kind: names(singular) for kind, singular in PLUGINS.items()}
    if as_json:
        say(json_text(found))
        return
    width = max(map(len, found)) + 2
    for kind, known in found.items():
        say_item(kind.ljust(width), ", ".join(known) or "none", 80)
    say("")
    say("`syncdiff-bench list KIND` says more; weights and tables are kinds as well.")


def print_methods(rows: Iterable[dict[str, Any]]) -> None:
    """A few lines per method: their options and needs are too long for a table."""
    for row in rows:
        say("  ".join(filter(None, (row["name"], row["title"], f"({row['distribution']})"))))
        facts = {"needs": "; ".join(row["needs"]), "options": ", ".join(row["options"])}
        for label, text in facts.items() if row["status"] == "ok" else (("fault", row["status"]),):
            start = f"    {label.ljust(9)}"
            if text:  # an address is never broken
                say(fill(text, 80, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False))


def plugin_rows(kind: str) -> list[dict[str, Any]]:
    """One record per registered name of a kind of plugins.

    weights: of a metric, the catalogue's entries that are made for it; which of them a protocol takes is its options'.
    """
    from syncdiff_bench.registry import describe

    records = [asdict(description) for description in describe(PLUGINS[kind])]
    if kind != "metrics":
        of_metrics = ("protocol", "columns", "source", *(() if kind == "methods" else ("needs",)))
        return [{key: value for key, value in one.items() if key not in of_metrics} for one in records]
    entries = _entries()
    return [{**one, "weights": [entry.name for entry in entries if one["name"] in entry.used_by]} for one in records]


def _entries() -> Iterable[Entry]:
    """The weights files that the catalogue knows; packages whose list cannot be used are told on stderr."""
    from syncdiff_bench.weights.catalog import installed

    catalogue = installed()
    for problem in catalogue.problems:
        say(f"warning: {problem}", err=True)
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
        say("none installed")
        return
    if columns_of(sys.stdout) is None:
        from tabulate import tabulate

        say(tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True))
        return
    from syncdiff_bench.report.table import text_table
    from syncdiff_bench.report.writers.terminal import print_tables

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
