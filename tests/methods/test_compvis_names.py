"""Names and shapes of official checkpoints: each tensor of ours has its official place, and none is left over."""

from __future__ import annotations

import gzip
from ast import literal_eval
from pathlib import Path

import pytest
import torch
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

TENSORS = Path(__file__).parents[1] / "data" / "official" / "tensors"
TINY = DiffTalkConfig(frame_size=64, autoencoder=AutoencoderConfig((32, 64, 128)), unet=UNetConfig((32, 64, 96, 128)))

Shapes = dict[str, tuple[int, ...]]


def listed(name: str) -> Shapes:
    with gzip.open(TENSORS / f"keys_{name}.txt.gz", "rt", encoding="utf-8") as file:
        rows = [line.split("\t") for line in file.read().splitlines()]
    return {row[0]: literal_eval(row[1]) for row in rows}


def shapes(tensors: dict[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def on_meta(config: DiffTalkConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        return gather(difftalk_parts(DiffTalkModel(config)))


@pytest.mark.parametrize(("name", "mid_attention", "count"), [("vqf4", True, 205), ("vqf4_noattn", False, 185)])
def test_vq_f4(name: str, mid_attention: bool, count: int) -> None:
    expected = listed(name)
    with torch.device("meta"):
        ours = gather([first_stage("", Autoencoder(AutoencoderConfig(mid_attention=mid_attention)))])
    assert len(expected) == count
    assert shapes(ours) == expected


def test_difftalk_full_size() -> None:
    """The list was made without averages."""
    expected = listed("difftalk_full")
    assert len(expected) == 935
    assert shapes({**on_meta(DiffTalkConfig()), **schedule_buffers(DiffusionConfig())}) == expected


def test_difftalk_with_averages() -> None:
    expected = listed("difftalk_tiny")
    ours = on_meta(TINY)
    averages = {ema_name(name): tensor for name, tensor in below(ours, "model.").items()}
    counters = dict.fromkeys(EMA_COUNTERS, torch.zeros(()))
    assert len(expected) == 1625
    assert shapes({**ours, **averages, **counters, **schedule_buffers(DiffusionConfig())}) == expected


def test_some_names_of_every_kind() -> None:
    """Independent of any list: literal names and shapes of the published layout."""
    ours = shapes(on_meta(DiffTalkConfig()))
    for name, shape in {
        "model.diffusion_model.time_embed.0.weight": (1024, 256),
        "model.diffusion_model.input_blocks.0.0.weight": (256, 9, 3, 3),
        "model.diffusion_model.input_blocks.3.0.op.weight": (256, 256, 3, 3),
        "model.diffusion_model.input_blocks.4.0.skip_connection.weight": (512, 256, 1, 1),
        "model.diffusion_model.input_blocks.11.1.transformer_blocks.0.attn2.to_k.weight": (1024, 128),
        "model.diffusion_model.middle_block.1.proj_out.weight": (1024, 1024, 1, 1),
        "model.diffusion_model.output_blocks.2.2.conv.weight": (1024, 1024, 3, 3),
        "model.diffusion_model.output_blocks.11.0.in_layers.2.weight": (256, 512, 3, 3),
        "model.diffusion_model.out.2.bias": (3,),
        "first_stage_model.encoder.mid.attn_1.q.weight": (512, 512, 1, 1),
        "first_stage_model.decoder.up.2.upsample.conv.weight": (512, 512, 3, 3),
        "first_stage_model.decoder.up.0.block.0.nin_shortcut.weight": (128, 256, 1, 1),
        "first_stage_model.quantize.embedding.weight": (8192, 3),
        "cond_stage_model_for_audio.encoder_conv.0.weight": (32, 29, 3),
        "cond_stage_model_for_audio_smooth.attentionConvNet.0.weight": (16, 32, 3),
        "cond_stage_model_for_ldm.encoder_fc1.0.weight": (128, 78),
    }.items():
        assert ours[name] == shape, name


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
