"""Benchmarks marked `gate` are those that `.ci/run` holds to speed.json: each is measured with its calibration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from syncdiff_bench.testing import calibrated


@pytest.fixture(autouse=True)
def calibration(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("gate") is None:
        yield
        return
    with calibrated(request.getfixturevalue("benchmark")):
        yield
