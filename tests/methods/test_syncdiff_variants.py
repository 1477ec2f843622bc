"""The paper's sizes and every variant of its tables, without allocating a weight."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.paper import package_tables
from syncdiff_bench.training.loader import read_plan
from syncdiff_methods.syncdiff.config import BEYOND, ITSELF, VARIANTS, AutoencoderConfig, SyncDiffConfig, shipped_config
from syncdiff_methods.syncdiff.method import SyncDiff, SyncDiffOptions
from syncdiff_methods.syncdiff.model import Denoiser, SyncDiffModel

# Parameters of the paper's UNet with so many input channels (docs/spec/syncdiff.md#variants).
UNET = {7: 546_204_675, 9: 546_209_283, 10: 546_211_587, 14: 546_220_803, 19: 546_232_323}
CHANNELS = {"rnd": 9, "prv": 9, "prv-": 7, ITSELF: 10, "np5": 14, "np10": 19, "nf3": 10, "nf6": 10, "nf12": 10}
FROZEN = {"nf3": 3, "nf6": 6, ITSELF: 9, "nf12": 12}


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("variant", "channels"), CHANNELS.items())
def test_unet_of_every_variant_at_the_papers_size(variant: str, channels: int) -> None:
    config = shipped_config("paper", variant)
    assert config.variant == variant
    assert config.condition.channels == channels
    with torch.device("meta"):
        denoiser = Denoiser(config)
    assert count(denoiser.unet) == UNET[channels]
    assert (count(denoiser) - count(denoiser.unet)) == (4 if "bottleneck" in config.condition.previous else 0)


def test_deepspeech_variant_has_difftalks_context() -> None:
    """9 channels and a context of 128: the parameters of DiffTalk's UNet."""
    config = shipped_config("paper", "ds")
    with torch.device("meta"):
        assert count(Denoiser(config).unet) == 530_152_963


def test_the_defaults_are_the_papers() -> None:
    paper = shipped_config("paper")
    assert paper == SyncDiffConfig()
    assert paper.latent_size == 64
    assert paper.autoencoder == AutoencoderConfig()  # VQ-f4, whose tensors test_compvis_names.py compares


@pytest.mark.parametrize(("variant", "frozen"), FROZEN.items())
def test_frozen_layers(variant: str, frozen: int) -> None:
    """A Base layer has 7,087,872 parameters, the final norm 1,536."""
    with torch.device("meta"):
        audio = SyncDiffModel(shipped_config("paper", variant)).audio
    trained = sum(p.numel() for p in audio.encoder.parameters() if p.requires_grad)
    assert trained == (12 - frozen) * 7_087_872 + (1_536 if frozen < 12 else 0)
    assert all(p.requires_grad for p in audio.filter.parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize("size", ["paper", "pocket"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_differ_from_the_size_in_what_they_name(size: str, variant: str) -> None:
    base, config = asdict(shipped_config(size)), asdict(shipped_config(size, variant))
    assert config["variant"] == variant
    changed = {key for key in base if base[key] != config[key]}
    others: dict[str, set[str]] = {"nf": {"audio"}, "ds": {"condition", "audio"}, "sc": set(), "sy": set()}
    allowed = others.get(variant[:2], {"condition"})
    assert changed == (set() if variant == ITSELF else allowed | {"variant"})


def test_every_row_of_the_papers_tables_has_its_variant() -> None:
    rows = [row for table in package_tables("syncdiff_leaderboards") if table.of_paper for row in table.rows]
    named = {dict(row.system.options).get("variant") for row in rows if row.system.method == "syncdiff"} - {None}
    assert named == set(VARIANTS) - {ITSELF, *BEYOND}


def test_a_variants_training_has_a_name_of_its_own() -> None:
    plan = read_plan("syncdiff/pocket", variant="prv-")
    assert plan.name == "pocket-prv-"
    assert plan.options["model"]["variant"] == "prv-"
    assert plan.options["area_weight"] == read_plan("syncdiff/pocket").options["area_weight"]


def test_unknown_variants_are_named() -> None:
    with pytest.raises(UsageError, match=r"no variant 'prv2'; did you mean 'prv'\?"):
        read_plan("syncdiff/pocket", variant="prv2")
    with pytest.raises(UsageError, match="no SyncDiff variant 'np7'; variants: ds, rnd"):
        shipped_config("paper", "np7")


# ------------------------------------------------------------------------------- the variant in a run


def model_folder(folder: Path, variant: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(asdict(shipped_config("pocket", variant))))
    return folder


def test_a_run_records_its_models_variant(tmp_path: Path) -> None:
    assert SyncDiff(SyncDiffOptions("pocket")).options.variant == ITSELF
    mine = model_folder(tmp_path / "mine", "rnd")
    assert SyncDiff(SyncDiffOptions(model=str(mine))).options.variant == "rnd"


def test_a_sibling_of_the_variant_is_found(tmp_path: Path) -> None:
    mine, prv = model_folder(tmp_path / "mine", ITSELF), model_folder(tmp_path / "mine-prv", "prv")
    options = SyncDiff(SyncDiffOptions(model=str(mine), variant="prv")).options
    assert (options.model, options.variant) == (str(prv), "prv")
    with pytest.raises(UsageError, match=r"is variant rnd\+prv-, not nf3, and there is no .*mine-nf3"):
        SyncDiff(SyncDiffOptions(model=str(mine), variant="nf3"))


def test_the_short_training_is_pockets_but_for_its_budget_and_its_encoder() -> None:
    short, pocket = read_plan("syncdiff/pocket-short"), read_plan("syncdiff/pocket")
    assert (short.settings.steps, short.settings.batch_size) == (1600, 16)
    assert replace(short.settings, steps=2800, batch_size=32, ema_decay=0.998, sample_every=5000) == pocket.settings
    assert short.options["encoder"] == "pocket"
    model = {**short.options["model"], "name": "pocket"}
    model["audio"] = {**model["audio"], "frozen_layers": 0}
    assert model == pocket.options["model"]
    frozen = {
        variant: read_plan("syncdiff/pocket-short", variant=variant).options["model"]["audio"]["frozen_layers"]
        for variant in ("nf3", "nf6", "", "nf12")
    }
    assert frozen == {"nf3": 0, "nf6": 1, "": 2, "nf12": 3}


@pytest.mark.parametrize("like", ['"../other.toml"', '"syncdiff/gone"', "3"])
def test_a_config_is_like_one_beside_it(tmp_path: Path, like: str) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(f"like = {like}\n")
    with pytest.raises(UsageError, match="like must name another config beside this one"):
        read_plan(str(mine))


def test_a_config_that_is_like_none_is_named(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('like = "gone.toml"\n')
    with pytest.raises(UsageError, match=r"gone\.toml: cannot be read"):
        read_plan(str(mine))


def test_a_config_is_like_one_that_ships(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('like = "syncdiff/pocket-short"\n[training]\nsteps = 7\n')
    plan, short = read_plan(str(mine), variant="nf3"), read_plan("syncdiff/pocket-short", variant="nf3")
    assert plan.name == "mine-nf3"
    assert replace(plan.settings, steps=1600) == short.settings
    assert (plan.trainer, plan.data, plan.options) == (short.trainer, short.data, short.options)


def test_configs_that_are_like_each_other_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('like = "b.toml"\n')
    (tmp_path / "b.toml").write_text('like = "a.toml"\n')
    for name in ("a", "b"):
        with pytest.raises(UsageError, match=r"is like [ab]\.toml, which is like itself"):
            read_plan(str(tmp_path / f"{name}.toml"))
