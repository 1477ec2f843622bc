"""Which conclusions hold: verdicts on made-up runs with a known difference, and the file that lists the paper's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from right_plugins import Distance
from scipy import stats as scipy_stats

from syncdiff_bench import plugins
from syncdiff_bench.contracts import Column
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report import findings as files
from syncdiff_bench.report import paper
from syncdiff_bench.report.findings import PaperFinding, findings
from syncdiff_bench.report.paper import PaperTable, System
from syncdiff_bench.reproduction import findings as judging
from syncdiff_bench.reproduction.findings import Judgement, judge, judge_all, rendered
from syncdiff_bench.reproduction.models import Request
from syncdiff_bench.reproduction.recipe import recipe_of
from syncdiff_bench.runs.draws import Draw
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.significance.scored import MetricScores, Scored
from syncdiff_bench.statistics.student import StandardError, smallest_effect

SEEDS = tuple(Draw(None, seed) for seed in range(3))
CLIPS = tuple(f"s{i // 2:02}/{i % 2}" for i in range(24))


@dataclass(frozen=True)
class Stats:
    c: float
    d: float


class TwoColumns(Distance):
    name = "lse"
    columns = (Column("lse_c", "LSE-C", "up"), Column("lse_d", "LSE-D", "down"))
    Stats = Stats  # type: ignore[assignment]

    def aggregate(self, stats: Sequence[Any]) -> Mapping[str, float | None]:
        return {"lse_c": float(np.mean([s.c for s in stats])), "lse_d": float(np.mean([s.d for s in stats]))}


@dataclass
class FakeJob:
    """As much of a job as is judged: its draws have runs of the given scores, or records of a probe."""

    system: System
    kind: str
    draws: tuple[Draw, ...]
    folder: Path
    scored: dict[Draw, Scored] = field(default_factory=dict)

    def belongs_to(self, table: PaperTable) -> bool:
        return (self.kind == "probe") == (table.number == 4)

    def finished(self) -> dict[Draw, Path]:
        paths = {draw: self.folder / draw.folder for draw in self.draws}
        return {draw: path for draw, path in paths.items() if draw in self.scored or (path / "run.json").is_file()}

    @property
    def path(self) -> Path:
        return self.folder


def scored(seed: int, shift_c: float, shift_d: float, protocol: str = "lrs") -> Scored:
    rng = np.random.default_rng(seed)
    stats = {clip: {"c": 6 + shift_c + rng.normal(0, 0.2), "d": 7 + shift_d + rng.normal(0, 0.2)} for clip in CLIPS}
    identity = Identity("m", {}, (), "pocket", "test", "f" * 64, CLIPS, {}, seed, "lossless")
    speakers = {clip: clip.partition("/")[0] for clip in CLIPS}
    return Scored("runs/m", identity, {("lse", protocol): MetricScores({}, (), stats, {})}, speakers)


def finding(key: str) -> PaperFinding:
    return next(one for one in findings() if one.key == key)


@pytest.fixture
def verdict_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """(shift of LSE-C, shift of LSE-D) of the claimed row over the other -> judgement of "triple-sync"."""
    monkeypatch.setattr(plugins, "load_metric", lambda _name, recorded: TwoColumns())
    monkeypatch.setattr(judging, "load_run", lambda path: path)

    def judged(
        shift_c: float,
        shift_d: float,
        margin: float | None = None,
        protocol: str = "lrs",
        draws: Sequence[Draw] = SEEDS,
        luck: float = 0.0,
        confirmed_by: tuple[str, ...] = (),
    ) -> Judgement:
        """luck: standard deviation of what a training adds to both columns."""
        margins = {} if margin is None else {"lse": margin}
        one = replace(finding("triple-sync"), no_worse_by=margins, confirmed_by=confirmed_by)
        runs: dict[Path, Scored] = {}
        jobs: list[FakeJob] = []
        chance = np.random.default_rng(5)
        for name, row, c, d in (("a", one.row, shift_c, shift_d), ("b", one.against, 0.0, 0.0)):
            job = FakeJob(row.system, "run", tuple(draws), tmp_path / name)
            lucks = {training: chance.normal(0, luck) for training in dict.fromkeys(draw.training for draw in draws)}
            for number, draw in enumerate(draws):
                own = lucks[draw.training]
                job.scored[draw] = scored(10 * number + len(jobs), c + own, d + own, protocol)
                runs[job.folder / draw.folder] = job.scored[draw]
            jobs.append(job)
        monkeypatch.setattr(judging, "from_run", lambda path: runs[path])
        return judge(one, jobs)  # type: ignore[arg-type]

    return judged


def test_a_difference_as_claimed_holds(verdict_of: Any) -> None:
    judgement = verdict_of(0.5, -0.5)
    assert judgement.verdict == "holds"
    assert judgement.n == 72  # 24 clips, three seeds
    c, d = judgement.lines
    assert (c.label, c.sign, d.sign) == ("LSE-C [lrs]", "better", "better")
    assert c.column.delta == pytest.approx(0.5, abs=0.1)
    assert c.column.ci[0] > 0 > d.column.ci[1]
    assert c.paper == pytest.approx(7.80 - 7.05)


@pytest.mark.parametrize(
    ("shift_c", "shift_d", "margin", "verdict"),
    [
        (-0.5, 0.5, None, "contradicted"),
        (0.5, 0.5, None, "mixed"),
        (0.0, 0.0, None, "undecided"),
        # The noise of 72 pairs of spread .2 * sqrt(2) gives intervals of about .07 to either side.
        (0.0, 0.0, 0.2, "holds"),
        (0.5, -0.5, 0.2, "holds"),
        (0.0, 0.0, 0.01, "undecided"),  # not seen to be worse, nor to be as good
        (-0.15, 0.0, 0.5, "holds"),  # worse, and by less than matters
        (-0.5, 0.0, 0.2, "contradicted"),
        (0.0, 0.5, 0.2, "contradicted"),
    ],
)
def test_verdicts(verdict_of: Any, shift_c: float, shift_d: float, margin: float | None, verdict: str) -> None:
    """No worse holds only where the interval stays within the margin."""
    assert verdict_of(shift_c, shift_d, margin).verdict == verdict


def test_the_page_of_one_table_keeps_what_others_showed_before(
    verdict_of: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held, hurt = verdict_of(0.5, -0.5), "shortcut"

    def judged(one: PaperFinding, _jobs: object) -> Judgement:
        if one.key == hurt:
            raise UsageError("scores.jsonl is damaged")
        return replace(held, finding=one) if one.key in ("avhubert", "triple-sync") else Judgement(one, "not run")

    monkeypatch.setattr(judging, "judge", judged)

    def verdicts(table: int) -> dict[str, str]:
        request = Request(recipe_of("pocket"), (paper.table(table),), tmp_path, seeds=(0,))
        return {one.finding.key: one.verdict for one in judge_all(request)}

    held_before = {"avhubert": "holds", "triple-sync": "holds"}
    assert verdicts(2) == held_before
    assert verdicts(6) == {**held_before, "u-shape-left": "not run", "u-shape-right": "not run"}
    with pytest.raises(UsageError, match="damaged"):
        verdicts(3)


def test_the_page_says_the_margin(verdict_of: Any) -> None:
    page = rendered([verdict_of(0.0, 0.0, margin=0.2)], "pocket")
    assert "No worse: the interval loses no more than lse 0.2." in page


def test_another_protocol_stands_beside_nothing_of_the_paper(verdict_of: Any) -> None:
    assert [line.paper for line in verdict_of(0.5, -0.5, protocol="pocket").lines] == [None, None]


def test_a_row_that_was_not_measured_leaves_it_blank(tmp_path: Path) -> None:
    one = finding("avhubert")
    jobs = [FakeJob(one.row.system, "run", SEEDS[:1], tmp_path / "a")]
    judgement = judge(one, jobs)  # type: ignore[arg-type]
    assert (judgement.verdict, judgement.reason) == ("not run", "nothing was measured of AVH")


def test_without_its_metrics_it_is_blank(verdict_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = replace(finding("triple-sync"), metrics=("wer",))
    monkeypatch.setitem(globals(), "finding", lambda _key: one)
    judgement = verdict_of(0.5, -0.5)
    assert (judgement.verdict, judgement.reason) == ("not run", "not measured of both rows: wer")


def write_probe(folder: Path, variances: Sequence[float]) -> None:
    """Of a speaker each, the same in both experiments."""
    groups = {
        kind: [
            {"label": f"{kind} {i}", "cases": 3, "variance": variance, "cluster": f"s{i}"}
            for i, variance in enumerate(variances)
        ]
        for kind in ("ident", "pose")
    }
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"probe": {"groups": groups}}))


def test_variances_are_compared_group_by_group(tmp_path: Path) -> None:
    """Ten speakers whose variance is halved; seeds are averaged."""
    one, jobs = finding("variance"), []
    for name, row, factor in (("a", one.row, 0.5), ("b", one.against, 1.0)):
        job = FakeJob(row.system, "probe", SEEDS[:2], tmp_path / name)
        for draw in job.draws:
            write_probe(job.folder / draw.folder, [factor * (1 + i) * (1 + draw.seed) for i in range(10)])
        jobs.append(job)
    judgement = judge(one, jobs)  # type: ignore[arg-type]
    assert judgement.verdict == "holds"
    ident, pose = judgement.lines
    assert (ident.column.b, ident.column.a) == (pytest.approx(0.5 * 5.5 * 1.5), pytest.approx(5.5 * 1.5))
    assert ident.paper == pytest.approx(0.075 - 0.340)
    assert pose.paper == pytest.approx(0.328 - 0.530)
    assert ident.column.p_holm == pytest.approx(2 * 2 / 2**10)  # every speaker agrees, times two columns


def test_variances_of_several_trainings_hold_their_luck(tmp_path: Path) -> None:
    """Three trainings whose differences are -1, -2 and -3 in every group: Student's t of three, p = .0742."""
    one, jobs = finding("variance"), []
    for name, row, step in (("a", one.row, 1.0), ("b", one.against, 0.0)):
        job = FakeJob(row.system, "probe", tuple(Draw(training, 0) for training in range(3)), tmp_path / name)
        for draw in job.draws:
            assert draw.training is not None
            write_probe(job.folder / draw.folder, [10 + i - step * (1 + draw.training) for i in range(10)])
        jobs.append(job)
    judgement = judge(one, jobs)  # type: ignore[arg-type]
    ident = judgement.lines[0].column
    assert (ident.delta, ident.trainings, judgement.trainings) == (pytest.approx(-2.0), (3, 3), "3")
    theirs = scipy_stats.ttest_1samp([-1.0, -2.0, -3.0], 0.0)
    assert ident.p == pytest.approx(theirs.pvalue)
    assert ident.ci == pytest.approx(tuple(theirs.confidence_interval()))
    assert judgement.verdict == "undecided"
    error = StandardError(1 / np.sqrt(3), 2)
    assert judgement.lines[0].could_see == pytest.approx(smallest_effect(error, level=0.05 / 2))
    page = rendered([judgement], "pocket")
    assert f"It could have seen a difference of IDENT VAR {judgement.lines[0].could_see:.3f}" in page


TRAININGS = tuple(Draw(training, seed) for training in range(3) for seed in range(2))


def test_a_difference_that_one_training_shows_may_be_the_luck_of_three(verdict_of: Any) -> None:
    """.5 with trainings that scatter by .5, and with trainings that do not."""
    lucky, steady = verdict_of(0.5, -0.5, draws=TRAININGS, luck=0.5), verdict_of(0.5, -0.5, draws=TRAININGS)
    assert (lucky.verdict, steady.verdict) == ("undecided", "holds")
    assert (lucky.n, lucky.trainings) == (24 * 6, "3")
    c, d = lucky.lines
    assert 2 <= c.column.error.df < 13
    page = rendered([lucky, steady], "pocket")
    assert f"It could have seen a difference of LSE-C [lrs] {c.could_see:.2f}, LSE-D [lrs] {d.could_see:.2f}." in page
    assert "Here: **holds** (n = 144 clips times trainings and seeds)." in page
    assert "Student's t, whose error holds the luck of training" in page and "permutation" not in page


def test_better_by_what_a_loss_has_seen_alone_is_gaming(verdict_of: Any) -> None:
    """Of two columns of one metric none confirms the other; a metric that confirms itself does."""
    gamed = verdict_of(0.5, 0.5, confirmed_by=("wer",))
    assert gamed.verdict == "gaming"
    assert verdict_of(0.5, -0.5, confirmed_by=("lse",)).verdict == "holds"
    assert verdict_of(-0.5, 0.5, confirmed_by=("wer",)).verdict == "contradicted"
    assert "Gaming: better, but not in wer" in rendered([gamed], "pocket")


def test_what_is_beyond_the_paper_stands_apart(verdict_of: Any) -> None:
    beyond = finding("few-1")
    assert (beyond.paper_deltas(), beyond.no_worse_by) == ({}, {"lse": 0.1, "psnr": 0.3})
    page = rendered([verdict_of(0.5, -0.5), judge(beyond, [])], "pocket")
    rows = [row for row in page.splitlines() if row.startswith("|") and ("Table 3" in row or "Beyond" in row)]
    assert [[cell.strip() for cell in row.split("|")[2:4]] for row in rows] == [
        ["Table 3: RND+PRV⁻ better than RND", "holds"],
        ["Beyond: few-step, 1 step no worse than SyncDiff", "not run"],
    ]
    assert page.index("the paper says") < page.index("beyond the paper") < page.index("## ")


def test_the_page_says_what_holds_and_by_how_much(verdict_of: Any) -> None:
    page = rendered([verdict_of(0.5, -0.5), judge(finding("avhubert"), [])], "pocket")
    assert (
        "| Both together (SyncDiff) synchronise better than the random frame alone. | Table 3: RND+PRV⁻ better" in page
    )
    assert "Here: **holds** (n = 72 clips times seeds)." in page
    columns = [row.split("|")[-3].strip() for row in page.splitlines() if "Table" in row and row.startswith("|")]
    assert columns == ["2 better", ""]
    assert "| 1 better, 1 open |" in rendered([verdict_of(0.5, 0.0)], "pocket")
    assert "Here: **not run**, nothing was measured of AVH." in page
    assert "+0.75 |" in page  # the paper's 7.80 - 7.05


# --------------------------------------------------------------------------------------------- the file


def test_every_finding_is_what_the_paper_prints() -> None:
    """In the paper's own numbers each claimed row is better in the mean over its columns, or hardly worse."""
    of_paper = [one for one in findings() if one.table.of_paper]
    assert len(of_paper) == 11
    deltas = finding("avhubert").paper_deltas()
    assert deltas == {
        ("lse", "lse_c"): pytest.approx(7.05 - 6.11),
        ("lse", "lse_d"): pytest.approx(7.11 - 7.93),
        ("wer", "wer"): pytest.approx(90.24 - 114.34),
    }
    for one in of_paper:
        if not one.no_worse_by:
            directions = {(c.metric, c.protocol if c.metric == "variance" else c.column): c.direction
                          for c in one.table.columns}  # fmt: skip
            agreeing = [
                delta > 0 if directions[key] == "up" else delta < 0 for key, delta in one.paper_deltas().items()
            ]
            assert sum(agreeing) >= len(agreeing) - 1, one.key


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('row = "none"', r"row: table 3 has no row 'none'; it has rnd, prv, prv-, rnd\+prv-"),
        ("no_worse_by = { wer = 1.0 }", "no_worse_by: wer: unknown key; known: lse"),
        ("no_worse_by = {}", "no_worse_by: lse: is missing"),
        ("no_worse_by = { lse = -0.1 }", "no_worse_by: lse: must not be negative, is -0.1"),
        ('confirmed_by = ["wer"]', "confirmed_by: 'wer' is none of the metrics; they are lse"),
        ('metrics = ["fid"]', "metrics: table 3 has no 'fid'; it has lpips, lse, psnr, ssim, wer"),
        ('sorce = "x"', "sorce: unknown key"),
    ],
)
def test_a_file_out_of_order_is_named_with_its_key(monkeypatch: pytest.MonkeyPatch, text: str, problem: str) -> None:
    values = {
        "key": '"k"', "claim": '"c"', "source": '"s"', "table": "3", "row": '"rnd"', "against": '"prv"',
        "metrics": '["lse"]',
    }  # fmt: skip
    name, _, value = text.partition(" = ")
    lines = "\n".join(f"{key} = {one}" for key, one in {**values, name: value}.items())
    content = f"schema = 1\n[[findings]]\n{lines}\n".encode()
    monkeypatch.setattr(files, "sources", lambda folder: [(f"mine/{folder}/x.toml", content)])
    with pytest.raises(UsageError, match=rf"mine/findings/x\.toml: findings\[0\]: {problem}"):
        findings()


def test_rows_of_findings_are_rows_of_tables() -> None:
    systems = {row.system for table in paper.tables() for row in table.rows}
    assert all({one.row.system, one.against.system} <= systems for one in findings())
