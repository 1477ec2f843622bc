"""`syncdiff-bench report`: the leaderboard of runs that exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncdiff_bench.cli.page_options import page_options
from syncdiff_bench.cli.selection import with_options
from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    from syncdiff_bench.report.page.strip import Area
    from syncdiff_bench.runs.directory import Run

EPILOG = """\b
Examples:
  syncdiff-bench report runs/pocket-test
  syncdiff-bench report runs/seed0 runs/seed1 --format csv --out all.csv
  syncdiff-bench report runs/pocket-test --html report.html
  syncdiff-bench report runs/pocket-test --strip faces.pdf --area mouth
  syncdiff-bench report runs/a runs/b --label runs/a/syncdiff=Ours --label runs/b/syncdiff=Base"""


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
    "--label",
    "labels",
    multiple=True,
    metavar="DIR=NAME",
    help="What to call a run in tables and figures, in place of its method. Repeatable.",
)
@with_options(page_options(shows="leaderboard", order="worst"))
@click.option(
    "--strip",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw a figure instead (.png or .pdf): frames of one clip, the reference above the methods.",
)
@click.option("--clip", metavar="ID", help="The clip of --strip [the first].")
@click.option(
    "--area", type=click.Choice(["frame", "mouth"]), default="frame", show_default=True, help="What --strip shows."
)
@click.option("--columns", type=click.IntRange(min=1), default=10, show_default=True, help="Frames of --strip.")
def report(
    *,
    folders: tuple[Path, ...],
    format_name: str,
    out: Path | None,
    labels: tuple[str, ...],
    html: Path | None,
    clips: int,
    strip: Path | None,
    clip: str | None,
    area: Area,
    columns: int,
    data_root: Path | None,
) -> None:
    """Print or write the leaderboard of run directories, or of folders of them (two levels down); scores nothing."""
    from syncdiff_bench.cli.output import print_boards, stderr_progress, write_told
    from syncdiff_bench.report.leaderboard import boards
    from syncdiff_bench.report.run_tables import csv_text, json_text, markdown
    from syncdiff_bench.runs.directory import load_run, run_directories

    runs = _labelled([load_run(path) for path in run_directories(folders)], labels)
    if strip is not None:
        from syncdiff_bench.report.page.material import Material
        from syncdiff_bench.report.page.strip import draw_strip, make_strip

        material = Material(runs, data_root)
        made = make_strip(material, clip or material.first_common(), columns=columns, area=area)
        draw_strip(made, strip)
        if made.lacking:
            click.echo(f"without the reference: {made.lacking}", err=True)
        click.echo(f"wrote {strip}: clip {made.clip}", err=True)
    if html is not None:
        from syncdiff_bench.report.page.page import build_page

        write_told("--html", html, build_page(runs, clips=clips, data_root=data_root, progress=stderr_progress()))
    if strip is not None or html is not None:
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
    write_told("--out", out, text)


def _labelled(runs: Sequence[Run], labels: Sequence[str]) -> list[Run]:
    """labels: `DIR=NAME`, each for one of the runs. Raises UsageError for another."""
    names = {}
    for text in labels:
        folder, _, name = text.rpartition("=")
        if not folder or not name.strip():
            raise UsageError(f"--label {text}: expected DIR=NAME")
        names[Path(folder).resolve()] = name.strip()
    strange = names.keys() - {run.path.resolve() for run in runs}
    if strange:
        known = ", ".join(str(run.path) for run in runs)
        raise UsageError(f"--label {min(strange)}: is none of the runs {known}")
    return [replace(run, label=names.get(run.path.resolve(), "")) for run in runs]
