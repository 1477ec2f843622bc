"""`syncdiff-bench paper tables` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from syncdiff_bench import registry
from syncdiff_bench.caveats import Counted
from syncdiff_bench.cli.paper import tables
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report import paper
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.plan import Selection, make_plan


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(tables, [str(argument) for argument in arguments])


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    names = {"metric": "ssim", "protocol": "face96", "column": "ssim", "direction": "up"}
    record = {
        "schema": 1,
        "method": {"name": "syncdiff", "options": {}},
        "dataset": {"name": "lrs3"},
        "summary": [{**names, "mean": 0.8, "ci95": [0.79, 0.81], "n": 4, "failed": 0}],
        "caveats": [],
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def test_table_1_without_a_run() -> None:
    result = invoke("--table", "1", "--format", "markdown")
    assert result.exit_code == 0
    assert "## Table 1." in result.output
    assert "### LRS2" in result.output
    assert "### LRS3" in result.output
    assert "| SadTalker | paper |     29.27 |" in result.output
    assert "± 0" not in result.output


def test_all_tables_by_default() -> None:
    result = invoke()
    assert [f"## Table {number}." in result.output for number in range(1, 7)] == [True] * 6


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"steps": 4, "eta": None}, "options steps=4"),
        ({"model": "/mine", "batch": 3, "compile": "default"}, ""),
    ],
)
def test_options_that_are_not_the_methods_own_get_a_footnote(
    run_folder: Path, options: dict[str, Any], note: str
) -> None:
    """Where the model lies and how many clips go together is nobody's business."""
    record = json.loads((run_folder / "run.json").read_text())
    record["method"]["options"] = {"variant": "rnd+prv-", **options}
    (run_folder / "run.json").write_text(json.dumps(record))
    output = invoke("--table", "1", run_folder).output
    assert (f"- SyncDiff on lrs3: {note}\n" in output) if note else "SyncDiff on lrs3" not in output


def test_a_model_of_other_data_is_a_footnote(run_folder: Path) -> None:
    record = json.loads((run_folder / "run.json").read_text())
    said = Counted("foreign-model", "syncdiff runs a model trained on pocket (drawn faces), not on lrs3")
    record["method"]["options"] = {"variant": "rnd+prv-", "model": "pocket"}
    record["caveats"] = [said.to_json()]
    (run_folder / "run.json").write_text(json.dumps(record))
    output = invoke("--table", "1", run_folder).output
    assert output.count(said.sentence) == 1
    assert f"- SyncDiff on lrs3: {said.sentence}\n" in output


def test_the_judge_that_trained_a_method_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def recorded() -> dict[str, Any]:
        plan = make_plan(Selection(("static",), "pocket", limit=1), with_metrics=False)
        return plan.runs[0].identity.to_json()

    before = recorded()
    monkeypatch.setattr(registry.load_class("method", "static"), "trained_against", frozenset({"wer", "lse"}))
    after = recorded()
    assert after["method"] == {**before["method"], "trained_against": ["lse", "wer"]}
    assert "trained_against" not in before["method"]
    assert Identity.from_json(after).trained_against == {"lse", "wer"}
    assert Identity.from_json(after) == Identity.from_json(before)


def test_built_in_rivals_say_what_the_papers_table_says() -> None:
    declared = {row.system.method: row.system.trained_against for row in paper.table(1).rows}
    assert {name: registry.load_class("method", name).trained_against for name in declared} == declared
    assert declared["wav2lip"] and declared["talklip"]


def test_runs_in_a_row(run_folder: Path) -> None:
    result = invoke("--table", "1", "--dataset", "lrs3", run_folder, run_folder.parent)
    assert result.exit_code == 0
    assert "0.800 ± 0.010" in result.output
    assert "-0.046" in result.output  # 0.800 - 0.846
    assert "### LRS2" not in result.output


def test_out_file(tmp_path: Path) -> None:
    out = tmp_path / "new" / "table3.tex"
    result = invoke("--table", "3", "--format", "latex", "--out", out)
    assert result.exit_code == 0
    assert out.read_text(encoding="utf-8").count(r"\begin{table*}") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "7"], "there is no table 7; known tables: 1, 2, 3, 4, 5, 6"),
        (["--table", "1", "--dataset", "lrs4"], "dataset lrs4"),
        (["--table", "1", "no/such/folder"], "run folder no/such/folder does not exist"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], message: str) -> None:
    error = invoke(*arguments).exception
    assert isinstance(error, UsageError)
    assert message in str(error)
    assert "\n" not in str(error)


def test_an_out_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = invoke("--table", "1", "--out", tmp_path / "file" / "x.md").exception
    assert isinstance(error, UsageError)
    assert "cannot be written" in str(error)
