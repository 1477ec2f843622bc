"""Tests on real clips of people are collected only where the clips are, which are no part of this project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

REAL_CLIPS = Path(os.environ.get("SYNCDIFF_BENCH_SHARED", Path(__file__).parents[2] / "shared"))
ON_REAL_CLIPS = (
    "metrics/test_image_quality_end_to_end.py",
    "metrics/test_lse_end_to_end.py",
    "networks/test_avhubert_real_clips.py",
)

collect_ignore = [] if (REAL_CLIPS / "golden" / "e2e").is_dir() else list(ON_REAL_CLIPS)


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Files written by this process need not outlive a power cut: fsync is half the time of a small run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_data_of_this_machine() -> Iterator[None]:
    """What lies on the disk of whoever tests is no data set of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SYNCDIFF_BENCH_DATA", raising=False)
        yield


def pytest_report_header() -> str:
    if not collect_ignore:
        return f"real clips: {REAL_CLIPS}"
    return "real clips: none (SYNCDIFF_BENCH_SHARED), so three files that repeat checks of *_on_pocket.py are left out"
