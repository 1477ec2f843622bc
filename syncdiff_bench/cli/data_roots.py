"""`syncdiff-bench data add`, `list` and `remove`: where data sets lie on this machine, said once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from syncdiff_bench.characters import json_text
from syncdiff_bench.cli import offers
from syncdiff_bench.cli.commands import DIR, command, say
from syncdiff_bench.cli.options import AS_JSON
from syncdiff_bench.errors import UsageError


@command(
    keeps=True,
    examples="""
  syncdiff-bench data add lrs2 /data/mvlrs_v1
  syncdiff-bench run --method syncdiff --dataset lrs2
      needs no --data-root any more, nor does any other command""",
    closing="--data-root comes before this, this before the variable SYNCDIFF_BENCH_DATA.",
)
@click.argument("dataset", shell_complete=offers.DATASET)
@click.argument("folder", metavar="DIR", type=DIR.type)
def add(*, dataset: str, folder: Path) -> None:
    """Keep where a DATASET lies; DIR is its folder, or the parent.

    It has to have the data set's layout. One line of a file in $SYNCDIFF_BENCH_HOME says it from then on.
    """
    from syncdiff_bench import roots
    from syncdiff_bench.plugins import load_dataset
    from syncdiff_bench.registry import load_class

    if load_class("dataset", dataset).embedded:
        raise UsageError(f"{dataset} is part of its package and needs no folder; --data-root DIR is for another copy")
    found = load_dataset(dataset, folder)
    counts, problem = [], ""
    for split in found.splits():
        try:
            counts.append(f"{split} {len(found.clip_ids(split)):,} clips")
        except UsageError as error:
            problem = problem or str(error)
    if not counts:
        raise UsageError(problem or f"{folder}: no split of {dataset} is there; give the folder that holds its lists")
    before = roots.add(dataset, folder)
    was = f" (before: {before})" if before and before != str(folder.absolute()) else ""
    say(f"{dataset}: {folder.absolute()}{was}: {', '.join(counts)}")
    if problem:
        say(f"note: {problem}", err=True)
    say(f"{roots.file()}", err=True)


@command(
    keeps=True,
    examples="""
  syncdiff-bench data remove lrs2""",
)
@click.argument("dataset", shell_complete=offers.ADDED)
def remove(*, dataset: str) -> None:
    """Forget where a DATASET lies; its files stay."""
    from syncdiff_bench import roots

    say(f"{dataset}: {roots.remove(dataset)} forgotten; its files stay")


@command(
    examples="""
  syncdiff-bench data list
  SYNCDIFF_BENCH_DATA=/data syncdiff-bench data list""",
    closing="""SYNCDIFF_BENCH_DATA is one folder, or several as in PATH: each is a data set, or holds some under their
    usual names (lrs2, mvlrs_v1, lrs3, ...).""",
)
@AS_JSON
def list_roots(*, as_json: bool) -> None:
    """Show which data sets are known, where, and who says so.

    Those of `data add`, then those in the folders of SYNCDIFF_BENCH_DATA.
    """
    from syncdiff_bench import roots
    from syncdiff_bench.report.table import text_table
    from syncdiff_bench.report.writers.terminal import print_tables

    known = list(roots.all_known())
    if as_json:
        say(json_text([asdict(one) for one in known]))
    elif known:
        rows = [(one.dataset or "?", one.folder, one.source, one.problem or "here") for one in known]
        print_tables([text_table(("data set", "folder", "by", "state"), rows)])
    else:
        say(f"none is known; give {roots.ways('NAME')}")
    if not as_json:
        say(f"file: {roots.file()}")
