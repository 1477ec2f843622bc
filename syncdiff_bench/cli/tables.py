"""`syncdiff-bench paper tables`: the paper's tables beside one's own runs."""

from __future__ import annotations

from pathlib import Path

import click

from syncdiff_bench.cli.commands import ANY_PATH, NAME, N, command, option, with_options
from syncdiff_bench.cli.options import markup, out_file
from syncdiff_bench.errors import UsageError


@command(
    examples="""
  syncdiff-bench paper tables --table 1
      what the paper printed
  syncdiff-bench paper tables --table 1 runs/lrs2-test
      paper | ours ± CI | delta | n (failed)
  syncdiff-bench paper tables --table 1 --format latex > table1.tex""",
    former={"--runs": ""},
)
@click.argument("runs", type=ANY_PATH, nargs=-1, metavar="[DIR]...")
@option("--table", N, "Table number, 1 to 6.", name="numbers", many=True, shown="all")
@option("--dataset", NAME, "Dataset to show.", name="datasets", many=True, shown="all")
@with_options(
    markup("markdown", "latex", "html", "csv", default="markdown", note="; csv has one line per cell"),
    out_file(""),
)
def tables(
    *, runs: tuple[Path, ...], numbers: tuple[int, ...], datasets: tuple[str, ...], format_name: str, out: Path | None
) -> None:
    """Print the paper's tables beside your runs.

    A cell has paper | ours ± 95 % interval | delta | n (failed).
    Each DIR is a run directory, or a folder of them; without one, ours is blank. A number of another
    protocol than the paper's gets a column of its own.
    """
    from syncdiff_bench.cli.output import write_told
    from syncdiff_bench.plugins import default_options
    from syncdiff_bench.report import paper
    from syncdiff_bench.report.joined import join
    from syncdiff_bench.report.paper_table import paper_table
    from syncdiff_bench.report.results import find_runs
    from syncdiff_bench.report.writers import render

    chosen = [paper.table(number) for number in dict.fromkeys(numbers)] or paper.tables()
    if not chosen:
        raise UsageError("no leaderboard package is installed; reinstall syncdiff-bench")
    results = find_runs(runs)
    joined = [join(table, results, datasets=datasets, defaults=default_options) for table in chosen]
    text = render(list(map(paper_table, joined)), format_name)
    if out is None:
        click.echo(text, nl=False)
        return
    write_told("--out", out, text)
