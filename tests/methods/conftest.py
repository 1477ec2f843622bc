"""The networks of Wav2Lip and of a small TalkLip with the weights of the official numbers, made from names."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
import torch
from torch import nn

from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_methods.talklip.network import TalkLip
from syncdiff_methods.wav2lip.generator import Wav2Lip

TINY = AVHubertConfig(encoder_layers=2, dim=96, ffn_dim=192, heads=4, conv_pos=16, conv_pos_groups=4, decoder_layers=0)


def fill_by_name(model: nn.Module) -> None:
    """Every tensor is a function of its name and shape."""
    state = model.state_dict()
    for key, old in state.items():
        rng = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
        z = rng.standard_normal(old.numel()).astype(np.float32).reshape(old.shape)
        if key.endswith("num_batches_tracked"):
            z = np.zeros(old.shape)
        elif key.endswith("running_var"):
            z = 1 + 0.1 * np.abs(z)
        elif key.endswith("running_mean"):
            z = 0.1 * z
        elif old.ndim >= 2:
            z = z * np.float32(1 / math.sqrt(math.prod(old.shape[1:])))
        elif key.endswith(("weight", "weight_g")):
            z = 1 + 0.1 * z
        else:
            z = 0.05 * z
        state[key] = torch.from_numpy(np.asarray(z, dtype=np.float32)).to(old.dtype)
    model.load_state_dict(state)


@pytest.fixture(scope="session")
def wav2lip() -> Wav2Lip:
    network = Wav2Lip().eval()
    fill_by_name(network)
    return network


@pytest.fixture(scope="session")
def talklip() -> TalkLip:
    network = TalkLip(TINY).eval()
    fill_by_name(network)
    return network
