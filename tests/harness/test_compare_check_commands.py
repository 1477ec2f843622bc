"""`compare` and `check` by command line, on toys whose scores have closed forms; the speed gate, on made-up results."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from console import printed, refusal

from syncdiff_bench.cli import main
from syncdiff_bench.significance.speed import check_speeds, read_baseline, read_result, write_baseline

pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")


def toy_run(out: str, shift: int, *more: str) -> str:
    """A run whose every clip has an error of `shift` grey levels."""
    options = ["--method", "toy-noise", "--dataset", "toy", "--metrics", "toy-error", "--set", f"shift={shift}"]
    assert main(["run", *options, "--out", out, *more]) == 0
    return f"{out}/toy-noise"


def seeds(folder: str, shift: int, *numbers: int) -> None:
    """What `reproduce` leaves: folder/seed-N, a run each."""
    for seed in numbers:
        Path(toy_run(f"{folder}-{seed}", shift, "--seed", str(seed))).rename(Path(folder, f"seed-{seed}"))


def cells_of(printed: str) -> list[str]:
    (row,) = [line for line in printed.splitlines() if line.startswith("|") and "(absolute)" in line]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_compare_takes_folders_of_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a").mkdir()
    Path("b").mkdir()
    seeds("a", 3, 0, 1)
    seeds("b", 5, 0, 1, 2)
    out = printed(capsys, ["compare", "a", "b", "--format", "markdown"])
    cells = cells_of(out)
    assert cells[1:5] == ["3.5", "5.5", "+2.0", "+2.0 .. +2.0"]  # seed 1 is one grey level further off
    assert cells[8] == "10"  # five clips, two seeds
    assert cells[5:7] == ["–", "–"] and cells[9] == "too few speakers"  # three
    assert cells[10].startswith("s0/0 seed 0 +2.0")
    assert "A and B: 3 speakers: with fewer than 5" in out
    assert "5 clips of b are left out: a has no value" in out
    assert main(["compare", "a/seed-0", "b/seed-2", "--format", "markdown"]) == 0  # one of each pairs by clip
    out = capsys.readouterr().out
    cells = cells_of(out)
    assert "seed 0 against 2" in out and cells[1:5] == ["3.0", "7.0", "+4.0", "+4.0 .. +4.0"] and cells[8] == "5"
    for sides, words in (
        (["a", "b/seed-0"], "seeds [0, 1] and [0] do not pair: give a/seed-0 and b/seed-0"),
        (["a", "b", "--html", "x.html"], "--html is of one seed: give a/seed-0 and b/seed-0"),
    ):
        assert words in refusal(capsys, ["compare", *sides])
    Path("d").mkdir()
    seeds("d", 3, 0)
    Path("d/seed-0").rename("d/seed-1")
    seeds("d", 3, 0)
    assert "d/seed-1 has a seed twice (0)" in refusal(capsys, ["compare", "d", "b"])
    Path("c").mkdir()
    seeds("c", 5, 1)
    Path("a/seed-0").rename("c/seed-0")
    assert "c/seed-1 is another run than c/seed-0 (option shift 3 -> 5)" in refusal(capsys, ["compare", "c", "b"])


def test_the_gate_passes_an_equal_run_and_fails_a_worse_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = toy_run("good", 3), toy_run("bad", 4)
    assert main(["check", good, "--baseline", "base.json", "--update", "--tolerance", "err=0.5"]) == 0
    assert main(["check", good, "--baseline", "base.json"]) == 0
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    assert "REGRESSION" in printed(capsys, ["check", bad, "--baseline", "base.json", "--junit", "deep/check.xml"], 1)
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
    assert words in refusal(capsys, ["check", run, *arguments])


def test_a_refusal_is_an_error_in_the_reports(capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", toy_run("a", 3), "--baseline", "base<1>.json", "--update"])
    other = toy_run("b", 3, "--seed", "1")
    reports = ["--junit", "check.xml", "--summary", "summary.md"]
    assert "seed 0 -> 1" in refusal(capsys, ["check", other, "--baseline", "base<1>.json", *reports])
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


# -------------------------------------------------------------------------------------------- the speed gate

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "gate.md"
UNIT = 0.05
UNET, PSNR = "b/test_a.py::test_unet[paper]", "b/test_a.py::test_psnr"
SECONDS = {UNET: 3.0, PSNR: 0.004}
GATE = ["check", "now.json", "--baseline", "base.json"]


def result(
    file: str,
    seconds: Mapping[str, float],
    *,
    units: Mapping[str, float] | float = UNIT,
    timer: str = "process_time",
    threads: int = 1,
) -> Path:
    """What `pytest --benchmark-json` writes, as far as it is read, and a little more.

    units: seconds of the calibrations; a benchmark that it leaves out has none.
    """
    if isinstance(units, float):
        units = dict.fromkeys(seconds, units)
    benchmarks: list[dict[str, Any]] = [
        {
            "name": name.rpartition("::")[2],
            "fullname": name,
            "extra_info": {"calibration": {"seconds": units[name], "threads": threads, "workload": 1}}
            if name in units
            else {},
            "options": {"timer": timer, "min_rounds": 5},
            "stats": {"min": least, "max": 9 * least, "rounds": 5},
        }
        for name, least in seconds.items()
    ]
    Path(file).write_text(json.dumps({"machine_info": {}, "benchmarks": benchmarks}))
    return Path(file)


@pytest.fixture
def baseline(work_folder: Path) -> None:
    write_baseline(read_result(result("then.json", SECONDS)), Path("base.json"))


def times(factor: float, *names: str) -> dict[str, float]:
    return {name: seconds * (factor if name in names else 1) for name, seconds in SECONDS.items()}


@pytest.mark.usefixtures("baseline")
def test_equal_passes_and_a_regression_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    result("now.json", SECONDS)
    assert main(GATE) == 0
    result("now.json", times(1.45, PSNR))
    assert main(GATE) == 0
    result("now.json", times(1.55, PSNR))
    capsys.readouterr()
    assert main([*GATE, "--junit", "deep/speed.xml", "--summary", "deep/summary.md"]) == 1
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "REGRESSION" in line]
    # 0.004 s over 0.05 s is 0.08.
    assert [cell.strip() for cell in row.strip("│ \n").split("│")][:4] == [PSNR, "0.08", "0.124", "1.55"]
    suite = ElementTree.parse("deep/speed.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    assert [case.get("name") for case in suite if len(case)] == [PSNR]
    summary = Path("deep/summary.md").read_text(encoding="utf-8")
    assert summary.startswith("### syncdiff-bench check: FAILED") and r"b/test\_a.py::test\_psnr" in summary
    assert main([*GATE, "--tolerance", "1.6"]) == 0


@pytest.mark.usefixtures("baseline")
def test_a_machine_of_half_the_speed_is_no_regression(capsys: pytest.CaptureFixture[str]) -> None:
    result("now.json", times(2, *SECONDS), units=2 * UNIT)
    assert main(GATE) == 0
    # Nor is one that became slow halfway, beside the second benchmark.
    result("now.json", times(2, PSNR), units={UNET: UNIT, PSNR: 2 * UNIT})
    assert main(GATE) == 0
    # All but the calibration, on the other hand, is one of every benchmark.
    result("now.json", times(2, *SECONDS))
    assert printed(capsys, GATE, 1).count("REGRESSION") == 2


@pytest.mark.usefixtures("baseline")
def test_the_old_spelling() -> None:
    result("now.json", SECONDS)
    assert main(["check-speed", *GATE[1:]]) == 0


def test_update_writes_what_then_passes(capsys: pytest.CaptureFixture[str]) -> None:
    result("now.json", SECONDS)
    assert main([*GATE[:-1], "new/base.json", "--update"]) == 0
    assert "2 benchmarks" in capsys.readouterr().err
    assert main([*GATE[:-1], "new/base.json"]) == 0
    ratios = {name: timing.ratio for name, timing in read_baseline(Path("new/base.json")).timings.items()}
    assert ratios == pytest.approx({UNET: 60, PSNR: 0.08})


@pytest.mark.usefixtures("baseline")
def test_what_is_new_is_noted_and_what_is_faster_said(capsys: pytest.CaptureFixture[str]) -> None:
    result("now.json", {**times(0.5, PSNR), "b/test_n.py::test_new": 1.0})
    out = printed(capsys, GATE)
    assert "faster" in out and "b/test_n.py::test_new is not in the baseline" in out


@pytest.mark.usefixtures("baseline")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"units": {}}, "now.json has no calibrated benchmark; put its measurement inside `with"),
        ({"units": {PSNR: UNIT}}, f"(benchmark):` ({UNET})"),
        ({"seconds": {PSNR: 1.0}}, f"not run ({UNET})"),
        ({"threads": 2}, f"threads 1 -> 2 ({PSNR}, {UNET})"),
        ({"timer": "perf_counter"}, "clock process_time -> perf_counter"),
        ({"seconds": {**SECONDS, PSNR: 0.0}}, "took 0 s by its clock"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    change: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result("now.json", **{"seconds": SECONDS, **change})
    assert words in refusal(capsys, [*GATE, "--junit", "speed.xml", "--summary", "summary.md"])
    assert [case.get("type") for case in ElementTree.parse("speed.xml").iter("error")] == ["not comparable"]
    assert Path("summary.md").read_text(encoding="utf-8").startswith("### syncdiff-bench check: NOT COMPARABLE")


@pytest.mark.usefixtures("baseline")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "missing.json", "--baseline", "base.json"], "make one with pytest --benchmark-json"),
        (["check", "base.json", "--baseline", "base.json"], "base.json is not a result of pytest-benchmark"),
        (["check", "now.json", "--baseline", "now.json"], "now.json is not a baseline of speeds"),
        (["check", "now.json", "--baseline", "missing.json"], "write one with --update"),
        ([*GATE, "--tolerance", "1"], "give a factor above 1"),
        ([*GATE, "--tolerance", "psnr=0.1"], "give a factor above 1"),
        (["check", "now.json", "--baseline", "now.json/base.json", "--update"], "choose another --baseline"),
    ],
)
def test_bad_input_of_the_speed_gate_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result("now.json", SECONDS)
    assert words in refusal(capsys, arguments)


@pytest.mark.usefixtures("baseline")
def test_noise_raises_no_alarm_and_a_real_change_always_does() -> None:
    """Machines between a quarter and four times the speed, another one for each benchmark; 5 % of log-normal noise in
    each of its five and the calibration's twenty rounds.
    """
    rng = np.random.default_rng(0)
    held_to = read_baseline(Path("base.json"))

    def least(seconds: float, rounds: int) -> float:
        return float(seconds * np.exp(rng.normal(0, 0.05, rounds)).min())

    def found(factor: float) -> list[str]:
        machine = {name: 4 ** rng.uniform(-1, 1) for name in SECONDS}
        seconds = {name: least(machine[name] * value, 5) for name, value in times(factor, UNET).items()}
        units = {name: least(machine[name] * UNIT, 20) for name in SECONDS}
        report = check_speeds(read_result(result("now.json", seconds, units=units)), held_to, tolerance=1.5)
        return [verdict.name for verdict in report.verdicts if verdict.status == "regression"]

    assert [found(1.0) for _ in range(1000)] == [[]] * 1000
    assert [found(2 * 1.5) for _ in range(100)] == [[UNET]] * 100


@pytest.mark.slow
def test_the_guides_benchmarks_make_a_result_that_is_read() -> None:
    """The real file of the real pytest-benchmark, from the page's example with the page's options."""
    page = GUIDE.read_text(encoding="utf-8")
    code = re.search(r'```python title="test_speed.py"\n(.*?)```', page, re.DOTALL)
    command = re.search(r"^OMP_NUM_THREADS=1 pytest (.*)$", page, re.MULTILINE)
    assert code is not None and command is not None
    Path("test_speed.py").write_text(code[1])
    subprocess.run(
        [sys.executable, "-m", "pytest", *command[1].split()],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    speeds = read_result(Path("monday-speed.json"))
    assert list(speeds.timings) == ["test_speed.py::test_blending"]
    conditions = speeds.timings["test_speed.py::test_blending"].conditions
    assert conditions == {"clock": "process_time", "threads": 1, "workload": 1}
    assert main(["check", "monday-speed.json", "--baseline", "speed.json", "--update"]) == 0
    assert main(["check", "monday-speed.json", "--baseline", "speed.json"]) == 0
