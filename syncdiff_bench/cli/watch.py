"""`syncdiff-bench watch`: copies of the videos of runs that people can watch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncdiff_bench.characters import one_line
from syncdiff_bench.cli.commands import FLAG, NEW_DIR, N, command, option, say, with_options
from syncdiff_bench.cli.options import DATA_ROOT_NOW, LABELS, PROGRESS
from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    from syncdiff_bench.report.side_by_side import Upscaling


@command(
    examples="""
  syncdiff-bench watch runs/pocket-test
  syncdiff-bench watch runs/pocket-test --all --transcript --out for-the-talk
  syncdiff-bench watch runs/a runs/b --label runs/b/syncdiff=Base
  syncdiff-bench watch runs/pocket-test/static 3000000000000000000/00001
      one clip, by its id
  syncdiff-bench watch runs/a/static/videos/3000000000000000000/*.mp4
      or by their files""",
    keeps=True,
)
@click.argument("targets", nargs=-1, required=True, metavar="RUN... [CLIP...]")
@with_options(
    option("--clips", N, "How many clips where none is named, the worst first.", default=12),
    option("--all", FLAG, "Every clip.", name="every"),
    option("--out", NEW_DIR, "Folder of the copies.", shown="watch/ in the first RUN"),
    option("--scale", N, "Enlarge pictures so many times.", shown="what brings small ones to 256 pixels, else 1"),
    option(
        "--filter",
        click.Choice(["lanczos", "nearest"]),
        "How pictures are enlarged: smoothly, or pixel by pixel.",
        name="upscaling",
        default="lanczos",
    ),
    option("--transcript", FLAG, "Write what is said below the methods side by side."),
    LABELS,
    DATA_ROOT_NOW,
    PROGRESS,
)
def watch(
    *,
    targets: tuple[str, ...],
    clips: int,
    every: bool,
    out: Path | None,
    scale: int | None,
    upscaling: Upscaling,
    transcript: bool,
    labels: tuple[str, ...],
    data_root: Path | None,
    progress: str,
) -> int:
    """Write copies of runs' videos that every player shows.

    A run stores its videos without loss, which few players show (--encoding in `run --help`). Of each clip this writes
    a copy per method, and one file with the reference and all methods side by side: H.264 4:2:0 and AAC. A RUN is a run
    directory, or a folder of them. Nothing is ever scored from a copy.
    """
    from syncdiff_bench.cli.output import SHOWN_FAILURES, print_failed
    from syncdiff_bench.pipeline import load_whole
    from syncdiff_bench.progress import stderr_progress
    from syncdiff_bench.report.selection import labelled
    from syncdiff_bench.report.watching import Look
    from syncdiff_bench.report.watching import watch as write_copies
    from syncdiff_bench.runs.directory import run_directories

    folders, wanted = _watched(targets)
    runs = labelled([load_whole(path) for path in run_directories(folders)], labels)
    out = out or folders[0] / "watch"
    made = write_copies(
        runs,
        out=out,
        wanted=wanted,
        limit=None if every else clips,
        look=Look(scale, upscaling, transcript),
        data_root=data_root,
        progress=stderr_progress(progress),
    )
    print_failed(made.failed[:SHOWN_FAILURES])
    if len(made.failed) > SHOWN_FAILURES:
        say(f"failed: {len(made.failed) - SHOWN_FAILURES} more", err=True)
    for note in made.notes:
        say(f"note: {one_line(note)}", err=True)
    more = "; --all for every one" if made.chosen < made.of and not wanted else ""
    say(
        f"wrote {made.copies} copies and {made.side_by_side} files side by side to {out}: "
        f"{made.clips} of {made.of} clips{more}",
        err=True,
    )
    return int(not made.copies)


def _watched(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Folders with runs, and ids of clips; the file of a run's video is both. Raises UsageError without a folder."""
    folders, wanted = [], []
    for word in words:
        path = Path(word)
        found = _video_of_a_run(path) if path.is_file() else None
        if path.is_dir():
            folders.append(path)
        elif found is not None:
            folders.append(found[0])
            wanted.append(found[1])
        else:
            wanted.append(word)
    if not folders:
        raise UsageError(f"{words[0]} is no folder and no video of a run; give a run directory first, then its clips")
    return folders, wanted


def _video_of_a_run(path: Path) -> tuple[Path, str] | None:
    """The run directory and the clip of a file in its `videos/`."""
    from syncdiff_bench.runs.layout import MANIFEST

    for folder in (*path.parents, *path.absolute().parents):
        if folder.name == "videos" and (folder.parent / MANIFEST).is_file():
            return folder.parent, path.absolute().relative_to(folder.absolute()).with_suffix("").as_posix()
    return None
