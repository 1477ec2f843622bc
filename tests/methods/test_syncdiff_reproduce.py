"""Tables 3 and 4 end to end on two clips of pocket: networks of a few thousand weights, trained for two steps."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from syncdiff_bench.cli import main
from syncdiff_methods.syncdiff.config import shipped_config

TRAINING = """
[data]
dataset = "pocket"
split = "test"
validation_split = "test"
[training]
steps = 2
batch_size = 2
learning_rate = 1e-3
ema_decay = 0
sample_every = 0
"""
AUTOENCODER = f"""
trainer = "syncdiff-autoencoder"
{TRAINING}
[options]
frame_size = 48
every = 16
max_clips = 4
quantise_from = 1
start = "average-pooling"
autoencoder = {{ channels = [8, 8, 8], layers_per_block = 1, codes = 256, norm_groups = 1, mid_attention = false }}
"""
# A rate at which two steps lead away from the zeros that the output layers start as: else no seed shows.
SYNCDIFF = f"""
trainer = "syncdiff"
{TRAINING.replace("1e-3", "3e-2")}
[options.model]
name = "tiny"
frame_size = 48
unet = {{ channels = [16, 16], attention = [false, true], layers_per_block = 1, head_dim = 16, norm_groups = 8 }}
diffusion = {{ prediction = "sample", steps = 2 }}
[options.model.audio]
layers = 1
dim = 16
ffn_dim = 32
heads = 2
position_kernel = 4
position_groups = 2
frozen_layers = 0
window = 4
[variants]
rnd    = {{ options.model = {{ variant = "rnd", condition = {{ previous = "none", identity_at_test = "previous" }} }} }}
prv    = {{ options.model = {{ variant = "prv", condition.identity = false, condition.previous = "full" }} }}
"prv-" = {{ options.model = {{ variant = "prv-", condition.identity = false }} }}
"""
RECIPE = """
schema = 1
dataset = "pocket"
split = "test"
seeds = [0, 1]
metrics = ["ssim"]
[models.autoencoder]
config = "autoencoder.toml"
[models.syncdiff]
config = "tiny.toml"
needs = { "options.autoencoder" = "autoencoder" }
[methods.gt]
one_seed = true
[methods.syncdiff]
model = "syncdiff"
takes = "model"
[probe]
clips = 2
phones = ["n"]
videos = 2
"""
REPRODUCE = ["paper", "reproduce", "--recipe", "recipe.toml", "--limit", "2", "--out", "out", "--device", "cpu"]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    for name, text in (("autoencoder", AUTOENCODER), ("tiny", SYNCDIFF), ("recipe", RECIPE)):
        Path(f"{name}.toml").write_text(text)


@pytest.mark.slow
@pytest.mark.usefixtures("recipe")
def test_every_reference_frame_is_trained_generated_scored_and_probed(capsys: pytest.CaptureFixture[str]) -> None:
    tables = ["--table", "3", "--table", "4"]
    assert main([*REPRODUCE, *tables, "--dry-run", "--train"]) == 0
    planned = r"\(trial\), 1 micro-batch of \d+, over 1 process: syncdiff-bench train tiny\.toml --variant rnd"
    assert re.search(planned, " ".join(capsys.readouterr().out.split()))
    assert main([*REPRODUCE, *tables, "--train"]) == 0

    trained = {
        path.parents[1].name: json.loads(path.read_text()) for path in Path("training").glob("*/model/config.json")
    }
    assert {name: config["variant"] for name, config in trained.items()} == {
        "tiny": "rnd+prv-",
        "tiny-rnd": "rnd",
        "tiny-prv": "prv",
        "tiny-prv-": "prv-",
    }
    for config in trained.values():
        assert config["condition"] == asdict(shipped_config("pocket", config["variant"]))["condition"]

    frame = pd.read_csv("out/tables/table3.csv")
    ours = frame[(frame.metric == "ssim") & frame.ours.notna()].set_index("row")
    assert set(ours.index) == {"RND", "PRV", "PRV⁻", "RND+PRV⁻"}
    assert (ours.n == 4).all()
    for row, job in (("RND", "syncdiff-rnd"), ("RND+PRV⁻", "syncdiff")):
        seeds = [json.loads(Path(f"out/{job}/seed-{seed}/run.json").read_text())["summary"][0] for seed in (0, 1)]
        assert seeds[0]["mean"] != seeds[1]["mean"]
        # Clips of one size and length weigh alike, so that pooling the seeds is their mean.
        assert ours.ours[row] == pytest.approx((seeds[0]["mean"] + seeds[1]["mean"]) / 2, abs=1e-3)

    variance = pd.read_csv("out/tables/table4.csv")
    assert set(variance[variance.ours.notna()].row) == {"RND", "RND+PRV⁻"}
    assert (variance.ours.dropna() > 0).all()


@pytest.mark.usefixtures("recipe")
def test_a_dry_run_of_a_table_says_what_trains_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*REPRODUCE, "--table", "5", "--dry-run"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "blank: syncdiff: there is no tiny yet; what makes it: syncdiff-bench train autoencoder.toml &&" in out
    assert "syncdiff-bench train tiny.toml --variant np10" in out
