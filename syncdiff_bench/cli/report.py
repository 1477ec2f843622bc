"""`syncdiff-bench report`: the leaderboard of runs that exist."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  syncdiff-bench report runs/pocket-test
  syncdiff-bench report runs/seed0 runs/seed1 --format csv --out all.csv
  syncdiff-bench report runs/pocket-test --strip faces.png"""


@click.command(epilog=EPILOG)
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["table", "markdown", "csv", "json"]),
    default="table",
    show_default=True,
    help="csv and json have one record per run and column, in full precision.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to a file (markdown unless --format says otherwise).",
)
@click.option(
    "--strip",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PNG",
    help="Draw a figure instead: frames of one clip, one row per method.",
)
@click.option("--clip", metavar="ID", help="The clip of --strip [the first].")
def report(
    *, folders: tuple[Path, ...], format_name: str, out: Path | None, strip: Path | None, clip: str | None
) -> None:
    """Print or write the leaderboard of run directories, or of folders of them; scores nothing."""
    from syncdiff_bench.cli.output import print_boards
    from syncdiff_bench.runs.directory import load_run, run_directories
    from syncdiff_bench.runs.journal import unwritable, write_whole
    from syncdiff_bench.runs.leaderboard import boards
    from syncdiff_bench.runs.rendering import csv_text, json_text, markdown

    runs = [load_run(path) for path in run_directories(folders)]
    if strip is not None:
        from syncdiff_bench.runs.strip import draw_strip

        click.echo(f"wrote {strip}: clip {draw_strip(runs, clip, strip)}", err=True)
        return
    found = boards(runs)
    if format_name == "table" and out is None:
        print_boards(found)
        return
    writers = {"table": markdown, "markdown": markdown, "csv": csv_text, "json": json_text}
    text = writers[format_name](found)
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from None
    write_whole(out, text)
    click.echo(f"wrote {out}", err=True)
