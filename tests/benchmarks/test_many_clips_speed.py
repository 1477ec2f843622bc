"""A finished run over 28,000 made-up clips: resumed, reported, compared. Processor time, and peak memory beside it.

    pytest tests/benchmarks/test_many_clips_speed.py --benchmark-only -m slow

The goals, on one core: 5 s to resume and to report, 10 s to compare, 300 MiB.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import many_clips
import pytest

resource = pytest.importorskip("resource", reason="counts the processor time of child processes")

# Its last line is its peak memory in KiB. What the system tells of a child that ended counts who started it, too.
LAUNCH = """
import sys
from syncdiff_bench.cli import main
code = main()
print("", *(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), sep="\\n")
sys.exit(code)
"""


def processor_time_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime  # type: ignore[no-any-return]


def peak_mib(arguments: list[str]) -> float:
    """Of a command in a process of its own, which has to succeed."""
    process = subprocess.run([sys.executable, "-c", LAUNCH, *arguments], capture_output=True, check=False, text=True)
    assert process.returncode == 0, process.stderr
    return int(process.stdout.split()[-1]) / 1024


@pytest.fixture(scope="module", params=[1000, pytest.param(28_000, marks=pytest.mark.slow)])
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    many_clips.make_runs(folder, request.param)
    return folder


@pytest.mark.timeout(1800)
@pytest.mark.benchmark(group="a finished run over many clips", timer=processor_time_of_children)
@pytest.mark.parametrize("command", ["run", "report", "compare"])
def test_answer(benchmark: Any, runs: Path, command: str) -> None:
    folders = [str(runs / "runs" / method) for method in many_clips.METHODS]
    arguments = many_clips.resuming(runs, many_clips.METHODS[0]) if command == "run" else [command, *folders]
    benchmark.extra_info["peak_mib"] = round(benchmark.pedantic(peak_mib, args=(arguments,)))
