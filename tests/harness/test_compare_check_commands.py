"""`compare` and `check` by command line, on toys whose scores have closed forms."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from syncdiff_bench.cli import main

pytestmark = pytest.mark.usefixtures("toy_plugins")


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def toy_run(out: str, shift: int, *more: str) -> str:
    """A run whose every clip has an error of `shift` grey levels."""
    options = ["--method", "toy-noise", "--dataset", "toy", "--metrics", "toy-error", "--set", f"shift={shift}"]
    assert main(["run", *options, "--out", out, *more]) == 0
    return f"{out}/toy-noise"


def test_compare_prints_the_difference(capsys: pytest.CaptureFixture[str]) -> None:
    a, b = toy_run("a", 3), toy_run("b", 5)
    capsys.readouterr()
    assert main(["compare", a, b, "--format", "markdown"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "(absolute)" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:5] == ["3.0", "5.0", "+2.0", "+2.0 .. +2.0"]
    assert cells[8] == "5"


def seeds(folder: str, shift: int, *numbers: int) -> None:
    """What `reproduce` leaves: folder/seed-N, a run each."""
    for seed in numbers:
        Path(toy_run(f"{folder}-{seed}", shift, "--seed", str(seed))).rename(Path(folder, f"seed-{seed}"))


def test_compare_takes_folders_of_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a").mkdir()
    Path("b").mkdir()
    seeds("a", 3, 0, 1)
    seeds("b", 5, 0, 1, 2)
    capsys.readouterr()
    assert main(["compare", "a", "b", "--format", "markdown"]) == 0
    out = capsys.readouterr().out
    (row,) = [line for line in out.splitlines() if line.startswith("|") and "(absolute)" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:5] == ["3.5", "5.5", "+2.0", "+2.0 .. +2.0"]  # seed 1 is one grey level further off
    assert cells[8] == "10"  # five clips, two seeds
    assert cells[5:7] == ["–", "–"] and cells[9] == "too few speakers"  # three
    assert cells[10].startswith("s0/0 seed 0 +2.0")
    assert "A and B: 3 speakers: with fewer than 5" in out
    assert "5 clips of b are left out: a has no value" in out
    assert main(["compare", "a/seed-0", "b/seed-2", "--format", "markdown"]) == 0  # one of each pairs by clip
    assert "seed 0 against 2" in capsys.readouterr().out
    for sides, words in (
        (["a", "b/seed-0"], "seeds [0, 1] and [0] do not pair: give a/seed-0 and b/seed-0"),
        (["a", "b", "--html", "x.html"], "--html is of one seed: give a/seed-0 and b/seed-0"),
    ):
        assert main(["compare", *sides]) == 2
        assert words in capsys.readouterr().err
    Path("d").mkdir()
    seeds("d", 3, 0)
    Path("d/seed-0").rename("d/seed-1")
    seeds("d", 3, 0)
    assert main(["compare", "d", "b"]) == 2
    assert "d/seed-1 has a seed twice (0)" in capsys.readouterr().err
    Path("c").mkdir()
    seeds("c", 5, 1)
    Path("a/seed-0").rename("c/seed-0")
    assert main(["compare", "c", "b"]) == 2
    assert "c/seed-1 is another run than c/seed-0 (option shift 3 -> 5)" in capsys.readouterr().err


def test_the_gate_passes_an_equal_run_and_fails_a_worse_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = toy_run("good", 3), toy_run("bad", 4)
    assert main(["check", good, "--baseline", "base.json", "--update", "--tolerance", "err=0.5"]) == 0
    assert main(["check", good, "--baseline", "base.json"]) == 0
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    capsys.readouterr()
    assert main(["check", bad, "--baseline", "base.json", "--junit", "deep/check.xml"]) == 1
    assert "REGRESSION" in capsys.readouterr().out
    assert ElementTree.parse("deep/check.xml").getroot().get("failures") == "1"
    summary = Path("summary.md").read_text(encoding="utf-8")
    assert summary.startswith("### syncdiff-bench check: FAILED") and "REGRESSION" in summary
    # A larger tolerance lets the same change pass.
    assert main(["check", good, "--baseline", "base.json", "--update", "--tolerance", "err=1.5"]) == 0
    assert main(["check", bad, "--baseline", "base.json"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--baseline", "missing.json"], "write one with --update"),
        (["--baseline", "base.json", "--tolerance", "err=1"], "--tolerance goes with --update"),
        (["--baseline", "base.json", "--update", "--tolerance", "psnr=1"], "has no column 'psnr'"),
        (["--baseline", "base.json", "--update", "--tolerance", "err=much"], "is not a number"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = toy_run("a", 3)
    capsys.readouterr()
    assert main(["check", run, *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_another_seed_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", toy_run("a", 3), "--baseline", "base.json", "--update"])
    other = toy_run("b", 3, "--seed", "1")
    assert main(["check", other, "--baseline", "base.json"]) == 2
    assert "seed 0 -> 1" in capsys.readouterr().err


def test_a_refusal_is_an_error_in_the_reports(capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", toy_run("a", 3), "--baseline", "base<1>.json", "--update"])
    other = toy_run("b", 3, "--seed", "1")
    reports = ["--junit", "check.xml", "--summary", "summary.md"]
    assert main(["check", other, "--baseline", "base<1>.json", *reports]) == 2
    suite = ElementTree.parse("check.xml").getroot()
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["1", "0", "1"]
    assert [("seed 0 -> 1" in str(error.get("message")), error.get("type")) for error in suite.iter("error")] == [
        (True, "not comparable")
    ]
    summary = Path("summary.md").read_text(encoding="utf-8")
    assert summary.startswith("### syncdiff-bench check: NOT COMPARABLE\n\n") and "seed 0 -&gt; 1" in summary
    assert "base&lt;1&gt;.json" in summary
    # A run that is not there is refused in the reports too, and a place that cannot be written does not hide why.
    capsys.readouterr()
    assert main(["check", "nowhere", "--baseline", "base<1>.json", "--junit", "check.xml/x.xml"]) == 2
    error = capsys.readouterr().err
    assert "nowhere" in error and "choose another --junit" in error and error.count("\n") == 1


def test_a_junit_place_that_cannot_be_written_costs_no_summary(capsys: pytest.CaptureFixture[str]) -> None:
    run = toy_run("a", 3)
    main(["check", run, "--baseline", "base.json", "--update"])
    capsys.readouterr()
    assert main(["check", run, "--baseline", "base.json", "--junit", "base.json/x.xml", "--summary", "s.md"]) == 2
    assert "choose another --junit" in capsys.readouterr().err
    assert Path("s.md").read_text(encoding="utf-8").startswith("### syncdiff-bench check: passed")
