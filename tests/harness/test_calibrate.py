"""`syncdiff-bench paper calibrate`: anchors as data, verdicts in words, exit codes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from console import printed, refusal

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Runtime
from syncdiff_bench.errors import UsageError
from syncdiff_bench.registry import load_class
from syncdiff_bench.report import anchors, packages
from syncdiff_bench.report.anchors import Anchors, find_anchors, parse_anchors
from syncdiff_bench.report.calibration import AnchorVerdict, Answer, judge, overall, summary_keys
from syncdiff_bench.report.paper import table
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.runs.plan import load_metrics
from syncdiff_bench.runs.summary import ColumnSummary
from syncdiff_bench.texts import metric_specs

pytestmark = pytest.mark.usefixtures("work_folder")


def anchors_file(*anchors: str, dataset: str = "toy", clips: int = 5) -> bytes:
    common = 'source = "closed form"\nreason = "exact"\ncauses = ["a loose screw", "bad luck"]'
    head = f'schema = 1\ndataset = "{dataset}"\nsplit = "test"\nclips = {clips}\n'
    return (head + "".join(f"[[anchors]]\n{anchor}\n{common}\n" for anchor in anchors)).encode()


ZERO = 'metric = "toy-error"\ncolumn = "err"\nvalue = 0\ntolerance = 0.5'


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a leaderboard package bring one more anchors file."""

    def do(content: bytes) -> None:
        more = ("boards/anchors/toy.toml", content)
        monkeypatch.setattr(anchors, "sources", lambda folder: [*packages.sources(folder), more])

    return do


# ------------------------------------------------------------------------------------------ by command line


def test_pocket_agrees_with_its_closed_forms(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, ["paper", "calibrate", "--limit", "2", "--device", "cpu"])
    assert "pocket, test: ground truth of 2 of 24 clips" in out
    assert "SSIM (face96) 1.000, expected 1 ± 1e-06 [closed form]: agrees\n" in out
    assert "PSNR (talklip) N/A, expected N/A [closed form]: agrees\n" in out
    assert "not measured: weights lpips-alex missing; syncdiff-bench weights fetch lpips-alex\n" in out
    assert out.splitlines()[-1].startswith("nothing disagrees: ")
    run = load_run(Path("runs/calibrate-pocket-test-first2/gt"))
    assert run.identity.method == "gt"
    assert len(run.identity.clips) == 2


@pytest.mark.usefixtures("toy_plugins")
def test_a_right_and_a_wrong_anchor(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = 'metric = "toy-error[signed]"\ncolumn = "err"\nvalue = 2.5\ntolerance = 0.5'
    install(anchors_file(ZERO, wrong))
    lines = printed(capsys, ["paper", "calibrate", "--dataset", "toy"], 1).splitlines()
    assert lines == [
        "toy, test: ground truth of 5 of 5 clips",
        "  ERR (absolute) 0.0, expected 0 ± 0.5 [closed form]: agrees",
        "  ERR (signed) 0.0, expected 2.5 ± 0.5 [closed form]: off by 2.5: more than the tolerance 0.5; "
        "likely causes: a loose screw; bad luck",
        "this installation does not measure what others do: 1 agree, 1 disagree",
    ]


@pytest.mark.usefixtures("toy_plugins")
def test_missing_weights_and_undefined_columns(
    install: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heavy = 'metric = "toy-heavy"\ncolumn = "heavy"\nvalue = 0\ntolerance = 0'
    install(anchors_file(heavy))
    out = printed(capsys, ["paper", "calibrate", "--dataset", "toy"])
    assert "HEAVY (absolute), expected 0 ± 0 [closed form]: not measured: weights toy missing; " in out
    assert out.endswith("nothing could be confirmed: 1 not measured\n")
    # what was missing is measured by the same command as soon as it is there
    monkeypatch.setenv("TOY_WEIGHTS", "a" * 64)
    assert main(["paper", "calibrate", "--dataset", "toy"]) == 0
    assert "HEAVY (absolute) 0.00, expected 0 ± 0 [closed form]: agrees\n" in capsys.readouterr().out


@pytest.mark.usefixtures("toy_plugins")
def test_other_software_is_not_resumed(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    install(anchors_file(ZERO))
    assert main(["paper", "calibrate", "--dataset", "toy"]) == 0
    file = Path("runs/calibrate-toy-test/gt/run.json")
    manifest = json.loads(file.read_text())
    manifest["versions"]["av"] = "1.0"
    file.write_text(json.dumps(manifest))
    capsys.readouterr()
    assert main(["paper", "calibrate", "--dataset", "toy"]) == 2
    assert re.search(r"calibrated with other software \(av 1.0 -> .*\); choose another --out", capsys.readouterr().err)
    assert main(["paper", "calibrate", "--dataset", "toy", "--out", "again"]) == 0


@pytest.mark.usefixtures("toy_plugins")
def test_unusable_input_ends_with_2(install: Any, capsys: pytest.CaptureFixture[str]) -> None:
    install(anchors_file('metric = "toy-error"\ncolumn = "er"\nvalue = 0\ntolerance = 0'))
    for arguments, words in (
        (["--dataset", "toy"], "column 'er' of toy-error, which has err"),
        (["--dataset", "folder"], "no anchors for folder, split test; there are: lrs2 test, lrs3 test, pocket test"),
        (["--split", "val"], "no anchors for pocket, split val"),
        (["--dataset", "lrs2"], "needs its folder: --data-root DIR"),
    ):
        assert words in refusal(capsys, ["paper", "calibrate", *arguments])
    assert not Path("runs").exists()


# ----------------------------------------------------------------------------------------------- verdicts


@pytest.fixture
def measured(install: Any, toy_plugins: Path) -> Any:
    """Judge one anchor on a summary entry that a test makes up."""
    install(anchors_file(ZERO))
    assert main(["paper", "calibrate", "--dataset", "toy"]) == 0
    run = load_run(Path("runs/calibrate-toy-test/gt"))
    (entry,) = [ColumnSummary.from_json(row) for row in run.manifest["summary"]]

    def do(anchor: str, clips: int = 5, **changes: Any) -> AnchorVerdict:
        given = parse_anchors("a.toml", anchors_file(f'metric = "toy-error"\ncolumn = "err"\n{anchor}', clips=clips))
        summary = [replace(entry, decimals=2, **changes).to_json()]
        made_up = replace(run, manifest={**run.manifest, "summary": summary})
        (verdict,) = judge(given, summary_keys(given, Runtime(), load_class("dataset", "toy")), made_up)
        return verdict

    return do


@pytest.mark.parametrize(
    ("anchor", "changes", "answer", "words"),
    [
        ("value = 8.25\ntolerance = 0.1", {"mean": 8.349}, Answer.AGREES, r"agrees$"),
        (
            "value = 8.25\ntolerance = 0.1",
            {"mean": 7.84},
            Answer.DISAGREES,
            r"off by 0.41: more than the tolerance 0.1;",
        ),
        ("value = 1\ntolerance = 1e-6", {"mean": 0.9999}, Answer.DISAGREES, r"off by 1.0e-04: more than"),
        ("low = 5", {"mean": 5.0}, Answer.AGREES, r"agrees$"),
        ("low = 5", {"mean": 4.5}, Answer.DISAGREES, r"off by 0.50: outside at least 5; likely causes: a loose screw;"),
        ("low = 5\nhigh = 6", {"mean": 7.0}, Answer.DISAGREES, r"off by 1.00: outside 5 to 6;"),
        ("high = 25", {"mean": 24.0}, Answer.AGREES, r"agrees$"),
        ('value = "N/A"', {"mean": None}, Answer.AGREES, r"agrees$"),
        ('value = "N/A"', {"mean": 40.0}, Answer.DISAGREES, r"off: it must be undefined; likely"),
        ("value = 1\ntolerance = 1", {"mean": None}, Answer.DISAGREES, r"off: it is undefined here; likely"),
        ("low = 5", {"mean": None, "n": 0, "reason": "no luck"}, Answer.NOT_MEASURED, r"not measured: no luck$"),
        ('value = "N/A"', {"mean": None, "n": 0, "failed": 5}, Answer.DISAGREES, r"all 5 clips failed; likely"),
        (
            "low = 5",
            {"mean": 6.0, "n": 3, "failed": 2},
            Answer.AGREES,
            r"agrees \(2 of 5 clips failed and are left out\)",
        ),
    ],
)
def test_verdicts(measured: Any, anchor: str, changes: dict[str, Any], answer: Answer, words: str) -> None:
    verdict = measured(anchor, **changes)
    assert verdict.answer is answer
    assert re.match(words, verdict.words)
    assert "\n" not in verdict.line()


def test_a_part_of_a_split_is_judged_within_its_interval(measured: Any) -> None:
    value = "value = 8.25\ntolerance = 0.05"
    held = measured(value, clips=1243, mean=7.8, ci95=(7.4, 8.2))
    assert held.answer is Answer.UNDECIDED
    assert held.words == "undecided: the 95 % interval of 5 of 1243 clips, 7.40 to 8.20, holds it"
    far = measured(value, clips=1243, mean=7.0, ci95=(6.8, 7.2))
    assert far.answer is Answer.DISAGREES
    assert far.words.startswith("on 5 of 1243 clips off by 1.25: more than the tolerance 0.05")
    assert measured(value, clips=1243, mean=7.0, ci95=None).answer is Answer.UNDECIDED
    # what holds for every clip is judged on any of them
    assert measured(f"{value}\nany_clips = true", clips=1243, mean=7.8, ci95=(7.4, 8.2)).answer is Answer.DISAGREES


def test_the_overall_line_counts(measured: Any) -> None:
    yes, no = measured("low = 5", mean=6.0), measured("low = 5", mean=4.0)
    assert overall([yes, yes]) == "nothing disagrees: 2 agree"
    assert overall([yes, no]) == "this installation does not measure what others do: 1 agree, 1 disagree"


# ----------------------------------------------------------------------------------------------- the data


@pytest.mark.parametrize("dataset", ["lrs2", "lrs3"])
def test_shipped_anchors_are_the_papers_row_of_ground_truth(dataset: str) -> None:
    """The same number, of the same measurement, as Table 1 compares with."""
    paper = table(1)
    (row,) = [row for row in paper.rows if row.key == "gt"]
    expected = {
        (column.metric, column.protocol, column.column): row.values[dataset][column.key] for column in paper.columns
    }
    found = {}
    for anchor in find_anchors(dataset, "test").anchors:
        (metric,) = load_metrics(metric_specs([anchor.metric]), Runtime(), load_class("dataset", dataset))
        value = None if anchor.undefined else pytest.approx((anchor.low + anchor.high) / 2)
        found[(metric.name, metric.protocol, anchor.column)] = value
    assert found == expected


@pytest.mark.parametrize(("dataset", "clips"), [("lrs2", 1243), ("lrs3", 1321), ("pocket", 24)])
def test_every_shipped_anchor_is_explained(dataset: str, clips: int) -> None:
    found: Anchors = find_anchors(dataset, "test")
    assert found.clips == clips
    assert all(anchor.source and anchor.reason and anchor.causes for anchor in found.anchors)
    summary_keys(found, Runtime(), load_class("dataset", dataset))  # every metric and column exists


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff", "not a TOML file"),
        (b'schema = 2\ndataset = "toy"', "schema: must be 1, is 2"),
        (anchors_file(ZERO, clips=0), "clips: must be at least 1"),
        (anchors_file(ZERO + "\nvalu = 3"), r"anchors\[0\]: valu: unknown key"),
        (anchors_file('metric = "m"\ncolumn = "c"'), "value: give either value"),
        (anchors_file(ZERO + "\nlow = 1"), "value: give either value"),
        (anchors_file('metric = "m"\ncolumn = "c"\nvalue = 1'), "tolerance: is missing"),
        (anchors_file('metric = "m"\ncolumn = "c"\nvalue = 1\ntolerance = -1'), "tolerance: must not be negative"),
        (anchors_file('metric = "m"\ncolumn = "c"\nvalue = "N/A"\ntolerance = 1'), "tolerance: means nothing"),
        (
            anchors_file('metric = "m"\ncolumn = "c"\nvalue = "none"\ntolerance = 1'),
            "value: must be a finite number or",
        ),
        (
            anchors_file('metric = "m"\ncolumn = "c"\nvalue = true\ntolerance = 1'),
            "value: must be a finite number or",
        ),
        (anchors_file('metric = "m"\ncolumn = "c"\nlow = 2\nhigh = 1'), "low: 2 is above high = 1"),
        (anchors_file('metric = "m"\ncolumn = "c"\nlow = 2\ntolerance = 1'), "tolerance: belongs to value"),
        (anchors_file('metric = "m"\ncolumn = "c"\nlow = nan'), "low: must be a finite number"),
    ],
)
def test_a_file_that_is_not_in_order_is_named(content: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=f"boards/anchors/toy.toml: .*{words}|boards/anchors/toy.toml: {words}"):
        parse_anchors("boards/anchors/toy.toml", content)
