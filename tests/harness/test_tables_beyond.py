"""The table that is no paper's: addressed by name, without printed values, its rows apart from those of the paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from syncdiff_bench.cli.paper import tables
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report import paper
from syncdiff_bench.report.joined import JoinedTable, join
from syncdiff_bench.report.packages import toml_files
from syncdiff_bench.report.results import find_runs

PACKAGE = "syncdiff_leaderboards"


def run(folder: Path, mean: float, **options: Any) -> Path:
    folder.mkdir(parents=True)
    names = {"metric": "ssim", "protocol": "face96", "column": "ssim", "direction": "up"}
    record = {
        "schema": 1,
        "method": {"name": "syncdiff", "options": {"variant": "rnd+prv-", "sampler": None, "steps": None, **options}},
        "dataset": {"name": "pocket", "split": "ablation"},
        "summary": [{**names, "mean": mean, "ci95": [mean - 0.01, mean + 0.01], "n": 4, "failed": 0}],
        "caveats": [],
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def found(joined: JoinedTable) -> dict[str, float | None]:
    """Row -> its SSIM."""
    (panel,) = joined.panels
    place = [column.key for column in panel.columns].index("ssim")
    return {row.label: row.cells[place].mean for row in panel.rows if row.was_run}


def test_it_is_asked_for_by_name_and_says_what_was_not_run(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", 0.8, variant="scheduled")
    out = CliRunner().invoke(tables, ["--table", "beyond", str(folder)]).output
    assert "## Beyond. What the paper did not try" in out and "### pocket" in out
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in out.splitlines() if row.startswith("|")]
    lines = {row[0]: row[1:] for row in rows if row[0]}
    assert lines["scheduled"][:3] == ["ours", "", "0.800 ± 0.010"]
    assert lines["sync-loss"] == ["not run", *[""] * 6]
    assert "paper" not in {row[1] for row in rows}
    assert "not test" not in out and "orientation" not in out and "delta" not in out


def test_the_papers_tables_are_all_that_is_shown_unasked() -> None:
    out = CliRunner().invoke(tables, []).output
    assert "## Table 6." in out and "Beyond" not in out
    assert paper.table("beyond").heading == "Beyond"


def test_every_run_stands_in_its_own_row_and_no_papers(tmp_path: Path) -> None:
    """A variant beyond the paper is not SyncDiff; SyncDiff by another solver is, to the paper's tables."""
    itself = run(tmp_path / "itself", 0.1)
    solved = run(tmp_path / "solved", 0.2, sampler="dpmsolver++", steps=20)
    few = run(tmp_path / "few", 0.3, variant="few-step", steps=2)
    temporal = run(tmp_path / "temporal", 0.4, variant="temporal")
    random = run(tmp_path / "random", 0.5, variant="rnd", sampler="dpmsolver++", steps=20)
    runs = find_runs([itself, solved, few, temporal])
    assert found(join(paper.table("beyond"), runs)) == {
        "SyncDiff": 0.1,
        "SyncDiff, DPM-Solver++ 20": 0.2,
        "few-step, 2 steps": 0.3,
        "temporal": 0.4,
    }
    assert found(join(paper.table(1), find_runs([solved, few, temporal]))) == {"SyncDiff": 0.2}
    assert found(join(paper.table(3), find_runs([few, temporal, random]))) == {"RND": 0.5}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('name = "beyond"', 'name = "8"', "name: must be lower-case letters and hyphens"),
        ('key = "scheduled"', 'key = "scheduled"\nvalues = {}', r"rows\[1\]: values: a table with a name"),
    ],
)
def test_a_file_out_of_order_is_named_with_its_key(old: str, new: str, problem: str) -> None:
    files = toml_files(PACKAGE, "paper")
    files["beyond.toml"] = files["beyond.toml"].replace(old.encode(), new.encode(), 1)
    with pytest.raises(UsageError, match=rf"pkg/beyond\.toml: {problem}"):
        paper.parse_tables("pkg", files)
