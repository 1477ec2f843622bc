"""The unit of the speed gate: what `.ci/run` compares is the other benchmarks marked `gate` over this one."""

from __future__ import annotations

from typing import Any

import pytest

from syncdiff_bench.testing import calibrate


@pytest.mark.gate
def test_calibration(benchmark: Any) -> None:
    calibrate(benchmark)
