"""The options that say what to run on what, shared by `run`, `generate` and `score`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
Option = Callable[[Callable[..., Any]], Callable[..., Any]]

BOXES = click.option(
    "--boxes",
    default="auto",
    show_default=True,
    metavar="WHAT",
    help="Face boxes: auto (those of the data, else detected), s3fd, dlib-hog, centred (a guess), or a folder.",
)
METHOD_OPTIONS = (
    click.option(
        "--method",
        "methods",
        multiple=True,
        default=("syncdiff",),
        show_default=True,
        metavar="NAME",
        help="Method; repeatable.",
    ),
    click.option("--dataset", default="pocket", show_default=True, metavar="NAME", help="Dataset."),
    click.option(
        "--data-root",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder of the dataset, or its parent.",
    ),
    click.option("--split", metavar="NAME", help="Split.  [default: the dataset's, mostly test]"),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N clips."),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        metavar="S",
        help="Seed of all noise.",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Folder of the runs.  [default: runs/<dataset>-<split>]",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of the method (or NAME.KEY=VALUE of one of several); repeatable. A model that is not set is"
        " that of the data, where `reproduce` looks for it.",
    ),
    click.option(
        "--dataset-set",
        "dataset_settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option of the dataset, or pairs=FILE (`AUDIO VIDEO` lines); repeatable.",
    ),
    BOXES,
    click.option(
        "--encoding",
        default="lossless",
        show_default=True,
        metavar="NAME",
        help="How videos are stored: lossless, crf23, ...; part of the protocol.",
    ),
    click.option(
        "--accept-damaged",
        is_flag=True,
        help="Use damaged files as far as they go, with a note below the table.  [default: the clip fails]",
    ),
)
METRIC_OPTIONS = (
    click.option(
        "--metrics",
        multiple=True,
        metavar="A,B[KEY=VALUE]",
        help="Metrics, with options in brackets; repeatable.  [default: psnr, ssim, lpips, psnr[talklip]]",
    ),
)
COMMON_OPTIONS = (
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:N or mps.",
    ),
    click.option("--retry-failed", is_flag=True, help="Try clips again whose failure is recorded."),
    click.option("--fresh", is_flag=True, help="Delete first what a former run left in the same place (and say so)."),
    click.option("--strict", is_flag=True, help="Exit with 1 when a clip failed or is left out of a column."),
)


def with_options(*groups: tuple[Callable[[Function], Function], ...]) -> Callable[[Function], Function]:
    """Add groups of options to a command, shown in this order."""

    def decorate(function: Function) -> Function:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate
