"""`syncdiff-bench report` and `compare`: the leaderboard of runs that exist, and whether two of them differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncdiff_bench.cli.commands import ANY_PATH, FILE, NEW_DIR, N, Takes, at_least, command, option, say, with_options
from syncdiff_bench.cli.options import ANY_BOXES, INTERVALS, LABELS, ROWS, markup, out_file, page_options, show_columns
from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    from syncdiff_bench.report.page.strip import Area
    from syncdiff_bench.runs.directory import Lines


@command(
    examples="""
  syncdiff-bench report runs/pocket-test
  syncdiff-bench report runs/seed0 runs/seed1 --format csv --out all.csv
  syncdiff-bench report runs/pocket-test --html report.html
  syncdiff-bench report runs/pocket-test --strip faces.pdf --area mouth
  syncdiff-bench report runs/pocket-test --card cards
  syncdiff-bench report runs/a runs/b --label runs/b/syncdiff=Base
  syncdiff-bench report runs/mine --format latex --show psnr,lse_c,speed
      a table for your paper""",
)
@click.argument("folders", nargs=-1, required=True, type=ANY_PATH, metavar="DIR...")
@with_options(
    markup("table", "markdown", "latex", "csv", "json", default="table", note="; csv and json in full precision"),
    out_file(" (markdown unless --format says otherwise)"),
    show_columns("all but speed", "n, speed, rank"),
    ROWS,
    LABELS,
    INTERVALS,
    *page_options(shows="leaderboard", order="worst"),
)
@option("--card", NEW_DIR, "Write a card per run instead: JSON, SVG, and YAML for a model card of the Hub.")
@option("--strip", FILE, "Draw a figure instead (.png or .pdf): frames of one clip, the reference above the methods.")
@option("--clip", Takes("ID"), "Clip of --strip.", shown="the first")
@option("--area", click.Choice(["frame", "mouth"]), "What --strip shows.", default="frame")
@option("--columns", N, "Frames of --strip.", default=10)
def report(
    *,
    folders: tuple[Path, ...],
    format_name: str,
    out: Path | None,
    show: tuple[str, ...],
    rows: tuple[str, ...],
    labels: tuple[str, ...],
    intervals: bool,
    html: Path | None,
    clips: int,
    card: Path | None,
    strip: Path | None,
    clip: str | None,
    area: Area,
    columns: int,
    data_root: Path | None,
) -> None:
    """Show runs that exist: table, page, figure, LaTeX, CSV.

    Each DIR is a run directory, or a folder of them (two levels down, trainings of a row three). Nothing is scored;
    what shards made is put together first.
    """
    from syncdiff_bench.cli.output import write_told
    from syncdiff_bench.pipeline import load_whole
    from syncdiff_bench.progress import stderr_progress
    from syncdiff_bench.report.leaderboard import boards
    from syncdiff_bench.report.selection import Choice, labelled
    from syncdiff_bench.report.writers import render
    from syncdiff_bench.report.writers.terminal import print_tables
    from syncdiff_bench.runs.directory import run_directories

    clip_by_clip = html is not None or strip is not None
    lines: Lines = "passing" if clip_by_clip else False
    runs = labelled([load_whole(path, lines=lines) for path in run_directories(folders)], labels)
    choice = Choice(show, rows, intervals, second_best=True, ranks=format_name != "latex")
    shown = boards(runs, choice)
    chosen = [row.run for board in shown for row in board.rows] if rows else runs
    if strip is not None:
        from syncdiff_bench.report.page.material import Material
        from syncdiff_bench.report.page.strip import draw_strip, make_strip

        material = Material(chosen, data_root)
        made = make_strip(material, clip or material.first_common(), columns=columns, area=area)
        draw_strip(made, strip)
        if made.lacking:
            say(f"without the reference: {made.lacking}", err=True)
        say(f"wrote {strip}: clip {made.clip}", err=True)
    if html is not None:
        from syncdiff_bench.report.page.page import build_page

        page = build_page(runs, choice=choice, clips=clips, data_root=data_root, progress=stderr_progress())
        write_told("--html", html, page)
    if card is not None:
        from syncdiff_bench.report.card import cards

        for one in cards(chosen):
            for suffix, text in (("json", one.json), ("svg", one.svg), ("yaml", one.yaml)):
                write_told("--card", card / f"{one.name}.{suffix}", text)
    if strip is not None or html is not None or card is not None:
        return
    tables = [board.table for board in shown]
    if format_name == "table" and out is None:
        print_tables(tables)
        return
    text = render(tables, "markdown" if format_name == "table" else format_name)
    if out is None:
        say(text, nl=False)
        return
    write_told("--out", out, text)


@command(
    examples="""
  syncdiff-bench compare runs/pocket-test/static runs/pocket-test/syncdiff
  syncdiff-bench compare old/syncdiff new/syncdiff --format markdown > diff.md
  syncdiff-bench compare old/syncdiff new/syncdiff --html diff.html
  syncdiff-bench compare all/syncdiff-rnd all/syncdiff
      two rows of a table, all trainings and seeds""",
)
@click.argument("run_a", type=ANY_PATH, metavar="RUN_A")
@click.argument("run_b", type=ANY_PATH, metavar="RUN_B")
@markup("table", "markdown", default="table")
@option("--resamples", at_least(100), "Resamples of the bootstrap.", default=2000)
@with_options(ANY_BOXES, *page_options(shows="the differences", order="those that changed most"))
def compare(
    *,
    run_a: Path,
    run_b: Path,
    format_name: str,
    resamples: int,
    any_boxes: bool,
    html: Path | None,
    clips: int,
    data_root: Path | None,
) -> None:
    """Tell whether two runs differ: paired tests per metric.

    RUN_A and RUN_B are run directories, compared over the clips that both have, or folders of trainings and seeds
    (seed-0, training-0/seed-0, ...). Every metric scored in both with the same protocol and weights: difference with
    its 95 % interval over speakers and trainings, p with Holm's correction (permutation of speakers; of several
    trainings Student's t), effect size, and the clips that changed most.
    """
    from syncdiff_bench.cli.output import write_told
    from syncdiff_bench.pipeline import load_draws
    from syncdiff_bench.progress import stderr_progress
    from syncdiff_bench.report.comparison import comparison_table
    from syncdiff_bench.report.writers import render
    from syncdiff_bench.report.writers.terminal import print_tables
    from syncdiff_bench.significance.comparison import compare as compare_scored
    from syncdiff_bench.significance.scored import from_draws, one_of_each, require_pairs

    sides = [load_draws(folder, lines="passing") for folder in (run_a, run_b)]
    if html is not None and max(map(len, sides)) > 1:
        raise UsageError(f"--html is of one seed: {one_of_each(*sides)}")
    require_pairs(*sides)
    scored = [from_draws(side) for side in sides]
    if html is None:
        sides.clear()  # of tens of thousands of clips, what was generated too
    comparison = compare_scored(*scored, resamples=resamples, any_boxes=any_boxes)
    table = comparison_table(comparison)
    if format_name == "table":
        print_tables([table])
    else:
        say(render([table], format_name), nl=False)
    if html is not None:
        from syncdiff_bench.report.page.page import build_page

        runs = [run for side in sides for run in side.values()]
        page = build_page(runs, comparison=comparison, clips=clips, data_root=data_root, progress=stderr_progress())
        write_told("--html", html, page)
