"""A gate report as JUnit XML, which every CI system shows."""

from __future__ import annotations

from xml.etree import ElementTree

from syncdiff_bench.significance.gate import Report
from syncdiff_bench.significance.rendering import report_header, report_rows


def junit_xml(report: Report) -> str:
    """One test case per column and per lost clip; a regression is a failure with its row as the message."""
    suite = ElementTree.Element("testsuite", name=f"syncdiff-bench check {report.comparison.b.source}")
    failures = 0
    for verdict, row in zip(report.verdicts, report_rows(report), strict=True):
        case = ElementTree.SubElement(suite, "testcase", classname="syncdiff-bench.check", name=verdict.column.name)
        if verdict.status in ("regression", "no value"):
            failures += 1
            message = ", ".join(f"{title} {cell}" for title, cell in zip(report_header(), row, strict=True))
            ElementTree.SubElement(case, "failure", type=verdict.status, message=message)
    for name, clip, reason in report.lost:
        failures += 1
        case = ElementTree.SubElement(suite, "testcase", classname="syncdiff-bench.check", name=f"{name} {clip}")
        ElementTree.SubElement(case, "failure", type="lost clip", message=reason)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(failures))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
