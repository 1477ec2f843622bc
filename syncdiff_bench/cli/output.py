"""What the commands print beside their tables: failures, what was written; the leaderboard of a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from syncdiff_bench.characters import one_line
from syncdiff_bench.cli.commands import say
from syncdiff_bench.errors import BenchError, UsageError
from syncdiff_bench.faults import LOG
from syncdiff_bench.files import unwritable, write_whole
from syncdiff_bench.pipeline import load_whole
from syncdiff_bench.report.leaderboard import leaderboards
from syncdiff_bench.report.table import Table
from syncdiff_bench.report.writers import render
from syncdiff_bench.report.writers.junit import JUnitCase, cases_of, junit_xml
from syncdiff_bench.report.writers.markdown import escape
from syncdiff_bench.report.writers.terminal import print_tables
from syncdiff_bench.runs.directory import Run, run_directories
from syncdiff_bench.screens import columns_of

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
        say(f"note ({run.identity.method}): {one_line(caveat.text)}", err=True)
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
    method = run.identity.method
    print_failed([(method, clip, message) for clip, message in list(reasons.items())[:SHOWN_FAILURES]])
    if reasons and (run.path / LOG).is_file():
        say(f"tracebacks of what plugins raised: {run.path / LOG}", err=True)
    if len(reasons) > SHOWN_FAILURES:
        more = len(reasons) - SHOWN_FAILURES
        say(f"failed ({method}): {more} more clips, see {run.path}", err=True)
    return len(reasons)


def print_failed(failures: Sequence[tuple[str, str, str]]) -> None:
    """A line for each: what failed, of which clip, and why."""
    for what, clip, message in failures:
        named = message if clip in message else f"{clip}: {message}"
        say(f"failed ({what}): {one_line(named)}", err=True)


def print_generated(run: Run) -> None:
    """One line: how many videos there are."""
    made = sum(record.error is None for record in run.generated.values())
    failed = len(run.generated) - made
    say(
        f"{run.identity.method}: {made} of {len(run.identity.clips)} clips generated, {failed} failed; "
        f"{run.path / 'videos'}",
        err=True,
    )


def present(tables: Sequence[Table], format_name: str | None = None) -> None:
    """Print in a format; None: as tables on a terminal, as Markdown elsewhere."""
    if format_name == "table" or (format_name is None and columns_of(sys.stdout) is not None):
        print_tables(tables)
    else:
        say(render(tables, format_name or "markdown"), nl=False)


def write_told(option: str, path: Path, text: str) -> None:
    """Write to where `option` says, and say so. Raises UsageError that names the option."""
    write_whole(path, text, option)
    say(f"wrote {path}", err=True)


def publish(out: Path, runs: Sequence[Run]) -> None:
    """Print the leaderboard of all runs below `out`, and write it to `out/leaderboard.md`. runs: loaded already."""
    known = {run.path.resolve(): run for run in runs}
    tables = leaderboards(known.get(path.resolve()) or load_whole(path, lines=False) for path in run_directories([out]))
    file, text = out / LEADERBOARD, render(tables, "markdown")
    if not file.is_file() or file.read_bytes() != text.encode():
        write_whole(file, text)
    print_tables(tables)
    say(f"{file}", err=True)


@dataclass(frozen=True)
class Places:
    """Where the gate reports what it found in `subject`: terminal, step summary, JUnit; also where it refuses."""

    subject: Path
    junit: Path | None
    summary: Path | None

    def publish(self, table: Table, *, passed: bool, more: Sequence[JUnitCase] = ()) -> None:
        """The JUnit report comes last: a place that cannot be written must not cost the others.

        table: of the gate. more: test cases beside those of its rows.
        """
        print_tables([table])
        self._summarise("passed" if passed else "FAILED", render([table], "markdown"))
        self._write_junit([*cases_of(table), *more], [note.text for note in table.notes])

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """What is not comparable is reported as well, an error of its own, before it ends the command."""
        try:
            yield
        except BenchError as refusal:
            try:
                self._summarise("NOT COMPARABLE", f"{escape(str(refusal))}\n")
                self._write_junit([JUnitCase("comparable with the baseline", "error", "not comparable", str(refusal))])
            except UsageError as unwritable:
                raise UsageError(f"{refusal}; and {unwritable}") from None
            raise

    def _summarise(self, verdict: str, markdown: str) -> None:
        step_summary = os.environ.get("GITHUB_STEP_SUMMARY")
        target = self.summary or (Path(step_summary) if step_summary else None)
        if target is None:
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("a", encoding="utf-8") as file:
                file.write(f"### syncdiff-bench check: {verdict}\n\n{markdown}\n")
        except OSError as error:
            raise unwritable(target, error, "--summary") from None

    def _write_junit(self, cases: Sequence[JUnitCase], notes: Sequence[str] = ()) -> None:
        if self.junit is not None:
            write_whole(self.junit, junit_xml("syncdiff-bench check", str(self.subject), cases, notes), "--junit")
