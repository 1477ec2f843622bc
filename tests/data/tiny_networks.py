"""Networks of a few thousand weights, for tests in any folder (pytest has this one on its path)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import torch
from official_files import by_number
from torch import Tensor

from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.syncnet import SyncNet, SyncNetConfig
from syncdiff_methods.syncdiff.config import (
    AudioConfig,
    AutoencoderConfig,
    DiffusionConfig,
    SyncDiffConfig,
    UNetConfig,
)

SYNCDIFF = SyncDiffConfig(
    name="tiny",
    frame_size=32,
    autoencoder=AutoencoderConfig((8, 8, 8), 1, 16, 8, mid_attention=False),
    unet=UNetConfig((16, 16), (False, True), 1, 16, 8),
    audio=AudioConfig(2, 16, 32, 2, 4, 2, frozen_layers=0, window=4),
    diffusion=DiffusionConfig(prediction="sample", steps=4),
)


def avhubert(**changes: object) -> AVHubertConfig:
    """Two narrow encoder layers without a decoder, and what is to be otherwise."""
    sizes = {"encoder_layers": 2, "dim": 32, "ffn_dim": 48, "heads": 4, "conv_pos": 8, "conv_pos_groups": 4}
    return replace(AVHubertConfig(**sizes, resnet_width=4, pretraining_units=0, decoder_layers=0), **changes)


def filled_syncnet(shift: float = 0.0) -> OrderedDict[str, Tensor]:
    """The weights behind the golden numbers, by number.

    shift: added to the last biases; a large one keeps shifts into the silence from winning.
    """
    state = OrderedDict(by_number(SyncNet().state_dict()))
    for name in ("netfclip.3.bias", "netfcaud.3.bias"):
        state[name] += shift
    return state


def narrow_syncnet(file: Path) -> Path:
    """A SyncNet of a sixteenth of the width, saved as the published file is."""
    torch.manual_seed(0)
    torch.save(SyncNet(SyncNetConfig(width=1 / 16, embedding=32)).state_dict(), file)
    return file


BASE = AVHubertConfig()
LARGE = AVHubertConfig(
    encoder_layers=24, dim=1024, ffn_dim=4096, heads=16, decoder_layers=9, decoder_ffn=4096, decoder_heads=8
)  # as published
