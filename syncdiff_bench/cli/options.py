"""Options that several commands share, each declared once.

A path on disk is DIR or FILE, a count N, a name of something installed NAME, an option of a plugin KEY=VALUE.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    from syncdiff_bench.runs.plan import Selection

Function = TypeVar("Function", bound=Callable[..., Any])
Option = Callable[[Callable[..., Any]], Callable[..., Any]]

ANY_PATH = click.Path(path_type=Path)
DIRECTORY = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
COUNT = click.IntRange(min=1)


def with_options(*options: Option) -> Callable[[Function], Function]:
    """Add options to a command, shown in this order."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)  # type: ignore[assignment]
        return function

    return decorate


def dataset_values(name: str, settings: tuple[str, ...]) -> dict[str, Any]:
    """The values of the options of a dataset, of --dataset-set. Raises UsageError."""
    from syncdiff_bench.plugins import dataset_options
    from syncdiff_bench.texts import option_values, parse_settings

    texts = parse_settings(settings, "--dataset-set")
    return option_values(dataset_options(name, texts), texts, name) if texts else {}


def selected(
    *,
    methods: tuple[str, ...],
    dataset: str,
    settings: tuple[str, ...],
    dataset_settings: tuple[str, ...],
    metrics: tuple[str, ...] = (),
    **rest: Any,
) -> Selection:
    """What GENERATION and METRICS ask for, their texts as values. Raises UsageError."""
    from syncdiff_bench.runs.plan import Selection
    from syncdiff_bench.texts import method_options, metric_specs

    return Selection(
        methods=methods,
        dataset=dataset,
        options=method_options(methods, settings),
        dataset_options=dataset_values(dataset, dataset_settings),
        metrics=metric_specs(metrics),
        **rest,
    )


METHOD = click.option("--method", default="syncdiff", metavar="NAME", help="Method.")
METHODS = click.option(
    "--method", "methods", multiple=True, default=("syncdiff",), metavar="NAME", help="Method; repeatable."
)
SETTINGS = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the method (or NAME.KEY=VALUE of one of several); repeatable. A model that is not set is"
    " that of the data, where `paper reproduce` looks for it.",
)
DATASET = click.option("--dataset", default="pocket", metavar="NAME", help="Dataset.")
DATA_ROOT = click.option(
    "--data-root",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder of the dataset, or its parent; an embedded one needs none.",
)
DATASET_SETTINGS = click.option(
    "--dataset-set",
    "dataset_settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the dataset, or pairs=FILE (`AUDIO VIDEO` lines); repeatable.",
)
SPLIT = click.option("--split", metavar="NAME", show_default="the dataset's, mostly test", help="Split.")
LIMIT = click.option("--limit", type=COUNT, metavar="N", help="Only the first N clips.")
CLIPS = (DATASET, DATA_ROOT, DATASET_SETTINGS, SPLIT, LIMIT)

SEED = click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Seed of all noise.")
BOXES = click.option(
    "--boxes",
    default="auto",
    metavar="NAME|DIR",
    help="Face boxes: auto (those of the data, else detected), s3fd, dlib-hog, centred (a guess), or a folder.",
)
DEVICE = click.option("--device", default="auto", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")
SHARD = click.option(
    "--shard", default="1/1", metavar="I/N", help="Only every N-th part of the work, from the I-th on."
)
DRY_RUN = click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be done, what is done already, FLOPs, memory and time; start nothing.",
)
GENERATION = (
    METHODS,
    SETTINGS,
    *CLIPS,
    BOXES,
    SEED,
    click.option(
        "--encoding",
        default="lossless",
        metavar="NAME",
        help="How videos are stored: lossless, crf23, ...; part of the protocol.",
    ),
    click.option(
        "--accept-damaged",
        is_flag=True,
        help="Use damaged files as far as they go, with a note below the table; else such a clip fails.",
    ),
    click.option(
        "--out", type=DIRECTORY, metavar="DIR", show_default="runs/<dataset>-<split>", help="Folder of the runs."
    ),
)
CONFIG_SETTINGS = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Value of the config, KEY with its table (training.steps=4000); repeatable.",
)
VARIANT = click.option(
    "--variant",
    default="",
    show_default=False,
    metavar="NAME",
    help="One of the config's variants (rnd, prv-, np5, ...).",
)
METRICS = click.option(
    "--metrics",
    multiple=True,
    metavar="A,B[KEY=VALUE]",
    show_default="psnr, ssim, lpips, psnr[talklip]",
    help="Metrics, with options in brackets; repeatable.",
)
CARRYING_OUT = (
    DEVICE,
    click.option("--retry-failed", is_flag=True, help="Try clips again whose failure is recorded."),
    click.option("--fresh", is_flag=True, help="Delete first what a former run left in the same place (and say so)."),
    click.option("--strict", is_flag=True, help="Exit with 1 when a clip failed or is left out of a column."),
)

LABELS = click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="DIR=NAME",
    help="Name of a run in tables and figures, in place of its method; repeatable.",
)
ANY_BOXES = click.option(
    "--any-boxes", is_flag=True, help="Also where the two look at other face boxes, which changes numbers."
)
# Of a gate.
REPORTS = (
    click.option("--junit", type=FILE, metavar="FILE", help="Write a JUnit report."),
    click.option(
        "--summary",
        type=FILE,
        metavar="FILE",
        show_default="$GITHUB_STEP_SUMMARY, where that is set",
        help="Append the table as Markdown.",
    ),
)


def out_file(instead: str) -> Option:
    """--out of a command that prints; instead: what is in the file."""
    return click.option("--out", type=FILE, metavar="FILE", help=f"Write to a file{instead}, not to stdout.")


def markup(*formats: str, default: str, note: str = "") -> Option:
    """--format, the way in which a table is written."""
    return click.option(
        "--format", "format_name", type=click.Choice(formats), default=default, help=f"How the table is written{note}."
    )


def page_options(shows: str, order: str) -> tuple[Option, ...]:
    """The HTML page. shows: what stands on top of it. order: which clips have a video first."""
    return (
        click.option(
            "--html",
            type=FILE,
            metavar="FILE",
            help=f"Write one self-contained page: {shows}, clips side by side, per-clip values, plots.",
        ),
        click.option(
            "--clips",
            type=click.IntRange(min=0),
            default=12,
            metavar="N",
            help=f"Clips with video in --html, {order} first.",
        ),
        click.option(
            "--data-root", type=ANY_PATH, metavar="DIR", show_default="where it was", help="Where the dataset is now."
        ),
    )


def parse_shard(text: str, option: str = "--shard") -> tuple[int, int]:
    """ "2/3" -> (2, 3). Raises UsageError."""
    index, _, count = text.partition("/")
    if index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return int(index), int(count)
    raise UsageError(f"{option} {text}: expected I/N with I from 1 to N, such as 2/3")
