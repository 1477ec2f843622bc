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
UNIT = 0.05
UNET, PSNR = "b/test_a.py::test_unet[paper]", "b/test_a.py::test_psnr"
SECONDS = {UNET: 3.0, PSNR: 0.004}
GATE = ["check", "now.json", "--baseline", "base.json"]


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


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
def baseline() -> None:
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
    capsys.readouterr()
    assert main(GATE) == 1
    assert capsys.readouterr().out.count("REGRESSION") == 2


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
    assert main(GATE) == 0
    printed = capsys.readouterr().out
    assert "faster" in printed and "b/test_n.py::test_new is not in the baseline" in printed


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
    assert main([*GATE, "--junit", "speed.xml", "--summary", "summary.md"]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
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
def test_bad_input_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    result("now.json", SECONDS)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


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
