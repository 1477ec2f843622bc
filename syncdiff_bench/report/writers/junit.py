"""What a gate found as JUnit XML, which every CI system shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from syncdiff_bench.characters import one_line, printable
from syncdiff_bench.report.table import Table

FAILING = ("regression", "no value")


@dataclass(frozen=True)
class JUnitCase:
    """One test case. outcome: "failure" where the answer is no, "error" where there is none; then kind and message."""

    name: str
    outcome: Literal["passed", "failure", "error"] = "passed"
    kind: str = ""
    message: str = ""


def junit_xml(command: str, subject: str, cases: Sequence[JUnitCase], notes: Sequence[str] = ()) -> str:
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


def cases_of(table: Table) -> list[JUnitCase]:
    """One case per row of a gate's table; one that fails has its row as the message."""
    (panel,) = table.panels
    cases = []
    for row in panel.rows:
        texts = (f"{heading.text} {cell.text}" for heading, cell in zip(panel.headings, row.cells, strict=True))
        failed = row.kind in FAILING
        cases.append(JUnitCase(row.name, "failure", row.kind, ", ".join(texts)) if failed else JUnitCase(row.name))
    return cases
