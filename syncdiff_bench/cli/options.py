"""Options that several commands share, each declared once, and what is read of their texts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncdiff_bench.cli import offers
from syncdiff_bench.cli.commands import (
    DATASET_NAME,
    DIR,
    FILE,
    FLAG,
    METHOD_NAME,
    NAME,
    NEW_DIR,
    PAIR,
    N,
    Option,
    Takes,
    at_least,
    option,
    say,
)
from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    from syncdiff_bench.runs.plan import Selection


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


def told_root(dataset: str, given: Path | None) -> Path | None:
    """The folder of a dataset, said on stderr (once for all ranks) where the command line does not name it.

    `given` where none is known, or the dataset is not: whoever needs the data says so.
    """
    from syncdiff_bench.registry import load_class
    from syncdiff_bench.roots import GIVEN, root_of

    try:
        root = root_of(load_class("dataset", dataset), given)
    except UsageError:
        return given
    if root is None or root.source == GIVEN:
        return given
    if os.environ.get("RANK", "0") == "0":
        say(f"{dataset}: {root}", err=True)
    return root.folder


METHOD_HELP = "Method; `syncdiff-bench list methods` says what each needs."
METHOD = option("--method", METHOD_NAME, METHOD_HELP, default="syncdiff")
METHODS = option("--method", METHOD_NAME, METHOD_HELP, name="methods", many=True, default=("syncdiff",))
SETTINGS = option(
    "--set",
    PAIR,
    "Option of the method, or NAME.KEY=VALUE of one of several. A model that is not set is"
    " that of the data, where `paper reproduce` looks for it.",
    name="settings",
    many=True,
)
DATASET = option("--dataset", DATASET_NAME, "Dataset.", default="pocket")
DATA_ROOT = option(
    "--data-root", DIR, "Folder of the dataset, or its parent.", shown="that of `data add`, else of SYNCDIFF_BENCH_DATA"
)
DATA_ROOT_NOW = option("--data-root", DIR, "Where the dataset is now.", shown="where it was")
DATASET_SETTINGS = option(
    "--dataset-set",
    PAIR,
    "Option of the dataset, or pairs=FILE (`AUDIO VIDEO` lines).",
    name="dataset_settings",
    many=True,
)
SPLIT = option("--split", NAME, "Split.", shown="the dataset's, mostly test")
SPLITS = option("--split", NAME, "Split, or all.", name="splits", many=True, shown="the dataset's, mostly test")
LIMIT = option("--limit", N, "Only the first N clips.")
CLIPS = (DATASET, DATA_ROOT, DATASET_SETTINGS, SPLIT, LIMIT)
CLIPS_OF_SPLITS = (DATASET, DATA_ROOT, DATASET_SETTINGS, SPLITS, LIMIT)

SEED = option("--seed", at_least(0), "Seed of all noise.", default=0)
BOXES = option(
    "--boxes",
    Takes("NAME|DIR"),
    "Face boxes: auto (those of the data, else detected), s3fd, dlib-hog, centred (a guess), or a folder.",
    default="auto",
)
DEVICE = option("--device", Takes("DEVICE"), "auto, cpu, cuda, cuda:N or mps.", default="auto")
SHARD = option("--shard", Takes("I/N"), "Only every N-th part of the work, from the I-th on.", default="1/1")
WORKERS = option(
    "--workers",
    at_least(0),
    "Processes on this machine, this one among them; 0: as many as its cores and memory allow and the work is worth.",
    default=0,
)
PROGRESS = option(
    "--progress",
    click.Choice(["auto", "bar", "log", "off"]),
    "How work is followed: a bar, or a line now and then with speed and time left; auto: a bar on a terminal.",
    default="auto",
)
FRESH = option("--fresh", FLAG, "Delete first what was made before in the same place (and say so).")
AS_JSON = option("--json", FLAG, "Print JSON, for programs.", name="as_json")
DRY_RUN = option(
    "--dry-run", FLAG, "Print what would be done, what is done already, FLOPs, memory and time; start nothing."
)
GENERATION = (
    METHODS,
    SETTINGS,
    *CLIPS,
    BOXES,
    SEED,
    option(
        "--encoding",
        NAME,
        "How videos are stored, part of the protocol. lossless: VLC, mpv and ffplay show it, browsers and QuickTime do"
        " not, or in wrong colours; crf23 (of published systems), talklip, compact: everything does where both sides"
        " are even. `watch` makes copies that play everywhere.",
        default="lossless",
    ),
    option(
        "--accept-damaged",
        FLAG,
        "Use damaged files as far as they go, with a note below the table; else such a clip fails.",
    ),
    option("--out", NEW_DIR, "Folder of the runs.", shown="runs/<dataset>-<split>"),
)
CONFIG_SETTINGS = option(
    "--set", PAIR, "Value of the config, KEY with its table (training.steps=4000).", name="overrides", many=True
)
VARIANT = option(
    "--variant", Takes("NAME", offer=offers.VARIANT), "One of the config's variants (rnd, prv-, np5, ...).", default=""
)
METRICS = option(
    "--metrics",
    Takes("A,B[KEY=VALUE]", offer=offers.METRICS),
    "Metrics, with options in brackets.",
    many=True,
    shown="psnr, ssim, lpips, psnr[talklip]",
)
CARRYING_OUT = (
    DEVICE,
    option("--retry-failed", FLAG, "Try clips again whose failure is recorded."),
    FRESH,
    option("--strict", FLAG, "Exit with 1 when a clip failed or is left out of a column."),
)
SHARING = (SHARD, WORKERS, PROGRESS)

LABELS = option(
    "--label",
    Takes("RUN=NAME"),
    "Name of a run, by its folder or method, in tables and figures.",
    name="labels",
    many=True,
)
ROWS = option("--rows", Takes("A,B"), "Rows and their order, by label, method or folder.", many=True, shown="all")
INTERVALS = option("--intervals/--no-intervals", FLAG, "The 95 % interval behind a mean.", default=True)
ANY_BOXES = option("--any-boxes", FLAG, "Also where the two look at other face boxes, which changes numbers.")
# Of a gate.
REPORTS = (
    option("--junit", FILE, "Write a JUnit report."),
    option("--summary", FILE, "Append the table as Markdown.", shown="$GITHUB_STEP_SUMMARY, where that is set"),
)


def show_columns(instead: str, others: str) -> Option[Any]:
    """--show. instead: what is shown without it. others: columns that are none of a metric."""
    return option(
        "--show",
        Takes("A,B"),
        f"Columns and their order, by column (lse_c), metric (lse), either with a protocol (lse[lrs]), or {others}.",
        many=True,
        shown=instead,
    )


def out_file(instead: str) -> Option[Any]:
    """--out of a command that prints; instead: what is in the file."""
    return option("--out", FILE, f"Write to a file{instead}, not to stdout.")


def markup(*formats: str, default: str | None = None, shown: str = "", note: str = "") -> Option[Any]:
    """--format, the way in which a table is written. shown: what the help says of a default that depends."""
    about = f"How the table is written{note}."
    return option("--format", click.Choice(formats), about, name="format_name", default=default, shown=shown)


def page_options(shows: str, order: str) -> tuple[Option[Any], ...]:
    """The HTML page. shows: what stands on top of it. order: which clips have a video first."""
    return (
        option("--html", FILE, f"Write one self-contained page: {shows}, clips side by side, per-clip values, plots."),
        option("--clips", at_least(0), f"Clips with video in --html, {order} first.", default=12),
        DATA_ROOT_NOW,
    )


def parse_shard(text: str, option: str = "--shard") -> tuple[int, int]:
    """ "2/3" -> (2, 3). Raises UsageError."""
    index, _, count = text.partition("/")
    if index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return int(index), int(count)
    raise UsageError(f"{option} {text}: expected I/N with I from 1 to N, such as 2/3")
