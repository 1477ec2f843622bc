"""`gpu.py` works: on a CPU with tiny networks, as on a GPU with the paper's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("gpu.py")
TINY = ("--device", "cpu", "--tiny")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rows_of(text: str, title: str) -> list[list[str]]:
    """Cells of a section's table, without its head."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.slow
def test_everything_is_measured(tmp_path: Path) -> None:
    done = run(*TINY, "--out", tmp_path / "gpu.md", "--peak", "0.001")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "gpu.md").read_text()
    assert "Left out" not in text
    assert "Goal: 45% of the bfloat16 peak" in text
    assert "Goal: 50% of the bfloat16 peak" in text
    ((way, batch, ms, each_s, tflops, mfu, _),) = rows_of(text, "Training")
    assert (way, batch) == ("bf16, as shipped", "2")
    assert float(each_s) == pytest.approx(2000 / float(ms), rel=0.1)
    assert float(mfu.removesuffix(" %")) == pytest.approx(100 * float(tflops) / 0.001, rel=0.01)  # of three digits
    ((_, step, *_),) = rows_of(text, "Sampling")
    assert float(step) > 0
    assert [row[0] for row in rows_of(text, "Scoring")] == ["LSE", "WER, encoder in fp32"]
    assert all(float(row[1]) > 0 for row in rows_of(text, "Scoring"))
    assert len(rows_of(text, "Profile: one training step.*?")) > 10


def test_what_there_is_no_time_for_is_said(tmp_path: Path) -> None:
    done = run(*TINY, "--out", tmp_path / "gpu.md", "--limit", "0")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "gpu.md").read_text()
    left = ["training, bf16, as shipped, batch 2", "sampling, compile=off", "LSE", "WER"]
    assert rows_of(text, "Left out") == [[what, "out of time"] for what in left]
    assert "## Training" not in text


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = run("--out", tmp_path / "gpu.md")
    assert done.returncode == 2
    assert "sees no CUDA device; try --device cpu --tiny" in done.stderr
    assert not (tmp_path / "gpu.md").exists()
