"""What the commands print beside their tables: failures, what was written; the leaderboard of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from syncdiff_bench.files import write_whole
from syncdiff_bench.pipeline import load_whole
from syncdiff_bench.report.leaderboard import leaderboards
from syncdiff_bench.report.writers import render
from syncdiff_bench.report.writers.characters import one_line
from syncdiff_bench.runs.directory import Run, run_directories

SHOWN_FAILURES = 10
LEADERBOARD = "leaderboard.md"


def exit_code(runs: Sequence[Run], *, strict: bool) -> int:
    """Say on stderr what failed and what else to know before believing the numbers; the exit code that this makes.

    1 where clips of a run failed and none came through; with `strict`, where a clip failed or a column is over fewer
    clips than another.
    """
    answers = [_told(run, strict) for run in runs]
    return int(any(answers))


def _told(run: Run, strict: bool) -> bool:
    failed = print_failures(run)
    outcomes = [score.stats is not None for score in run.scores] or [
        one.error is None for one in run.generated.values()
    ]
    for caveat in run.caveats:
        click.echo(f"note ({run.identity.method}): {one_line(caveat.text)}", err=True)
    subset = any(caveat.kind == "subset" for caveat in run.caveats)
    return (failed > 0 and (strict or not any(outcomes))) or (strict and subset)


def print_failures(run: Run) -> int:
    """Name the clips that failed, with the reason; returns how many there are."""
    reasons: dict[str, str] = {}
    for record in run.generated.values():
        if record.error is not None:
            reasons[record.clip] = record.error.message
    for score in run.scores:
        if score.failed and score.error is not None:
            reasons.setdefault(score.clip, f"{score.metric}: {score.error.message}")
    for clip, message in list(reasons.items())[:SHOWN_FAILURES]:
        named = message if clip in message else f"{clip}: {message}"
        click.echo(f"failed ({run.identity.method}): {one_line(named)}", err=True)
    if len(reasons) > SHOWN_FAILURES:
        more = len(reasons) - SHOWN_FAILURES
        click.echo(f"failed ({run.identity.method}): {more} more clips, see {run.path}", err=True)
    return len(reasons)


def print_generated(run: Run) -> None:
    """One line: how many videos there are."""
    made = sum(record.error is None for record in run.generated.values())
    failed = len(run.generated) - made
    click.echo(
        f"{run.identity.method}: {made} of {len(run.identity.clips)} clips generated, {failed} failed; "
        f"{run.path / 'videos'}",
        err=True,
    )


def write_told(option: str, path: Path, text: str) -> None:
    """Write to where `option` says, and say so. Raises UsageError that names the option."""
    write_whole(path, text, option)
    click.echo(f"wrote {path}", err=True)


def publish(out: Path, runs: Sequence[Run]) -> None:
    """Print the leaderboard of all runs below `out`, and write it to `out/leaderboard.md`. runs: loaded already."""
    from syncdiff_bench.report.writers.terminal import print_tables

    known = {run.path.resolve(): run for run in runs}
    tables = leaderboards(known.get(path.resolve()) or load_whole(path) for path in run_directories([out]))
    file, text = out / LEADERBOARD, render(tables, "markdown")
    if not file.is_file() or file.read_bytes() != text.encode():
        write_whole(file, text)
    print_tables(tables)
    click.echo(f"{file}", err=True)
