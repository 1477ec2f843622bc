"""`syncdiff-bench data verify`: its lines, its counts, its exit codes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from syncdiff_bench.cli.data import verify
from syncdiff_bench.contracts import Dataset
from syncdiff_bench.errors import UsageError
from syncdiff_bench.media import reading
from syncdiff_datasets.lrs import LRS3


@pytest.fixture(autouse=True)
def fake_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, root: Path | None, options: Mapping[str, str] | None = None) -> Dataset:
        assert name == "lrs3"
        return LRS3(root)

    monkeypatch.setattr("syncdiff_bench.plugins.load_dataset", load)


def run(root: Path, *more: str) -> Result:
    return CliRunner().invoke(verify, ["--dataset", "lrs3", "--data-root", str(root), *more])


def test_a_sound_dataset_exits_0_and_says_so(lrs3_home: Path) -> None:
    result = run(lrs3_home)
    assert result.exit_code == 0
    assert "lrs3, split test: 3 clips checked, 0 errors, 2 notes: fit for use" in result.output


def test_errors_are_told_line_by_line_and_exit_1(lrs3_home: Path) -> None:
    os.truncate(lrs3_home / "test" / "0Fi83BHQsMA" / "00006.mp4", 0)
    result = run(lrs3_home)
    assert result.exit_code == 1
    lines = [line for line in result.output.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert "test/0Fi83BHQsMA/00006" in lines[0]
    assert "1 error, 2 notes: 1 place to mend" in result.output


def test_a_file_that_nobody_thought_of_costs_the_others_nothing(
    lrs3_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(path: Path) -> None:
        if path.name == "00006.mp4":
            raise AttributeError("'NoneType' object has no attribute 'width'")

    monkeypatch.setattr("syncdiff_datasets.verification.probe", lambda path, of=reading.probe: probe(path) or of(path))
    os.truncate(lrs3_home / "test" / "QoT0S2vu9m4" / "00002.mp4", 0)
    result = run(lrs3_home)
    assert result.exit_code == 1
    assert "error test/0Fi83BHQsMA/00006: cannot be decoded (AttributeError" in result.output
    assert "error test/QoT0S2vu9m4/00002" in result.output


def test_the_limit_leaves_later_clips_out(lrs3_home: Path) -> None:
    os.truncate(lrs3_home / "test" / "QoT0S2vu9m4" / "00002.mp4", 0)
    assert run(lrs3_home, "--limit", "2").exit_code == 0
    assert "2 clips checked" in run(lrs3_home, "--limit", "2").output
    assert run(lrs3_home, "--limit", "3").exit_code == 1


def test_another_split_can_be_named(lrs3_home: Path) -> None:
    assert "split trainval: 1 clip checked" in run(lrs3_home, "--split", "trainval").output


def test_unusable_input_is_left_to_the_command_line_to_report(tmp_path: Path) -> None:
    assert isinstance(run(tmp_path / "nowhere").exception, UsageError)
