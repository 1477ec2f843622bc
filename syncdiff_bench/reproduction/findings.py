"""Which of the paper's conclusions hold on the data at hand: two rows, all seeds, paired clip by clip.

A difference counts where its permutation test over whole speakers says so (Holm's correction over the columns of the
finding, 5 %). A conclusion `holds` where some column differs as claimed and none the other way; it is `contradicted`
where it is the other way round, `mixed` where both occur, `undecided` where none differs. "No worse" holds where the
interval of every column stays within the margin of the finding, and is contradicted where a column differs for the
worse by more than that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from syncdiff_bench.contracts import Column
from syncdiff_bench.errors import BenchError
from syncdiff_bench.report.findings import PaperFinding, findings
from syncdiff_bench.report.paper import tables
from syncdiff_bench.report.table import Cell, Heading, Panel, Row, number, text_table
from syncdiff_bench.report.writers.markdown import pipes
from syncdiff_bench.reproduction.models import Request
from syncdiff_bench.reproduction.probing import Spread, read_spreads
from syncdiff_bench.reproduction.rows import Job, jobs_of
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.significance.comparison import ColumnComparison, compare, corrected
from syncdiff_bench.significance.scored import Scored, from_run, pooled
from syncdiff_bench.statistics.resampling import Cluster, difference_intervals, permutation_p_values

Verdict = Literal["holds", "contradicted", "mixed", "undecided", "blank"]
SIGNS: Mapping[str, Literal["better", "worse"]] = {"B better": "better", "B worse": "worse"}


@dataclass(frozen=True)
class Line:
    """One column: `against` (A) and `row` (B) compared.

    - paper: the difference that the paper prints, None where no column of its table measures this
    - margin: what `row` may lose by the finding, None where it is claimed to be better
    """

    label: str
    column: ColumnComparison
    paper: float | None
    margin: float | None = None

    @property
    def sign(self) -> Literal["better", "worse", ""]:
        """Of `row`, where the difference is significant."""
        return SIGNS.get(self.column.verdict, "")

    @property
    def loses(self) -> float:
        """The most that `row` loses to `against` by the interval, in the unit of the column; infinite without one."""
        if self.column.ci is None:
            return math.inf
        return -self.column.ci[0] if self.column.column.direction == "up" else self.column.ci[1]


@dataclass(frozen=True)
class Judgement:
    """A verdict and what it rests on.

    - n: clips times seeds that both rows have
    - reason: why it is blank
    """

    finding: PaperFinding
    verdict: Verdict
    lines: tuple[Line, ...] = ()
    n: int = 0
    reason: str = ""


def judge_all(request: Request) -> list[Judgement]:
    """What the tables of the request conclude, and the others as far as they were measured before."""
    jobs = jobs_of(replace(request, tables=tables()))
    found = []
    for finding in findings():
        asked = finding.table in request.tables
        try:
            judgement = judge(finding, jobs)
        except BenchError:
            if asked:
                raise
            continue  # what is damaged there was not asked for
        if asked or judgement.verdict != "blank":
            found.append(judgement)
    return found


def judge(finding: PaperFinding, jobs: Sequence[Job]) -> Judgement:
    """jobs: those of the reproduction, of which both rows' are needed, with a finished run each."""
    found = {job.system: job for job in jobs if job.belongs_to(finding.table)}
    pair = []
    for row in (finding.row, finding.against):
        job = found.get(row.system)
        if job is None or not job.finished():
            return Judgement(finding, "blank", reason=f"nothing was measured of {row.label}")
        pair.append(job)
    lines, n = (_probed if finding.metrics == ("variance",) else _scored)(finding, *pair)
    if not lines:
        return Judgement(finding, "blank", reason=f"not measured of both rows: {', '.join(finding.metrics)}")
    return Judgement(finding, _verdict(lines), lines, n)


def _verdict(lines: Sequence[Line]) -> Verdict:
    signs = {line.sign for line in lines} - {""}
    margins = [(line, line.margin) for line in lines if line.margin is not None]
    if margins:
        if any(line.sign == "worse" and (line.column.worse_by or 0) > margin for line, margin in margins):
            return "contradicted"
        return "holds" if all(line.loses <= margin for line, margin in margins) else "undecided"
    if len(signs) == 2:
        return "mixed"
    return "undecided" if not signs else "holds" if "better" in signs else "contradicted"


def _scored(finding: PaperFinding, mine: Job, theirs: Job) -> tuple[tuple[Line, ...], int]:
    sides = [_pooled(job, finding.metrics) for job in (theirs, mine)]
    if not sides[0].metrics.keys() & sides[1].metrics.keys():
        return (), 0
    comparison = compare(*sides)
    paper = finding.paper_deltas()
    # A protocol that the paper does not use answers the same question, but nothing of the paper stands beside it.
    of_paper = {(column.metric, column.protocol) for column in finding.table.columns}
    lines = tuple(
        Line(
            f"{column.column.label} [{column.protocol}]",
            column,
            paper.get((column.metric, column.column.name)) if (column.metric, column.protocol) in of_paper else None,
            finding.no_worse_by.get(column.metric),
        )
        for column in comparison.columns
    )
    return lines, max((column.n for column in comparison.columns), default=0)


def _pooled(job: Job, metrics: Sequence[str]) -> Scored:
    """All finished draws as one side, of these metrics."""
    side = pooled({draw: from_run(load_run(path)) for draw, path in job.finished().items()})
    chosen = {key: scores for key, scores in side.metrics.items() if key[0] in metrics}
    return replace(side, source=str(job.path), metrics=chosen)


def _probed(finding: PaperFinding, mine: Job, theirs: Job) -> tuple[tuple[Line, ...], int]:
    sides = [_variances(job) for job in (theirs, mine)]
    found = []
    for column in finding.table.columns:
        one, other = (side.get(column.protocol, {}) for side in sides)
        labels = sorted(one.keys() & other.keys())
        if not labels:
            continue
        groups: dict[str, tuple[list[float], list[float]]] = {}
        for label in labels:
            a, b = groups.setdefault(one[label].cluster or label, ([], []))
            a.append(one[label].variance)
            b.append(other[label].variance)
        clusters: list[Cluster] = list(groups.values())
        (ci,), (p,) = difference_intervals(clusters, _difference), permutation_p_values(clusters, _difference)
        against, row = (float(np.mean([side[label].variance for label in labels])) for side in (one, other))
        key = column.metric, column.protocol, Column("var", column.label, "down", decimals=column.decimals)
        found.append(ColumnComparison(*key, against, row, ci, p, len(labels), len(clusters)))
    paper = finding.paper_deltas()
    lines = (Line(one.column.label, one, paper.get((one.metric, one.protocol))) for one in corrected(found))
    return tuple(lines), max((one.n for one in found), default=0)


def _difference(a: Sequence[object], b: Sequence[object]) -> np.ndarray:
    return np.array([np.mean(np.asarray(b, float)) - np.mean(np.asarray(a, float))])


def _variances(job: Job) -> dict[str, dict[str, Spread]]:
    """Experiment -> label of a group -> its spread, the mean over draws."""
    found = read_spreads([path / "run.json" for path in job.finished().values()])
    return {experiment: {spread.label: spread for spread in spreads} for experiment, spreads in found.items()}


def rendered(judgements: Sequence[Judgement], dataset: str) -> str:
    """A Markdown page: the verdicts in one table, then each with its numbers."""
    short = []
    for one in judgements:
        finding, words = one.finding, "no worse than" if one.finding.no_worse_by else "better than"
        where = f"Table {finding.table.number}: {finding.row.label} {words} {finding.against.label}"
        short.append((finding.claim, where, one.verdict, _tally(one.lines)))
    (verdicts,) = text_table(("the paper says", "from", "here", "columns"), short).panels
    parts = [
        f"# What of the paper holds on {dataset}",
        pipes(verdicts),
        "Two rows are compared clip by clip, all seeds together; a difference counts where a permutation test over"
        " whole speakers, corrected for the columns of the finding, gives p < 0.05; a column without one is open. There"
        " is one training per row: what holds here holds of these two trainings.",
    ]
    for one in judgements:
        finding = one.finding
        head = f"## {finding.claim}\n\n{finding.source}. Here: **{one.verdict}**"
        if one.verdict == "blank":
            parts.append(f"{head}, {one.reason}.")
            continue
        names = (finding.row.label, finding.against.label, "difference [95 %]", "p", "paper's difference")
        headings = (Heading("", align="left"), *map(Heading, names))
        unit = "groups of frames" if finding.metrics == ("variance",) else "clips times seeds"
        allowed = ", ".join(f"{metric} {margin:g}" for metric, margin in finding.no_worse_by.items())
        rule = f" No worse: the interval loses no more than {allowed}." if allowed else ""
        numbers = Panel(headings, (tuple(Row(_cells(line)) for line in one.lines),))
        parts += [f"{head} (n = {one.n} {unit}).{rule}", pipes(numbers)]
    return "\n\n".join(parts) + "\n"


def _tally(lines: Sequence[Line]) -> str:
    """ "1 better, 2 open": how many columns a verdict rests on."""
    signs = Counter(line.sign or "open" for line in lines)
    return ", ".join(f"{signs[sign]} {sign}" for sign in ("better", "worse", "open") if signs[sign])


def _cells(line: Line) -> tuple[Cell, ...]:
    """The column, both values, their difference (bold where it is significant), p, and the paper's difference."""
    found, digits = line.column, line.column.column.decimals
    ends = "" if found.ci is None else f" [{found.ci[0]:+.{digits}f}, {found.ci[1]:+.{digits}f}]"
    p = "" if found.p_holm is None else ("< 0.001" if found.p_holm < 0.001 else f"{found.p_holm:.3f}")
    return (
        Cell(line.label),
        *(Cell(number(value, digits)) for value in (found.b, found.a)),
        Cell() if found.delta is None else Cell(f"{found.delta:+.{digits}f}", ends, rank=int(line.sign != "")),
        Cell(p),
        Cell("" if line.paper is None else f"{line.paper:+.{digits}f}"),
    )
