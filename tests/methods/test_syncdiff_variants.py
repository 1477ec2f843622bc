"""The paper's sizes and every variant of its tables, without allocating a weight."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.paper import package_tables
from syncdiff_bench.training.loader import read_plan
from syncdiff_methods.difftalk.model import DiffTalkConfig, DiffTalkModel
from syncdiff_methods.syncdiff.config import ITSELF, VARIANTS, SyncDiffConfig, shipped_config
from syncdiff_methods.syncdiff.method import SyncDiff, SyncDiffOptions
from syncdiff_methods.syncdiff.model import Denoiser, SyncDiffModel

# Parameters of the paper's UNet with so many input channels (docs/spec/syncdiff.md#variants).
UNET = {7: 546_204_675, 9: 546_209_283, 10: 546_211_587, 14: 546_220_803, 19: 546_232_323}
CHANNELS = {"rnd": 9, "prv": 9, "prv-": 7, ITSELF: 10, "np5": 14, "np10": 19, "nf3": 10, "nf6": 10, "nf12": 10}
FROZEN = {"nf3": 3, "nf6": 6, ITSELF: 9, "nf12": 12}


def count(module: torch.nn.Module, *, trained: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


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


def test_whole_model_at_the_papers_size() -> None:
    config = shipped_config("paper")
    assert config == SyncDiffConfig()  # the defaults are the paper's
    with torch.device("meta"):
        model = SyncDiffModel(config)
    assert count(model.autoencoder) == 55_322_782
    assert count(model.denoiser.unet) == 546_211_587


def test_difftalk_at_its_released_size() -> None:
    with torch.device("meta"):
        model = DiffTalkModel(DiffTalkConfig())
    assert count(model.denoiser) == 530_152_963
    assert count(model.autoencoder) == 55_322_782
    assert count(model.conditions.audio) == 32_800
    assert count(model.conditions.filter) == 2_149
    assert count(model.conditions.landmarks) == 22_528


@pytest.mark.parametrize(("variant", "frozen"), FROZEN.items())
def test_frozen_layers(variant: str, frozen: int) -> None:
    """A Base layer has 7,087,872 parameters, the final norm 1,536."""
    with torch.device("meta"):
        audio = SyncDiffModel(shipped_config("paper", variant)).audio
    assert count(audio.encoder, trained=True) == (12 - frozen) * 7_087_872 + (1_536 if frozen < 12 else 0)


@pytest.mark.parametrize("size", ["paper", "pocket"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_differ_from_the_size_in_what_they_name(size: str, variant: str) -> None:
    base, config = asdict(shipped_config(size)), asdict(shipped_config(size, variant))
    assert config["variant"] == variant
    changed = {key for key in base if base[key] != config[key]}
    allowed = {"np": {"condition"}, "nf": {"audio"}, "ds": {"condition", "audio"}}.get(variant[:2], {"condition"})
    assert changed == (set() if variant == ITSELF else allowed | {"variant"})


def test_every_row_of_the_tables_has_its_variant() -> None:
    rows = [row for table in package_tables("syncdiff_leaderboards") for row in table.rows]
    named = {dict(row.system.options).get("variant") for row in rows if row.system.method == "syncdiff"} - {None}
    assert named == set(VARIANTS) - {ITSELF}


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


def test_a_run_records_its_models_variant(tmp_path: Path) -> None:
    assert SyncDiff(SyncDiffOptions("pocket")).options.variant == ITSELF
    config = shipped_config("pocket", "rnd")
    (tmp_path / "mine").mkdir()
    write_config(tmp_path / "mine", config)
    assert SyncDiff(SyncDiffOptions(model=str(tmp_path / "mine"))).options.variant == "rnd"


def test_a_sibling_of_the_variant_is_found(tmp_path: Path) -> None:
    for name, variant in (("mine", ITSELF), ("mine-prv", "prv")):
        (tmp_path / name).mkdir()
        write_config(tmp_path / name, shipped_config("pocket", variant))
    options = SyncDiff(SyncDiffOptions(model=str(tmp_path / "mine"), variant="prv")).options
    assert (options.model, options.variant) == (str(tmp_path / "mine-prv"), "prv")
    with pytest.raises(UsageError, match=r"is variant rnd\+prv-, not nf3, and there is no .*mine-nf3"):
        SyncDiff(SyncDiffOptions(model=str(tmp_path / "mine"), variant="nf3"))


def write_config(folder: Path, config: SyncDiffConfig) -> None:
    import json

    (folder / "config.json").write_text(json.dumps(asdict(config)))


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
