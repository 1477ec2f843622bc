"""The speed gate, on results of pytest-benchmark that are made up, and on one that is not."""

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

from syncdiff_bench.cli import main
from syncdiff_bench.significance.speed import check_speeds, read_baseline, read_result, write_baseline

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "gate.md"
UNIT = "b/test_c.py::test_calibration"
SECONDS = {UNIT: 0.2, "b/test_a.py::test_unet[paper]": 3.0, "b/test_a.py::test_psnr": 0.004}
GATE = ["check-speed", "now.json", "--baseline", "base.json"]


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def result(file: str, seconds: Mapping[str, float], *, timer: str = "process_time", threads: int = 1) -> Path:
    """What `pytest --benchmark-json` writes, as far as it is read, and a little more."""
    benchmarks: list[dict[str, Any]] = [
        {
            "name": name.rpartition("::")[2],
            "fullname": name,
            "extra_info": {"threads": threads, "workload": 1} if name == UNIT else {},
            "options": {"timer": timer, "min_rounds": 5},
            "stats": {"min": least, "max": 9 * least, "rounds": 5},
        }
        for name, least in seconds.items()
    ]
    Path(file).write_text(json.dumps({"machine_info": {}, "benchmarks": benchmarks}))
    return Path(file)


@pytest.fixture
def baseline() -> None:
    write_baseline(read_result(result("then.json", SECONDS)), Path("base.json"))


def times(factor: float, *names: str) -> dict[str, float]:
    return {name: seconds * (factor if name in names else 1) for name, seconds in SECONDS.items()}


@pytest.mark.usefixtures("baseline")
def test_equal_passes_and_a_regression_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    slow = "b/test_a.py::test_psnr"
    result("now.json", SECONDS)
    assert main(GATE) == 0
    result("now.json", times(1.45, slow))
    assert main(GATE) == 0
    result("now.json", times(1.55, slow))
    capsys.readouterr()
    assert main([*GATE, "--junit", "deep/speed.xml", "--summary", "deep/summary.md"]) == 1
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "REGRESSION" in line]
    # 0.004 s of 0.2 s is 0.02.
    assert [cell.strip() for cell in row.strip("│ \n").split("│")][:4] == [slow, "0.02", "0.031", "1.55"]
    suite = ElementTree.parse("deep/speed.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    assert [case.get("name") for case in suite if len(case)] == [slow]
    summary = Path("deep/summary.md").read_text(encoding="utf-8")
    assert summary.startswith("### syncdiff-bench check-speed: FAILED") and r"b/test\_a.py::test\_psnr" in summary
    assert main([*GATE, "--tolerance", "1.6"]) == 0


@pytest.mark.usefixtures("baseline")
def test_a_machine_of_half_the_speed_is_no_regression(capsys: pytest.CaptureFixture[str]) -> None:
    result("now.json", times(2, *SECONDS))
    assert main(GATE) == 0
    # All but the calibration, on the other hand, is one of every benchmark.
    result("now.json", times(2, *(name for name in SECONDS if name != UNIT)))
    capsys.readouterr()
    assert main(GATE) == 1
    assert capsys.readouterr().out.count("REGRESSION") == 2


def test_update_writes_what_then_passes(capsys: pytest.CaptureFixture[str]) -> None:
    result("now.json", SECONDS)
    assert main([*GATE[:-1], "new/base.json", "--update"]) == 0
    assert "2 benchmarks" in capsys.readouterr().err
    assert main([*GATE[:-1], "new/base.json"]) == 0
    ratios = {name: timing.ratio for name, timing in read_baseline(Path("new/base.json")).timings.items()}
    assert ratios == pytest.approx({"b/test_a.py::test_unet[paper]": 15, "b/test_a.py::test_psnr": 0.02})


@pytest.mark.usefixtures("baseline")
def test_what_is_new_is_noted_and_what_is_faster_said(capsys: pytest.CaptureFixture[str]) -> None:
    result("now.json", {**times(0.5, "b/test_a.py::test_psnr"), "b/test_n.py::test_new": 1.0})
    assert main(GATE) == 0
    printed = capsys.readouterr().out
    assert "faster" in printed and "b/test_n.py::test_new is not in the baseline" in printed


@pytest.mark.usefixtures("baseline")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seconds": {name: 1.0 for name in SECONDS if name != UNIT}}, f"no benchmarks named {UNIT}"),
        ({"seconds": {UNIT: 1.0, "b/test_a.py::test_psnr": 1.0}}, "b/test_a.py::test_unet[paper] was not run"),
        ({"threads": 2}, "threads 1 -> 2"),
        ({"timer": "perf_counter"}, "clock process_time -> perf_counter"),
        ({"seconds": {**SECONDS, UNIT: 0.0}}, "took 0 s by its clock"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    change: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    result("now.json", **{"seconds": SECONDS, **change})
    assert main([*GATE, "--junit", "speed.xml", "--summary", "summary.md"]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert [case.get("type") for case in ElementTree.parse("speed.xml").iter("error")] == ["not comparable"]
    assert Path("summary.md").read_text(encoding="utf-8").startswith("### syncdiff-bench check-speed: NOT COMPARABLE")


@pytest.mark.usefixtures("baseline")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check-speed", "missing.json", "--baseline", "base.json"], "make one with pytest --benchmark-json"),
        (["check-speed", "base.json", "--baseline", "base.json"], "base.json is not a result of pytest-benchmark"),
        (["check-speed", "now.json", "--baseline", "now.json"], "now.json is not a baseline of speeds"),
        (["check-speed", "now.json", "--baseline", "missing.json"], "write one with --update"),
        ([*GATE, "--tolerance", "1"], "give a factor above 1"),
        ([*GATE, "--calibration", "test_x"], "--calibration goes with --update"),
        ([*GATE, "--update", "--calibration", "test_x"], "no benchmarks named test_x"),
        (["check-speed", "now.json", "--baseline", "now.json/base.json", "--update"], "choose another --baseline"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    result("now.json", SECONDS)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.mark.usefixtures("baseline")
def test_noise_raises_no_alarm_and_a_real_change_always_does() -> None:
    """Machines between a quarter and four times the speed, 5 % of log-normal noise in each of five rounds."""
    rng = np.random.default_rng(0)
    held_to = read_baseline(Path("base.json"))
    slow = "b/test_a.py::test_unet[paper]"

    def found(factor: float) -> list[str]:
        machine = 4 ** rng.uniform(-1, 1)
        least = {
            name: float(machine * seconds * np.exp(rng.normal(0, 0.05, 5)).min())
            for name, seconds in times(factor, slow).items()
        }
        report = check_speeds(read_result(result("now.json", least)), held_to, tolerance=1.5)
        return [verdict.name for verdict in report.verdicts if verdict.status == "regression"]

    assert [found(1.0) for _ in range(1000)] == [[]] * 1000
    assert [found(2 * 1.5) for _ in range(100)] == [[slow]] * 100


def test_the_guides_benchmarks_make_a_result_that_is_read() -> None:
    """The real file of the real pytest-benchmark, from the page's example with the page's options."""
    page = GUIDE.read_text(encoding="utf-8")
    code = re.search(r'```python title="test_speed.py"\n(.*?)```', page, re.DOTALL)
    command = re.search(r"^OMP_NUM_THREADS=1 pytest (.*)$", page, re.MULTILINE)
    assert code is not None and command is not None
    Path("test_speed.py").write_text(code[1].replace("calibrate(benchmark)", "calibrate(benchmark, rounds=2)"))
    subprocess.run(
        [sys.executable, "-m", "pytest", *command[1].split()],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    speeds = read_result(Path("monday-speed.json"))
    assert (speeds.calibration, speeds.timer) == ("test_speed.py::test_calibration", "process_time")
    assert speeds.conditions == {"threads": 1, "workload": 1}
    assert list(speeds.timings) == ["test_speed.py::test_blending"]
    assert main(["check-speed", "monday-speed.json", "--baseline", "speed.json", "--update"]) == 0
    assert main(["check-speed", "monday-speed.json", "--baseline", "speed.json"]) == 0
