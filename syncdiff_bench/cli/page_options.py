"""The options of the HTML page, shared by `report` and `compare`; `selection.with_options` adds them."""

from __future__ import annotations

from pathlib import Path

import click

from syncdiff_bench.cli.selection import Option


def page_options(shows: str, order: str) -> tuple[Option, ...]:
    """shows: what stands on top of the page. order: which clips have a video first."""
    return (
        click.option(
            "--html",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help=f"Write one self-contained page: {shows}, clips side by side, per-clip values, plots.",
        ),
        click.option(
            "--clips",
            type=click.IntRange(min=0),
            default=12,
            show_default=True,
            help=f"Clips with video in --html, {order} first.",
        ),
        click.option(
            "--data-root",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="Where the dataset is now [where it was].",
        ),
    )
