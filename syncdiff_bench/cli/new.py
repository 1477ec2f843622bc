"""`syncdiff-bench new`: a plugin package that works at once."""

from __future__ import annotations

from pathlib import Path

import click

KINDS = ("method", "metric", "dataset")

EPILOG = """\b
Examples:
  syncdiff-bench new method my-method
  pip install -e my-method
  syncdiff-bench run --method my-method --dataset pocket"""


@click.command(epilog=EPILOG)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option(
    "--in", "parent", type=click.Path(path_type=Path), default=Path(), metavar="DIR", help="Where to write it [here]."
)
def new(*, kind: str, name: str, parent: Path) -> None:
    """Write a small installable package NAME: entry point, one module, a test, a README.

    It runs as it is, and passes the conformance suite; replace what it does with your own.
    """
    from syncdiff_bench.scaffold.writing import FIRST_COMMAND, write_package

    for path in write_package(kind, name, parent):
        click.echo(path)
    click.echo(f"next: pip install -e {parent / name} && {FIRST_COMMAND[kind].format(name=name)}", err=True)
