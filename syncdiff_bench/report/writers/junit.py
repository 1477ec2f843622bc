"""What a gate found as JUnit XML, which every CI system shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from syncdiff_bench.report.comparison import report_header, report_rows
from syncdiff_bench.report.writers.characters import one_line, printable
from syncdiff_bench.significance.gate import Report

FAILING = ("regression", "no value")


@dataclass(frozen=True)
class Case:
    """One test case. outcome: "failure" where the answer is no, "error" where there is none; then kind and message."""

    name: str
    outcome: Literal["passed", "failure", "error"] = "passed"
    kind: str = ""
    message: str = ""


def junit_xml(command: str, subject: str, cases: Sequence[Case], notes: Sequence[str] = ()) -> str:
    """A suite named after the command ("syncdiff-bench check") and what it looked at; notes: what else to know."""
    suite = ElementTree.Element("testsuite", name=printable(f"{command} {subject}"), tests=str(len(cases)))
    for outcome in ("failure", "error"):
        suite.set(f"{outcome}s", str(sum(case.outcome == outcome for case in cases)))
    for case in cases:
        element = ElementTree.SubElement(
            suite, "testcase", classname=command.replace(" ", "."), name=printable(case.name)
        )
        if case.outcome != "passed":
            ElementTree.SubElement(element, case.outcome, type=case.kind, message=printable(case.message))
    if notes:
        ElementTree.SubElement(suite, "system-out").text = "\n".join(map(one_line, notes))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def report_cases(report: Report) -> list[Case]:
    """One case per column and per lost clip; a regression is a failure with its row as the message."""
    header = report_header()
    cases = [
        row_case(verdict.column.name, header, row, verdict.status if verdict.status in FAILING else None)
        for verdict, row in zip(report.verdicts, report_rows(report), strict=True)
    ]
    return cases + [Case(f"{name} {clip}", "failure", "lost clip", reason) for name, clip, reason in report.lost]


def row_case(name: str, header: Sequence[str], row: Sequence[str], failure: str | None) -> Case:
    """A case out of a row of the gate's table; failure: its kind, None where the row passed."""
    if failure is None:
        return Case(name)
    return Case(name, "failure", failure, ", ".join(f"{title} {cell}" for title, cell in zip(header, row, strict=True)))
