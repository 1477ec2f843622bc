"""How long the command line takes to answer: half a second is the goal, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

LAUNCH = "import sys; from syncdiff_bench.cli import main; sys.exit(main())"


@pytest.mark.benchmark(group="answer of the command line")
@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["list", "methods"], ["list", "metrics"]], ids=" ".join
)
def test_answer(benchmark: Any, arguments: list[str]) -> None:
    command = [sys.executable, "-c", LAUNCH, *arguments]
    benchmark.pedantic(lambda: subprocess.run(command, capture_output=True, check=True), rounds=5, warmup_rounds=1)
