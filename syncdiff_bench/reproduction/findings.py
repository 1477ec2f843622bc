"""Which conclusions hold on the data at hand: two rows, all trainings and seeds, paired clip by clip.

A difference counts where its test says so (Holm's correction over the columns of the finding, 5 %): of several
trainings Student's t, whose error holds the luck of training and of the speakers; of one, a permutation of whole
speakers, which speaks of these two trainings alone. A conclusion `holds` where some column differs as claimed and
none the other way; it is `contradicted` where it is the other way round, `mixed` where both occur, `undecided` where
none differs: beside it stands the smallest difference that would have been seen in 80 % of such comparisons. "No
worse" holds where the interval of every column stays within the margin of the finding, and is contradicted where a
column differs for the worse by more than that. It is `gaming` where columns got better, and none of those that should
confirm it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from syncdiff_bench.contracts import Column
from syncdiff_bench.errors import BenchError
from syncdiff_bench.report.findings import PaperFinding, findings
from syncdiff_bench.report.paper import PaperColumn, tables
from syncdiff_bench.report.table import Cell, Heading, Panel, Row, number, text_table
from syncdiff_bench.report.writers.markdown import pipes
from syncdiff_bench.reproduction.models import Request
from syncdiff_bench.reproduction.probing import Spread, spreads_of
from syncdiff_bench.reproduction.rows import Job, jobs_of
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.significance.comparison import ColumnComparison, compare, corrected, paired_trainings
from syncdiff_bench.significance.scored import Scored, from_run, pooled
from syncdiff_bench.statistics.trainings import difference_tests, grid_of

Verdict = Literal["holds", "contradicted", "mixed", "undecided", "gaming", "not run"]
SIGNS: Mapping[str, Literal["better", "worse"]] = {"B better": "better", "B worse": "worse"}


@dataclass(frozen=True)
class Line:
    """One column: `against` (A) and `row` (B) compared.

    - paper: the difference that the paper prints, None where no column of its table measures this
    - margin: what `row` may lose by the finding, None where it is claimed to be better
    - could_see: the smallest true difference that 80 % of such comparisons would find significant; None where none is
    """

    label: str
    column: ColumnComparison
    paper: float | None
    margin: float | None = None
    could_see: float | None = None

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

    - n: clips times trainings and seeds that both rows have
    - reason: why it was not run
    """

    finding: PaperFinding
    verdict: Verdict
    lines: tuple[Line, ...] = ()
    n: int = 0
    reason: str = ""

    @property
    def trainings(self) -> str:
        """How many models of each row it rests on: "3", or "3 against 1"."""
        found = max((line.column.trainings for line in self.lines), default=None)
        if found is None:
            return ""
        against, row = found
        return f"{row}" if row == against else f"{row} against {against}"


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
        if asked or judgement.verdict != "not run":
            found.append(judgement)
    return found


def judge(finding: PaperFinding, jobs: Sequence[Job]) -> Judgement:
    """jobs: those of the reproduction, of which both rows' are needed, with a finished run each."""
    found = {job.system: job for job in jobs if job.belongs_to(finding.table)}
    pair = []
    for row in (finding.row, finding.against):
        job = found.get(row.system)
        if job is None or not job.finished():
            return Judgement(finding, "not run", reason=f"nothing was measured of {row.label}")
        pair.append(job)
    lines, n = (_probed if finding.metrics == ("variance",) else _scored)(finding, *pair)
    if not lines:
        return Judgement(finding, "not run", reason=f"not measured of both rows: {', '.join(finding.metrics)}")
    lines = tuple(replace(line, could_see=line.column.could_see(len(lines))) for line in lines)
    return Judgement(finding, _verdict(lines, finding.confirmed_by), lines, n)


def _verdict(lines: Sequence[Line], confirmed_by: Collection[str] = ()) -> Verdict:
    better = {line.column.metric for line in lines if line.sign == "better"}
    if confirmed_by and better and not better.intersection(confirmed_by):
        return "gaming"
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
    a, b = (spreads_of(job.finished()) for job in (theirs, mine))
    paired = paired_trainings(a, b)
    if paired:
        common = a.keys() & b.keys()
        a, b = ({training: side[training] for training in side if training in common} for side in (a, b))
    found = []
    for column in finding.table.columns:
        sides = [
            [{spread.label: spread for spread in one.get(column.protocol, ())} for one in side.values()]
            for side in (a, b)
        ]
        labels = sorted(set.intersection(*(set(one) for side in sides for one in side)))
        if not labels:
            continue
        against, row = ([[one[label] for label in labels] for one in side] for side in sides)
        found.append(_spreads_compared(column, against, row, paired))
    paper = finding.paper_deltas()
    lines = (Line(one.column.label, one, paper.get((one.metric, one.protocol))) for one in corrected(found))
    return tuple(lines), max((one.n for one in found), default=0)


def _spreads_compared(
    column: PaperColumn, a: Sequence[Sequence[Spread]], b: Sequence[Sequence[Spread]], paired: bool
) -> ColumnComparison:
    """a, b: of each training the spreads of the same groups; variances averaged over seeds."""
    grids = [
        grid_of(
            (spread.variance for one in side for spread in one),
            (spread.cluster or spread.label for one in side for spread in one),
            (number for number, one in enumerate(side) for _ in one),
        )
        for side in (a, b)
    ]
    (test,) = difference_tests(grids[0], grids[1], _difference, paired=paired)
    against, row = (float(np.mean([spread.variance for one in side for spread in one])) for side in (a, b))
    return ColumnComparison(
        metric=column.metric,
        protocol=column.protocol,
        column=Column("var", column.label, "down", decimals=column.decimals),
        a=against,
        b=row,
        ci=test.ci,
        p=test.p,
        n=len(a[0]),
        clusters=len(grids[0][0]),
        trainings=(len(a), len(b)),
        error=test.error,
    )


def _difference(a: Sequence[object], b: Sequence[object]) -> np.ndarray:
    return np.array([np.mean(np.asarray(b, float)) - np.mean(np.asarray(a, float))])


def rendered(judgements: Sequence[Judgement], dataset: str) -> str:
    """A Markdown page: the verdicts in one table for the paper and one for what is beyond it, then each with its
    numbers.
    """
    of_paper = [one for one in judgements if one.finding.table.of_paper]
    beyond = [one for one in judgements if not one.finding.table.of_paper]
    parts = [f"# What holds on {dataset}"]
    for found, says in ((of_paper, "the paper says"), (beyond, "beyond the paper")):
        parts += [_verdicts(found, says)] if found else []
    parts.append(_rule(judgements))
    return "\n\n".join([*parts, *(part for one in judgements for part in _section(one))]) + "\n"


def _verdicts(judgements: Sequence[Judgement], says: str) -> str:
    short = []
    for one in judgements:
        finding, words = one.finding, "no worse than" if one.finding.no_worse_by else "better than"
        where = f"{finding.table.heading}: {finding.row.label} {words} {finding.against.label}"
        short.append((finding.claim, where, one.verdict, _tally(one.lines), one.trainings))
    (panel,) = text_table((says, "from", "here", "columns", "trainings"), short).panels
    return pipes(panel)


def _rule(judgements: Sequence[Judgement]) -> str:
    """What counts as a difference, and of what it speaks."""
    counts = {max(line.column.trainings) > 1 for one in judgements for line in one.lines}
    several = (
        "of several trainings, Student's t, whose error holds the luck of training and of the speakers: what holds here"
        " holds of such trainings"
    )
    single = "of one training per row, a permutation of whole speakers: what holds here holds of these two trainings"
    tests = "; ".join(words for words, used in ((several, True in counts), (single, False in counts)) if used)
    return (
        "Two rows are compared clip by clip, all trainings and seeds together. A difference counts where its test,"
        f" corrected for the columns of the finding, gives p < 0.05 ({tests or several}). A column without one is open:"
        " beside it stands the smallest true difference that such a comparison would have seen in 80 % of cases."
    )


def _section(one: Judgement) -> list[str]:
    """The numbers of a judgement."""
    finding = one.finding
    head = f"## {finding.claim}\n\n{finding.source}. Here: **{one.verdict}**"
    if one.verdict == "not run":
        return [f"{head}, {one.reason}."]
    names = [finding.row.label, finding.against.label, "difference [95 %]", "p", "could have seen"]
    names += ["paper's difference"] if finding.table.of_paper else []
    headings = (Heading("", align="left"), *map(Heading, names))
    draws = "trainings and seeds" if max(one.lines[0].column.trainings) > 1 else "seeds"
    unit = "groups of frames" if finding.metrics == ("variance",) else f"clips times {draws}"
    rows = tuple(Row(_cells(line)[: len(headings)]) for line in one.lines)
    return [f"{head} (n = {one.n} {unit}).{_remarks(one)}", pipes(Panel(headings, (rows,)))]


def _remarks(one: Judgement) -> str:
    """What the verdict means, where the word alone does not say it."""
    finding, said = one.finding, ""
    if finding.no_worse_by:
        allowed = ", ".join(f"{metric} {margin:g}" for metric, margin in finding.no_worse_by.items())
        said += f" No worse: the interval loses no more than {allowed}."
    if one.verdict == "gaming":
        said += f" Gaming: better, but not in {', '.join(finding.confirmed_by)}, which no loss has seen."
    if one.verdict == "undecided":
        seen = [f"{line.label} {_seen(line)}" for line in one.lines if line.could_see is not None]
        said += f" It could have seen a difference of {', '.join(seen)}." if seen else " It could have seen none."
    return said


def _seen(line: Line) -> str:
    return "" if line.could_see is None else f"{line.could_see:.{line.column.column.decimals}f}"


def _tally(lines: Sequence[Line]) -> str:
    """ "1 better, 2 open": how many columns a verdict rests on."""
    signs = Counter(line.sign or "open" for line in lines)
    return ", ".join(f"{signs[sign]} {sign}" for sign in ("better", "worse", "open") if signs[sign])


def _cells(line: Line) -> tuple[Cell, ...]:
    """The column, both values, their difference (bold where it is significant), p, what could have been seen, and the
    paper's difference.
    """
    found, digits = line.column, line.column.column.decimals
    ends = "" if found.ci is None else f" [{found.ci[0]:+.{digits}f}, {found.ci[1]:+.{digits}f}]"
    p = "" if found.p_holm is None else ("< 0.001" if found.p_holm < 0.001 else f"{found.p_holm:.3f}")
    return (
        Cell(line.label),
        *(Cell(number(value, digits)) for value in (found.b, found.a)),
        Cell() if found.delta is None else Cell(f"{found.delta:+.{digits}f}", ends, rank=int(line.sign != "")),
        Cell(p),
        Cell(_seen(line)),
        Cell("" if line.paper is None else f"{line.paper:+.{digits}f}"),
    )
