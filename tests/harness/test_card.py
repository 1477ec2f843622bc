"""`report --card`: what a card of a run says, and that it stays a document whatever the run is called."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from huggingface_hub import ModelCard

from syncdiff_bench.cli import main
from syncdiff_bench.report.card import cards
from syncdiff_bench.report.leaderboard import boards
from syncdiff_bench.runs.directory import load_run

SVG = "{http://www.w3.org/2000/svg}"
NOISE = "runs/toy-test/toy-noise"
NASTY = "<b>&\"'*: \x1b[31mred/../../etc\n- a: !!python/object:os.system"


def shown(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_a_card_has_every_number_of_run_json(toy_runs: Path, tmp_path: Path) -> None:
    """JSON, SVG and YAML hold to run.json, read by parsers of their own."""
    assert main(["report", str(toy_runs / NOISE), "--card", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy-noise.json", "toy-noise.svg", "toy-noise.yaml"]
    manifest = json.loads((toy_runs / NOISE / "run.json").read_text(encoding="utf-8"))
    card = json.loads((tmp_path / "toy-noise.json").read_text(encoding="utf-8"))
    summary = manifest["summary"]
    assert summary
    assert [(one["column"], one["protocol"], one["mean"], one["ci95"], one["n"], one["failed"]) for one in summary] == [
        (one["column"], one["protocol"], one["mean"], one["ci95"], one["n"], one["failed"]) for one in card["results"]
    ]
    assert card["dataset"]["clips"] == len(manifest["dataset"]["clips"])
    assert card["dataset"]["fingerprint"] == manifest["dataset"]["fingerprint"]
    assert (card["versions"], card["hardware"]) == (manifest["versions"], manifest["hardware"])
    texts = shown((tmp_path / "toy-noise.svg").read_text(encoding="utf-8"))
    assert texts[0] == "toy-noise"
    for one in summary:
        assert any(text.startswith(f"{one['mean']:.{one['decimals']}f}") for text in texts), one["column"]


def test_the_hub_reads_the_yaml(toy_runs: Path) -> None:
    (card,) = cards([load_run(toy_runs / NOISE)])
    read = ModelCard(card.yaml, ignore_metadata_errors=False).data.eval_results
    assert read is not None
    numbers = {one["column"]: one["mean"] for one in json.loads(card.json)["results"] if one["mean"] is not None}
    assert {one.metric_type: one.metric_value for one in read} == numbers
    assert {one.dataset_revision for one in read} == {json.loads(card.json)["dataset"]["fingerprint"]}


def test_doubts_are_on_the_card(toy_runs: Path) -> None:
    """Two speakers decide nothing: each number says so, and so does the picture."""
    run = load_run(toy_runs / NOISE)
    texts = [one.text for one in run.caveats]
    assert texts
    (card,) = cards([run])
    assert all(set(texts) & set(one["caveats"]) for one in json.loads(card.json)["results"])
    said = " ".join(shown(card.svg))
    notes = boards([run])[0].table.notes
    assert len(notes) > 1
    assert [note.text for note in notes if " ".join(note.text.split()) not in said] == []


def test_names_are_names_of_files_and_stay_in_their_place(toy_runs: Path) -> None:
    run = load_run(toy_runs / NOISE)
    one, two, three = cards([replace(run, label=NASTY), replace(run, label="a b"), replace(run, label="A/b")])
    assert [card.name for card in (two, three)] == ["a-b", "A-b-2"]
    assert Path(one.name).name == one.name
    assert set(one.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert "\x1b" not in one.svg + one.json
    assert shown(one.svg)[0].startswith("<b>&\"'*:")
    (front,) = [part for part in yaml.safe_load_all(one.yaml) if part]
    assert front["model-index"][0]["name"] == NASTY


def test_no_folder_of_this_machine_is_passed_on(toy_runs: Path) -> None:
    run = load_run(toy_runs / NOISE)
    method = {**run.manifest["method"], "options": {"model": "/home/me/secret/model", "steps": 4, "given": "a/b"}}
    (card,) = cards([replace(run, manifest={**run.manifest, "method": method})])
    assert json.loads(card.json)["method"]["options"] == {"model": "model", "steps": 4, "given": "a/b"}
    assert "secret" not in card.json + card.svg + card.yaml


def test_a_place_that_cannot_be_written_is_one_line(
    toy_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["report", str(toy_runs / NOISE), "--card", str(tmp_path / "file")]) == 2
    assert "--card" in capsys.readouterr().err
