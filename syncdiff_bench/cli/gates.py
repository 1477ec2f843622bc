"""What every gate leaves behind: its table on the terminal, a step summary, a JUnit report; also where it refuses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from syncdiff_bench.errors import BenchError, UsageError

if TYPE_CHECKING:
    from syncdiff_bench.report.writers.junit import Case


@dataclass(frozen=True)
class Outcome:
    """What a gate found. cases: of the JUnit report; the rest is its table."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    footnotes: Sequence[str]
    cases: Sequence[Case]
    passed: bool


@dataclass(frozen=True)
class Places:
    """Where a gate reports. command: "syncdiff-bench check"; subject: what it looks at."""

    command: str
    subject: Path
    junit: Path | None
    summary: Path | None

    def publish(self, outcome: Outcome) -> None:
        """The JUnit report comes last: a place that cannot be written must not cost the others."""
        from syncdiff_bench.cli.output import print_table
        from syncdiff_bench.report.comparison import markdown_table, terminal_table

        table = outcome.header, outcome.rows
        print_table(terminal_table(*table), outcome.footnotes)
        self._summarise("passed" if outcome.passed else "FAILED", markdown_table(*table, outcome.footnotes))
        self._write_junit(outcome.cases, outcome.footnotes)

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """What is not comparable is reported as well, an error of its own, before it ends the command."""
        from syncdiff_bench.report.writers.junit import Case
        from syncdiff_bench.report.writers.markdown import escape

        try:
            yield
        except BenchError as refusal:
            try:
                self._summarise("NOT COMPARABLE", f"{escape(str(refusal))}\n")
                self._write_junit([Case("comparable with the baseline", "error", "not comparable", str(refusal))])
            except UsageError as unwritable:
                raise UsageError(f"{refusal}; and {unwritable}") from None
            raise

    def _summarise(self, verdict: str, markdown: str) -> None:
        from syncdiff_bench.files import unwritable

        step_summary = os.environ.get("GITHUB_STEP_SUMMARY")
        target = self.summary or (Path(step_summary) if step_summary else None)
        if target is None:
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("a", encoding="utf-8") as file:
                file.write(f"### {self.command}: {verdict}\n\n{markdown}\n")
        except OSError as error:
            raise unwritable(target, error, "--summary") from None

    def _write_junit(self, cases: Sequence[Case], notes: Sequence[str] = ()) -> None:
        from syncdiff_bench.files import write_whole
        from syncdiff_bench.report.writers.junit import junit_xml

        if self.junit is not None:
            write_whole(self.junit, junit_xml(self.command, str(self.subject), cases, notes), "--junit")
