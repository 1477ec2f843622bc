"""`syncdiff-bench weights`: what network weights exist, which are here, and getting the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from syncdiff_bench.weights.catalog import Entry
    from syncdiff_bench.weights.sources import Progress
    from syncdiff_bench.weights.store import Status, WeightsStore

STYLES = {"here": "green", "missing": "yellow", "wrong": "bold red"}


@click.group()
def weights() -> None:
    """Network weights: kept in one folder, each known by its sha256, which travels with every result.

    \b
    The folder is $SYNCDIFF_BENCH_HOME/weights; SYNCDIFF_BENCH_OFFLINE=1 forbids the network.
    """


@weights.command("list")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def list_weights(as_json: bool) -> None:
    """Every known file: whether it is here, its size and licence, and how it is got."""
    store = _store()
    found = store.status()
    if as_json:
        click.echo(json.dumps([_record(status) for status in found], indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Long texts share one column, so that the table reads in 80 characters.
    table = Table(box=None, pad_edge=False)
    for title in ("name", "state", "size", "what it is"):
        table.add_column(title, no_wrap=title != "what it is")
    for status in found:
        entry = status.entry
        facts = f"for {', '.join(entry.used_by)}; got by {_got_by(entry)}; licence: {entry.licence}"
        about = Text.assemble(entry.description, "\n", (facts, "dim"))
        table.add_row(entry.name, Text(status.state, STYLES[status.state]), _megabytes(entry.size), about)
    Console().print(table)
    click.echo(f"folder: {store.folder}")
    for problem in store.catalogue.problems:
        click.echo(f"warning: {problem}", err=True)


@weights.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def fetch(names: tuple[str, ...]) -> None:
    """Download files; an interrupted download goes on where it stopped.

    \b
      syncdiff-bench weights fetch lpips-alex syncnet-v2
    """
    store = _store()
    for name in names:
        with _bar(name) as progress:
            path = store.fetch(name, progress)
        click.echo(f"{name}: {path} (sha256 {store.digest(name)})")


@weights.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Keep it although it is not the published file.")
def add(name: str, file: Path, force: bool) -> None:
    """Put a FILE that you have into the store under a catalogue NAME.

    \b
      syncdiff-bench weights add avhubert-lrs2-vsr ~/Downloads/checkpoint_best.pt
    """
    store = _store()
    path = store.add(name, file, force=force)
    entry = store.catalogue[name]
    known = "as published" if entry.sha256 == store.digest(name) else "the published digest is not known"
    if entry.sha256 not in (None, store.digest(name)):
        known = "NOT the published file, kept by --force"
    click.echo(f"{name}: {path} (sha256 {store.digest(name)}, {known})")


@weights.command()
@click.pass_context
def verify(ctx: click.Context) -> None:
    """Read every file that is here again and compare it with its published digest.

    Exit code 0: nothing is wrong; 1: a file is not what its name promises.
    """
    statuses = list(_store().verify())
    for status in statuses:
        if status.state != "missing":
            click.secho(f"{status.state:7} ", fg="red" if status.problem else "green", nl=False)
            click.echo(f"{status.entry.name}: {status.path} {status.problem or _checked(status)}")
    counts = [sum(status.state == state for status in statuses) for state in STYLES]
    click.echo(", ".join(f"{count} {state}" for count, state in zip(counts, STYLES, strict=True)))
    ctx.exit(1 if any(status.state == "wrong" for status in statuses) else 0)


def _store() -> WeightsStore:
    from syncdiff_bench.weights.store import WeightsStore

    return WeightsStore()


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    """A progress bar that takes bytes done and bytes in all."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)


def _record(status: Status) -> dict[str, Any]:
    entry = status.entry
    return {
        "name": entry.name,
        "state": status.state,
        "path": str(status.path),
        "size": entry.size,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "description": entry.description,
        "homepage": entry.homepage,
        "used_by": list(entry.used_by),
        "fetchable": bool(entry.sources),
        "obtain": entry.obtain,
        "problem": status.problem,
    }


def _got_by(entry: Entry) -> str:
    if not entry.sources:
        return "hand"
    return "first use, or fetch" if entry.auto else "fetch"


def _checked(status: Status) -> str:
    if status.entry.sha256 is None:
        return f"has sha256 {status.sha256}; none is published"
    if status.entry.sha256 != status.sha256:
        return f"has sha256 {status.sha256}, NOT the published file, kept by --force"
    return "is as published"


def _megabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1e6:.1f} MB"
