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
    from syncdiff_bench.report.table import Table
    from syncdiff_bench.report.writers.junit import JUnitCase


@dataclass(frozen=True)
class Places:
    """Where a gate reports. command: "syncdiff-bench check"; subject: what it looks at."""

    command: str
    subject: Path
    junit: Path | None
    summary: Path | None

    def publish(self, table: Table, *, passed: bool, more: Sequence[JUnitCase] = ()) -> None:
        """The JUnit report comes last: a place that cannot be written must not cost the others.

        table: of the gate. more: test cases beside those of its rows.
        """
        from syncdiff_bench.report.writers import render
        from syncdiff_bench.report.writers.junit import cases_of
        from syncdiff_bench.report.writers.terminal import print_tables

        print_tables([table])
        self._summarise("passed" if passed else "FAILED", render([table], "markdown"))
        self._write_junit([*cases_of(table), *more], [note.text for note in table.notes])

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """What is not comparable is reported as well, an error of its own, before it ends the command."""
        from syncdiff_bench.report.writers.junit import JUnitCase
        from syncdiff_bench.report.writers.markdown import escape

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

    def _write_junit(self, cases: Sequence[JUnitCase], notes: Sequence[str] = ()) -> None:
        from syncdiff_bench.files import write_whole
        from syncdiff_bench.report.writers.junit import junit_xml

        if self.junit is not None:
            write_whole(self.junit, junit_xml(self.command, str(self.subject), cases, notes), "--junit")
