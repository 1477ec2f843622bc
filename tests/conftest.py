"""Which tests there are: those on real clips of people only where the clips are, which are no part of this project."""

from __future__ import annotations

import os
from pathlib import Path

REAL_CLIPS = Path(os.environ.get("SYNCDIFF_BENCH_SHARED", Path(__file__).parents[2] / "shared"))
ON_REAL_CLIPS = (
    "metrics/test_image_quality_end_to_end.py",
    "metrics/test_lse_end_to_end.py",
    "networks/test_avhubert_real_clips.py",
)

collect_ignore = [] if (REAL_CLIPS / "golden" / "e2e").is_dir() else list(ON_REAL_CLIPS)


def pytest_report_header() -> str:
    if not collect_ignore:
        return f"real clips: {REAL_CLIPS}"
    return "real clips: none (SYNCDIFF_BENCH_SHARED), so three files that repeat checks of *_on_pocket.py are left out"
