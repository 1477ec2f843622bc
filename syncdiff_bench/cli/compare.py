"""`syncdiff-bench compare`: are two runs different, column by column."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  syncdiff-bench compare runs/pocket-test/static runs/pocket-test/syncdiff
  syncdiff-bench compare old/syncdiff new/syncdiff --format markdown > diff.md"""


@click.command(epilog=EPILOG)
@click.argument("run_a", type=click.Path(path_type=Path), metavar="RUN_A")
@click.argument("run_b", type=click.Path(path_type=Path), metavar="RUN_B")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["table", "markdown"]),
    default="table",
    show_default=True,
    help="Markup.",
)
@click.option("--resamples", type=click.IntRange(min=100), default=2000, show_default=True, help="Of the bootstrap.")
def compare(*, run_a: Path, run_b: Path, format_name: str, resamples: int) -> None:
    """Paired comparison of two run directories over the clips that both have.

    Every metric scored in both with the same protocol and weights: difference with its 95 % interval (bootstrap over
    speakers), permutation p with Holm's correction, effect size, and the clips that changed most.
    """
    from syncdiff_bench.cli.output import print_table
    from syncdiff_bench.runs.directory import load_run
    from syncdiff_bench.significance import rendering
    from syncdiff_bench.significance.comparison import compare as compare_scored
    from syncdiff_bench.significance.scored import from_run

    comparison = compare_scored(from_run(load_run(run_a)), from_run(load_run(run_b)), resamples=resamples)
    header, rows = rendering.comparison_header(comparison), rendering.comparison_rows(comparison)
    footnotes = rendering.comparison_footnotes(comparison)
    if format_name == "markdown":
        click.echo(rendering.markdown_table(header, rows, footnotes), nl=False)
    else:
        print_table(rendering.terminal_table(header, rows), footnotes)
