"""`plugin check`, and the same suite under pytest: what was skipped is counted and said, nothing passes by accident."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from syncdiff_bench.cli import main


def test_check_plugin_counts_what_was_skipped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path))
    monkeypatch.setenv("SYNCDIFF_BENCH_OFFLINE", "1")
    assert main(["plugin", "check", "lse"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "8 passed, 9 skipped: weights syncnet-v2 missing; syncdiff-bench weights fetch syncnet-v2"
    assert sum(line.startswith("skip ") for line in lines) == 9
    assert main(["plugin", "check", "lse", "--strict"]) == 1
    assert main(["plugin", "check", "lse[weights=nowhere.pt]"]) == 1
    assert "no such file" in capsys.readouterr().out


def test_check_plugin_takes_options_of_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "check", "psnr", "--set", "protocol=nonsense"]) == 2
    assert main(["plugin", "check", "static[nonsense=1]"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_a_plugin_that_exits_does_not_pass(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    def leave(*_: Any, **__: Any) -> None:
        sys.exit(0)

    monkeypatch.setattr("syncdiff_methods.bounds.Static.generate", leave)
    assert main(["plugin", "check", "static"]) == 1
    assert "SystemExit: 0" in capsys.readouterr().out


def test_pytest_shows_the_reason(tmp_path: Path) -> None:
    """A skipped check is a skipped test."""
    (tmp_path / "test_it.py").write_text(
        "from syncdiff_bench import plugins\n"
        "from syncdiff_bench.testing import parametrize_with_checks\n\n"
        "@parametrize_with_checks(plugins.load_metric('wer'))\n"
        "def test_conformance(check):\n    check()\n"
    )
    told = run("-m", "pytest", "-p", "no:cacheprovider", "-rs", str(tmp_path), SYNCDIFF_BENCH_HOME=str(tmp_path))
    assert told.returncode == 0 and "8 passed, 9 skipped" in told.stdout
    assert "weights avhubert-lrs2-vsr missing; syncdiff-bench weights fetch avhubert-lrs2-vsr" in told.stdout


def test_without_assertions_nothing_is_checked() -> None:
    told = run("-O", "-m", "syncdiff_bench", "check-plugin", "gt")
    assert told.returncode == 2 and "run it without -O" in told.stderr


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
