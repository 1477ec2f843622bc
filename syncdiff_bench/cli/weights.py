"""The group `weights`: which network weights exist, getting those that lack, and checkpoints of other code."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncdiff_bench.characters import json_text
from syncdiff_bench.cli import offers
from syncdiff_bench.cli.commands import ANY_PATH, FLAG, PAIR, Option, command, option, say, with_options
from syncdiff_bench.cli.options import AS_JSON
from syncdiff_bench.errors import UsageError
from syncdiff_bench.progress import QUIET
from syncdiff_bench.screens import console_of

if TYPE_CHECKING:
    from syncdiff_bench.weights.catalog import Entry
    from syncdiff_bench.weights.sources import Progress
    from syncdiff_bench.weights.store import Status, WeightsStore


@command(
    examples="""
  syncdiff-bench weights list
  syncdiff-bench weights list --json""",
)
@AS_JSON
def list_weights(as_json: bool) -> None:
    """List every known file: is it here, its licence, how it is got."""
    store = _store()
    found = store.status()
    if as_json:
        say(json_text([_record(status) for status in found]))
        return
    from syncdiff_bench.report.table import text_table
    from syncdiff_bench.report.writers.terminal import print_tables

    print_tables([text_table(("name", "state", "size", "what it is"), map(_in_words, found))])
    say(f"folder: {store.folder}")
    for problem in store.catalogue.problems:
        say(f"warning: {problem}", err=True)


@command(
    keeps=True,
    examples="""
  syncdiff-bench weights fetch lpips-alex syncnet-v2""",
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=offers.WEIGHTS)
def fetch(names: tuple[str, ...]) -> None:
    """Download files, from where a download was interrupted."""
    store = _store()
    for name in names:
        with _bar(name) as progress:
            path = store.fetch(name, progress)
        say(f"{name}: {path} (sha256 {store.digest(name)})")


@command(
    keeps=True,
    examples="""
  syncdiff-bench weights add avhubert-lrs2-vsr ~/Downloads/checkpoint_best.pt""",
)
@click.argument("name", shell_complete=offers.WEIGHTS)
@click.argument("file", type=ANY_PATH)
@option("--force", FLAG, "Keep it although it is not the published file.")
def add(name: str, file: Path, force: bool) -> None:
    """Keep a FILE that you have under the NAME of a known one."""
    store = _store()
    path = store.add(name, file, force=force)
    sha256 = store.digest(name)
    say(f"{name}: {path} (sha256 {sha256}, {_standing(store.catalogue[name], sha256)})")


@command(
    examples="""
  syncdiff-bench weights verify""",
    closing="Exit codes: 0 nothing is wrong; 1 a file is not what its name promises.",
)
@click.pass_context
def verify(ctx: click.Context) -> None:
    """Read the files that are here again, and check their digests."""
    statuses = list(_store().verify())
    for status in statuses:
        if status.state != "missing":
            standing = f"(sha256 {status.sha256}, {_standing(status.entry, status.sha256)})"
            told = f"{status.entry.name}: {status.path} {status.problem or standing}"
            say(told, label=f"{status.state:7} ", fg="red" if status.problem else "green")
    counts = Counter(status.state for status in statuses)
    say(", ".join(f"{counts[state]} {state}" for state in ("here", "missing", "wrong")))
    ctx.exit(1 if any(status.state == "wrong" for status in statuses) else 0)


def _conversion(source: str, target: str) -> tuple[Option[Any], ...]:
    """What import and export are asked for; their arguments' names."""
    return (
        click.argument("layout", required=False, shell_complete=offers.LAYOUT),
        click.argument("source", metavar=f"[{source}]", type=ANY_PATH, required=False),
        click.argument("target", metavar=f"[{target}]", type=ANY_PATH, required=False),
        option("--set", PAIR, "Option of the layout.", name="settings", many=True),
        option("--force", FLAG, "Write over an existing target."),
    )


@command(
    keeps=True,
    examples="""
  syncdiff-bench weights import
      the known layouts
  syncdiff-bench weights import vq-f4 model.ckpt training/vq-f4
  syncdiff-bench weights import difftalk last.ckpt models/difftalk
  syncdiff-bench weights import syncdiff last.ckpt prv --set variant=prv""",
)
@with_options(*_conversion("FILE", "DIR"))
@click.pass_context
def import_checkpoint(ctx: click.Context, /, **given: Any) -> None:
    """Turn a checkpoint of another program into a model directory.

    The file is read with restrictions: tensors and plain values, nothing in it is run.
    """
    way = "import"
    if ctx.info_name == "convert" and given["source"] is not None and given["source"].is_dir():  # as it was spelt
        say("note: of a directory it is `syncdiff-bench weights export`", err=True)
        way = "export"
    _convert(way, **given)


@command(
    keeps=True,
    examples="""
  syncdiff-bench weights export difftalk models/difftalk again.ckpt""",
)
@with_options(*_conversion("DIR", "FILE"))
def export_checkpoint(**given: Any) -> None:
    """Turn a model directory into a checkpoint of another program."""
    _convert("export", **given)


def _convert(
    way: str, *, layout: str | None, source: Path | None, target: Path | None, settings: tuple[str, ...], force: bool
) -> None:
    from syncdiff_bench import registry
    from syncdiff_bench.origins import RECORD
    from syncdiff_bench.texts import options_from_text, parse_settings

    if layout is None:
        for one in registry.describe("converter"):
            say(one.title or one.status, label=f"{one.name:<12}")
        return
    if source is None or target is None:
        raise UsageError(f"{way} {layout}: give a source and a target, a checkpoint file and a directory")
    cls = registry.load_class("converter", layout)
    if not source.exists():
        raise UsageError(f"{source}: no such file or directory; give a checkpoint to import or a model to export")
    if source.is_dir() != (way == "export"):
        kind, other = ("a directory", "export") if way == "import" else ("a file", "import")
        raise UsageError(f"{source} is {kind}; `weights {other}` takes one")
    converter = cls(options_from_text(cls.Options, parse_settings(settings), f"layout {layout}"))
    if way == "export":
        if target.is_dir():
            raise UsageError(
                f"{target} is a directory; name the checkpoint file to write, e.g. {target / 'model.ckpt'}"
            )
        _refuse_overwriting(target, force)
        target.parent.mkdir(parents=True, exist_ok=True)
        converter.export_checkpoint(source, target)
    else:
        if target.is_file():
            raise UsageError(f"{target} is a file; name the directory to write the model into")
        if target.is_dir() and any(target.iterdir()):
            _refuse_overwriting(target, force)
        converter.import_checkpoint(source, target)
        (target / RECORD).unlink(missing_ok=True)  # of the model that was there: a checkpoint does not tell its data
    say(f"{target}")


def _refuse_overwriting(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise UsageError(f"{path} exists; give another target, or --force to write over it")


def _store() -> WeightsStore:
    from syncdiff_bench.weights.store import WeightsStore

    return WeightsStore()


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    """A progress bar that takes bytes done and bytes in all; nothing where there is no terminal."""
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    console = console_of(sys.stderr)
    if not console.is_terminal or QUIET.get():
        yield lambda _done, _total: None
        return
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        row = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)


def _record(status: Status) -> dict[str, Any]:
    entry = status.entry
    of_file = {"name": entry.name, "state": status.state, "path": str(status.path)}
    of_entry = ("size", "sha256", "licence", "description", "homepage", "used_by")
    got = {"fetchable": bool(entry.sources), "obtain": entry.obtain, "problem": status.problem}
    return {**of_file, **{key: getattr(entry, key) for key in of_entry}, **got}


def _in_words(status: Status) -> tuple[str, str, str, str]:
    entry = status.entry
    size = "?" if entry.size is None else f"{entry.size / 1e6:.1f} MB"
    fetched = "fetched at first use" if entry.auto else "got by `weights fetch`"
    got = fetched if entry.sources else f"only you can get it: {entry.obtain or entry.homepage}"
    used = f"for {', '.join(entry.used_by)}; {got}; licence: {entry.licence}"
    return entry.name, status.state, size, f"{entry.description}; {used}"


def _standing(entry: Entry, sha256: str | None) -> str:
    """Of a file with that digest."""
    if entry.sha256 is None:
        return "the published digest is not known"
    return "as published" if entry.sha256 == sha256 else "NOT the published file, kept by --force"
