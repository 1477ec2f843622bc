"""The trained models of the repository: one autoencoder for all of them, and the very weights behind the tables."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from syncdiff_bench.training.loader import read_plan, shipped_configs
from syncdiff_bench.weights.digests import sha256_of
from syncdiff_methods.difftalk.method import DiffTalk, DiffTalkOptions
from syncdiff_methods.difftalk.model import DiffTalkModel

ROOT = Path(__file__).resolve().parents[2]


def test_an_autoencoder_is_shared_and_saved_as_ones_own(tmp_path: Path) -> None:
    method, folder = DiffTalk(DiffTalkOptions(model="pocket")), DiffTalkModel.shipped / "pocket"
    recorded = json.loads((ROOT / "leaderboards" / "pocket" / "manifests" / "difftalk" / "seed-0.json").read_text())
    known = {one["name"]: one["sha256"] for one in recorded["method"]["weights"]}
    assert {one.name: one.sha256 for one in method.weights_used()} == known

    assert not (folder / "autoencoder.safetensors").exists()
    model = DiffTalkModel.from_pretrained(folder)
    model.save_pretrained(tmp_path / "copy")
    assert (tmp_path / "copy" / "autoencoder.safetensors").is_file()
    assert "autoencoder_from" not in json.loads((tmp_path / "copy" / "config.json").read_text())
    again = DiffTalkModel.from_pretrained(tmp_path / "copy").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_no_weights_lie_in_the_repository_twice() -> None:
    files = [file for top in ("methods", "metrics", "leaderboards") for file in (ROOT / top).rglob("*.safetensors")]
    digests = [sha256_of(file) for file in files]
    assert len(files) > 5
    assert len(set(digests)) == len(digests)


def test_training_configs_ship_and_can_be_read() -> None:
    plans = {name: read_plan(name) for name in shipped_configs()}
    for trainer in ("acoustics", "difftalk", "lipreader", "syncdiff-autoencoder", "syncnet", "wav2lip"):
        size = trainer.removeprefix("syncdiff-")
        assert plans[f"{trainer}/pocket-{size}"].trainer == trainer
    assert plans["syncdiff/pocket"].trainer == "syncdiff"
