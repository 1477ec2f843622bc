"""How long the command line takes to answer: 0.15 s for a help and 0.3 s for a list are the goal, in a new process.

What is counted is that process's processor time, so that other work on the machine is not.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

resource = pytest.importorskip("resource", reason="counts the processor time of child processes")

LAUNCH = "import sys; from syncdiff_bench.cli import main; sys.exit(main())"


def processor_time_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime  # type: ignore[no-any-return]


@pytest.mark.benchmark(group="answer of the command line", timer=processor_time_of_children)
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        pytest.param(["run", "--help"], marks=pytest.mark.gate),
        ["list", "methods"],
        pytest.param(["list", "metrics"], marks=pytest.mark.gate),
    ],
    ids=" ".join,
)
def test_answer(benchmark: Any, arguments: list[str]) -> None:
    command = [sys.executable, "-c", LAUNCH, *arguments]
    benchmark.pedantic(lambda: subprocess.run(command, capture_output=True, check=True), rounds=5, warmup_rounds=1)
