"""`score` of pocket's test clips, in a process of its own, by one process and by two."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LAUNCH = "import sys; from syncdiff_bench.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `static`, generated."""
    out = tmp_path_factory.mktemp("scoring")
    answer("generate", "--method", "static", "--out", str(out))
    return out / "static"


def answer(*arguments: str) -> None:
    subprocess.run([sys.executable, "-c", LAUNCH, *arguments], capture_output=True, check=True)


@pytest.mark.benchmark(group="score 24 clips")
@pytest.mark.parametrize("workers", ["1", "2", "0"])
def test_score(benchmark: Any, videos: Path, workers: str) -> None:
    score = ("score", str(videos), "--metrics", "psnr,ssim,lse[weights=pocket]", "--fresh", "--workers", workers)
    benchmark.pedantic(answer, args=score, rounds=2)
    assert (videos / "scores.jsonl").read_text().count("\n") == 3 * 24
