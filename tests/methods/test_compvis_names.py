"""Names and shapes of official checkpoints: each tensor of ours has its official place, and none is left over."""

from __future__ import annotations

import pytest
import torch
from official_files import listed, shapes
from torch import Tensor

from syncdiff_bench.errors import WeightsError
from syncdiff_methods.difftalk.converter import difftalk_parts
from syncdiff_methods.difftalk.model import DiffTalkConfig, DiffTalkModel
from syncdiff_methods.syncdiff.checkpoints import (
    EMA_COUNTERS,
    below,
    ema_name,
    fill,
    first_stage,
    gather,
    schedule_buffers,
    with_ema,
)
from syncdiff_methods.syncdiff.config import AutoencoderConfig, DiffusionConfig, UNetConfig
from syncdiff_methods.syncdiff.model import Autoencoder

TINY = DiffTalkConfig(frame_size=64, autoencoder=AutoencoderConfig((32, 64, 128)), unet=UNetConfig((32, 64, 96, 128)))


def on_meta(config: DiffTalkConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        return gather(difftalk_parts(DiffTalkModel(config)))


@pytest.mark.parametrize(("name", "mid_attention"), [("keys_vqf4", True), ("keys_vqf4_noattn", False)])
def test_vq_f4(name: str, mid_attention: bool) -> None:
    with torch.device("meta"):
        ours = gather([first_stage("", Autoencoder(AutoencoderConfig(mid_attention=mid_attention)))])
    assert shapes(ours) == listed(name)


def test_difftalk_full_size() -> None:
    """The list was made without averages."""
    ours = {**on_meta(DiffTalkConfig()), **schedule_buffers(DiffusionConfig())}
    assert shapes(ours) == listed("keys_difftalk_full")


def test_difftalk_with_averages() -> None:
    ours = on_meta(TINY)
    averages = {ema_name(name): tensor for name, tensor in below(ours, "model.").items()}
    counters = dict.fromkeys(EMA_COUNTERS, torch.zeros(()))
    whole = {**ours, **averages, **counters, **schedule_buffers(DiffusionConfig())}
    assert shapes(whole) == listed("keys_difftalk_tiny")


def test_names_of_averages_have_no_dots() -> None:
    name = "model_ema.diffusion_modelinput_blocks10in_layers0weight"
    assert ema_name("diffusion_model.input_blocks.1.0.in_layers.0.weight") == name


def test_averages_replace_the_online_weights_and_nothing_else() -> None:
    state = {"model.a.b": torch.ones(2), "model_ema.ab": torch.full((2,), 3.0), "first_stage_model.c": torch.zeros(1)}
    result = with_ema({**state, "model_ema.decay": torch.tensor(0.9)}, "file")
    assert result["model.a.b"].tolist() == [3, 3]
    assert result["first_stage_model.c"].tolist() == [0]


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_averages_that_do_not_fit_are_named(change: str) -> None:
    state = {"model.a": torch.ones(2), "model_ema.a": torch.ones(2)}
    if change == "missing":
        del state["model_ema.a"]
        state["model.b"], state["model_ema.b"] = torch.ones(1), torch.ones(1)
    else:
        state["model_ema.z"] = torch.ones(1)
    with pytest.raises(WeightsError, match=r"^file: (a has no average|model_ema\.z averages no weight)"):
        with_ema(state, "file")


def test_a_tensor_of_no_network_is_named() -> None:
    autoencoder = Autoencoder(AutoencoderConfig((8, 8), 1, 16, 8, mid_attention=False))
    part = first_stage("first_stage_model.", autoencoder)
    state = {**gather([part]), "first_stage_model.loss.discriminator.weight": torch.ones(1)}
    fill([part], state, "file")
    with pytest.raises(WeightsError, match=r"file: cond_stage_model\.x belongs to no network"):
        fill([part], {**state, "cond_stage_model.x": torch.ones(1)}, "file")
