"""Plugins that others wrote still run: README's five-line method, one with all hooks, a metric and a data set.

Their files in tests/data/third_party are as their authors left them. A change here that needs a change there breaks
somebody's package: keep the old name working instead.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syncdiff_bench import load_dataset, load_run, registry
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Metric, Pair
from syncdiff_bench.media.reading import read_media

PACKAGES = Path(__file__).parents[1] / "data" / "third_party"
WRITTEN = {
    "mirror": "726a0c7f34b9fb31627aa247ccc2087b8f37a8d843bc1a5b5ee6de1e1bc6ecfa",
    "jaw": "92753947707ee5373e96e997ccd811b6d81691a43c521df0beadd62c24faf373",
    "jitter": "5819b0d131f36ab2aa831e1afe8419b599c8b9f1e7385500d77860213da02482",
    "listed": "c43326c42cfdb62823faa7a76c480d02e7580b7982f73cfad29226ee9e0d9af8",
}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for package in WRITTEN:
        monkeypatch.syspath_prepend(str(PACKAGES / package))
    importlib.invalidate_caches()
    registry.registrations.cache_clear()
    yield
    for package in WRITTEN:
        sys.modules.pop(package, None)
    registry.registrations.cache_clear()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two clips of pocket in the layout of `listed`."""
    folder = tmp_path / "data"
    folder.mkdir()
    pocket = load_dataset("pocket")
    rows = [["split", "video", "speaker", "transcript"]]
    for number, clip_id in enumerate(pocket.clip_ids("test")[:2]):
        clip = pocket.clip(clip_id)
        assert clip.path is not None
        shutil.copy(clip.path, folder / f"{number}.mp4")
        rows.append(["test", f"{number}.mp4", f"speaker {number}", "Bin blue at F two now"])
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


@pytest.mark.parametrize("package", WRITTEN)
def test_they_are_as_their_authors_left_them(package: str) -> None:
    source = (PACKAGES / package / f"{package}.py").read_bytes()
    assert hashlib.sha256(source).hexdigest() == WRITTEN[package]


def jitter(generated: Path, reference: Path) -> float:
    """The metric's definition, from the files alone."""
    moved, should = (np.diff(read_media(path).frames.astype(float), axis=0) for path in (generated, reference))
    return float(np.abs(moved - should).mean())


def test_they_run_together(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = tmp_path / "jaw.bin"
    checkpoint.write_bytes(b"chin")
    arguments = ["run", "--method", "mirror", "--method", "jaw", "--dataset", "listed", "--data-root", str(data)]
    settings = [
        "--set",
        "jaw.drop=5",
        "--set",
        f"jaw.checkpoint={checkpoint}",
        "--metrics",
        "jitter,psnr",
        "--out",
        "o",
    ]
    assert main([*arguments, *settings]) == 0, capsys.readouterr().err
    for method in ("mirror", "jaw"):
        done = load_run(Path("o", method))
        assert {(score.clip, score.metric, score.error) for score in done.scores} == {
            (clip, metric, None) for clip in ("0", "1") for metric in ("jitter", "psnr")
        }
        for score in (score for score in done.scores if score.metric == "jitter"):
            expected = jitter(Path("o", method, "videos", f"{score.clip}.mp4"), data / f"{score.clip}.mp4")
            assert score.values["jitter"] == pytest.approx(expected, abs=1e-9)
    for clip in ("0", "1"):
        mirrored = read_media(Path("o", "mirror", "videos", f"{clip}.mp4")).frames
        np.testing.assert_array_equal(mirrored, read_media(data / f"{clip}.mp4").frames[:, :, ::-1])

    recorded = json.loads(Path("o", "jaw", "run.json").read_text(encoding="utf-8"))
    assert recorded["method"]["options"]["drop"] == 5
    assert hashlib.sha256(b"chin").hexdigest() in json.dumps(recorded)
    told = json.dumps(recorded["caveats"])
    assert "the chin was moved, not drawn" in told
    assert "jaw runs a model trained on lrs2, not on listed" in told


def test_the_cost_of_one_is_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--method", "jaw", "--dataset", "listed", "--data-root", str(data), "--dry-run"]) == 0
    assert "FLOP" in capsys.readouterr().out


@pytest.mark.parametrize("package", WRITTEN)
def test_they_pass_the_conformance_suite(package: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--data-root", str(data)] if package == "listed" else []
    assert main(["plugin", "check", package, *root]) == 0, capsys.readouterr().out


def test_older_names_of_the_contract_mean_the_same(data: Path) -> None:
    class Old(Metric[Any]):
        needs = frozenset({"audio"})

    assert (Old.requires, Metric.requires) == ({"audio"}, {"reference"})
    clip = Clip("a", "test", data / "none.mp4")
    pair = Pair(Clip("a", "test", audio_from=clip), clip)
    assert pair.truth is pair.target is clip
    assert pair.generated.sound is clip
