"""Damaged TOML and models: external adapters, recipes, training configs, tables, catalogues, configs of models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reading import damaged_json, damaged_toml, read_all, short_and_long

from syncdiff_bench.documents import read_toml
from syncdiff_bench.errors import UsageError
from syncdiff_bench.estimates.times import Times
from syncdiff_bench.options import options_from_values
from syncdiff_bench.origins import origin_of
from syncdiff_bench.registry import load_class
from syncdiff_bench.report.anchors import parse_anchors
from syncdiff_bench.report.paper import parse_tables
from syncdiff_bench.reproduction.recipe import read_recipe
from syncdiff_bench.training import folder as training_folder
from syncdiff_bench.training.cache import TensorCache
from syncdiff_bench.training.loader import read_plan, shipped_configs, title_of
from syncdiff_bench.weights.catalog import parse_catalogue
from syncdiff_bench.weights.sources import _validator
from syncdiff_leaderboards import __file__ as leaderboards
from syncdiff_methods.external.method import External, ExternalOptions
from syncdiff_methods.model_folder import part_files
from syncdiff_methods.syncdiff.model import SyncDiffModel, read_autoencoder
from syncdiff_metrics import experts

BOARDS = Path(leaderboards).parent


@short_and_long
def test_readers_of_external_adapters(tmp_path: Path, tries: int) -> None:
    (tmp_path / "weights.bin").write_bytes(b"x")
    template = {
        "command": ["python", "-c", "print()", "{video}", "{audio}", "{output}"],
        "title": "Mine",
        "requires": ["weights.bin"],
        "before": [["python", "{settled}"]],
        "packages": ["json"],
        "picture": "left half",
        "audio_padding": 0.5,
        "video_padding": 3,
        "spare_frames": 2,
        "stretched": True,
        "trained_against": ["lse"],
        "no_face": ["none"],
        "caveats": ["mine"],
        "links": {"weights": "weights.bin"},
        "files": {"clip.yaml": "{video}"},
        "settings": {"steps": 3, "settled": {"a": ["--a", "{steps}"], "b": []}},
        "about": {"repository": "example.org/x", "revision": "0123456789"},
        "timeout": 30.5,
        "video_encoding": "crf23",
        "environment": {"A": "{seed}", "B": ""},
    }

    def read(file: Path) -> None:
        method = External(ExternalOptions(file))
        method.placed.missing()
        method.weights_used()
        assert method.name.startswith("external-")
        str(method.title).encode()

    read_all("external adapters", damaged_toml(template), tmp_path / "mine.toml", read, tries)


@short_and_long
def test_readers_of_recipes(tmp_path: Path, tries: int) -> None:
    whole = read_toml(BOARDS / "reproduction" / "pocket.toml")
    read_all("recipes", damaged_toml(whole), tmp_path / "mine.toml", read_recipe, tries)


@short_and_long
def test_readers_of_training_configs(tmp_path: Path, tries: int) -> None:
    config = shipped_configs()["syncdiff/pocket"]
    whole = read_toml(config)
    whole["like"] = "syncdiff/pocket"

    def read(file: Path) -> None:
        title_of(file)
        plan = read_plan(str(file), variant="prv")
        try:
            options = load_class("trainer", plan.trainer).Options
        except UsageError as error:
            assert repr(plan.trainer)[1:-1] in str(error) or len(plan.trainer) > 80
        else:
            options_from_values(options, plan.options, f"{file}: {plan.trainer}")

    read_all("training configs", damaged_toml(whole), tmp_path / "mine.toml", read, tries)


@short_and_long
def test_readers_of_tables(tmp_path: Path, tries: int) -> None:
    readers: dict[str, Callable[[Path], Any]] = {
        "paper": lambda file: parse_tables(str(file), {file.name: file.read_bytes()}),
        "anchors": lambda file: parse_anchors(str(file), file.read_bytes()),
    }
    for kind, reader in readers.items():
        whole = read_toml(min((BOARDS / kind).glob("*.toml")))
        read_all(f"{kind} of leaderboards", damaged_toml(whole), tmp_path / f"{kind}.toml", reader, tries)


@short_and_long
def test_readers_of_catalogues(tmp_path: Path, tries: int) -> None:
    index = {"index": {"distribution": "x", "version": "1", "member": "x/y.pth"}}
    entry = {"name": "a", "file": "a.pth", "description": "A", "licence": "MIT", "homepage": "http://a", "size": 3}
    more = {"sha256": "a" * 64, "used_by": ["lse"], "auto": True, "sources": [{"url": "http://a/a.pth"}, index]}
    damaged = damaged_toml({"weights": [{**entry, **more}, {**entry, "name": "b"}]})
    file = tmp_path / "weights.toml"
    read_all("catalogues", damaged, file, lambda _file: parse_catalogue(file.read_bytes()), tries, name="weights")


@short_and_long
def test_readers_of_models(tmp_path: Path, tries: int) -> None:
    model = SyncDiffModel.locate("pocket")
    file = tmp_path / "config.json"

    def read_config(_file: Path) -> None:
        SyncDiffModel.read_config(tmp_path)
        part_files(tmp_path, SyncDiffModel.parts)

    read_all("config.json", damaged_json((model / "config.json").read_bytes()), file, read_config, tries)
    trained = {"schema": 1, "dataset": "pocket", "drawn": True, "boxes": "file 1a2b3c4d", "training": {"steps": 2800}}
    file = tmp_path / "trained.json"
    read_all("trained.json", damaged_json(json.dumps(trained).encode()), file, lambda _file: origin_of(tmp_path), tries)
    config = json.loads((model / "config.json").read_bytes())
    known = {"autoencoder": config["autoencoder"], "frame_size": 64}
    damaged = damaged_json(json.dumps(known).encode())
    file = tmp_path / "autoencoder.json"
    read_all("autoencoder.json", damaged, file, lambda _file: read_autoencoder(tmp_path), tries)


@short_and_long
@pytest.mark.parametrize(("name", "reader"), [("syncnet", "load_expert_syncnet"), ("lipreader", "load_expert_vsr")])
def test_readers_of_experts(
    tmp_path: Path, name: str, reader: str, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the tensors, that a config of any size costs nothing."""
    shutil.copy(experts.POCKET / f"{name}.json", tmp_path)
    monkeypatch.setattr(experts, "_filled", lambda *_arguments: None)
    monkeypatch.setattr("syncdiff_bench.networks.syncnet.SyncNet", lambda _config: None)
    monkeypatch.setattr("syncdiff_bench.networks.avhubert.decoder.AVHubertSeq2Seq", lambda _config: None)
    damaged = damaged_json((experts.POCKET / f"{name}.json").read_bytes())
    load = getattr(experts, reader)
    read_all(f"{name}.json", damaged, tmp_path / f"{name}.json", lambda _file: load(tmp_path), tries)


@short_and_long
def test_readers_of_trainings(tmp_path: Path, tries: int) -> None:
    facts = {
        "schema": 1,
        "task": "SyncDiffTask",
        "data": {"dataset": "pocket", "options": {}, "split": "train", "validation_split": "val"},
        "training": {"steps": 100, "batch_size": 4},
        "options": {"model": {"name": "pocket"}},
        "versions": {"torch": "2"},
    }
    (tmp_path / "model").mkdir()
    damaged = damaged_json(json.dumps(facts).encode())

    def read(file: Path) -> None:
        training_folder.check(file.parent, facts)

    read_all("training.json", damaged, tmp_path / "training.json", read, tries, name=tmp_path.name)
    cache = TensorCache(tmp_path / "cache", "latents", "train", {"frames": "64"}, ["a"], lambda _clip: {}, 1)
    (tmp_path / "cache").mkdir()
    kept = damaged_json(json.dumps({"schema": 1, "facts": {"frames": "64"}}).encode())
    read_all("cache.json", kept, tmp_path / "cache" / "cache.json", lambda _file: cache.missing(), tries, name="cache")


@short_and_long
def test_what_is_only_remembered_costs_nothing(tmp_path: Path, tries: int) -> None:
    """Times of earlier work, and the note of a broken-off download: damaged ones are passed over."""
    times = Times(tmp_path / "times", "cpu")
    with times.timed("a", "train", "x", 3):
        pass
    (file,) = (tmp_path / "times").glob("*.json")

    def seconds(_file: Path) -> None:
        assert (times.seconds_each("train", "x") or 1) > -1e300

    read_all("times", damaged_json(file.read_bytes()), file, seconds, tries)
    note = tmp_path / "w.part.resume"
    kept = damaged_json(json.dumps({"url": "a" * 64, "validator": '"x"'}).encode())
    read_all("notes of downloads", kept, note, lambda _file: _validator(tmp_path / "w.part", "http://a"), tries)
