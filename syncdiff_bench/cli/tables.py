"""`syncdiff-bench tables`: the paper's tables beside one's own runs."""

from __future__ import annotations

from pathlib import Path

import click

from syncdiff_bench.errors import UsageError


@click.command("tables")
@click.option(
    "--table",
    "numbers",
    type=int,
    multiple=True,
    metavar="N",
    help="Table number, 1 to 6; repeatable. [default: all]",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["markdown", "latex", "html", "csv"]),
    default="markdown",
    show_default=True,
    help="Markup; csv has one line per cell in full precision.",
)
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    metavar="NAME",
    help="Show these datasets only; repeatable. [default: all]",
)
@click.option(
    "--runs",
    "runs",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="DIR ...",
    help="Run directories, or folders of them.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write here, not to stdout.",
)
@click.argument("more_runs", type=click.Path(path_type=Path), nargs=-1, metavar="")
def tables(
    *,
    numbers: tuple[int, ...],
    format_name: str,
    datasets: tuple[str, ...],
    runs: tuple[Path, ...],
    out: Path | None,
    more_runs: tuple[Path, ...],
) -> None:
    """The paper's tables: paper | ours ± 95 % interval | delta | n (failed).

    Without --runs, ours is blank. A number of another protocol than the paper's gets a column of its own.
    """
    from syncdiff_bench.cli.output import write_told
    from syncdiff_bench.plugins import default_options
    from syncdiff_bench.report import paper
    from syncdiff_bench.report.paper_comparison import compare
    from syncdiff_bench.report.results import find_runs
    from syncdiff_bench.report.writers import render

    if more_runs and not runs:
        raise UsageError(f"unexpected argument {more_runs[0]}; run directories follow --runs")
    chosen = [paper.table(number) for number in dict.fromkeys(numbers)] or paper.tables()
    if not chosen:
        raise UsageError("no leaderboard package is installed; reinstall syncdiff-bench")
    results = find_runs((*runs, *more_runs))
    joined = [compare(table, results, datasets=datasets, defaults=default_options) for table in chosen]
    text = render(joined, format_name)
    if out is None:
        click.echo(text, nl=False)
        return
    write_told("--out", out, text)
