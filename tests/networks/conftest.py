"""The small AV-HuBERTs of the official numbers (weights: docs/spec/parity.md#by-number) and two synthetic clips."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from official_files import by_number

from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq

TINY = AVHubertConfig(
    encoder_layers=2,
    dim=64,
    ffn_dim=128,
    heads=4,
    pretraining_units=6,
    decoder_layers=2,
    decoder_ffn=128,
    decoder_heads=4,
    vocab=40,
)


def filled(config: AVHubertConfig) -> AVHubertSeq2Seq:
    model = AVHubertSeq2Seq(config).eval()
    model.load_state_dict(by_number(model.state_dict()))
    return model


@pytest.fixture(scope="session")
def tiny() -> AVHubertSeq2Seq:
    return filled(TINY)


@pytest.fixture(scope="session")
def models(tiny: AVHubertSeq2Seq) -> dict[str, AVHubertSeq2Seq]:
    """`tiny_b`: twelve word pieces and a likelier EOS, so that sentences end by themselves. `tiny_c`: a decoder that
    listens, where that of `tiny` repeats one token.
    """
    tiny_b = filled(replace(TINY, vocab=12))
    with torch.no_grad():
        embedding = tiny_b.decoder.embed_tokens.weight
        embedding[2] += torch.from_numpy(0.35 * np.random.RandomState(7).standard_normal(64)).float()
        embedding *= 0.4
    tiny_c = deepcopy(tiny)
    with torch.no_grad():
        tiny_c.decoder.layer_norm.weight[1::2] *= -1
        tiny_c.decoder.layer_norm.bias.zero_()
        tiny_c.decoder.embed_tokens.weight *= 0.5
        for layer in tiny_c.decoder.layers:
            layer.encoder_attn.out_proj.weight *= 3
            layer.self_attn.out_proj.weight *= 6
            layer.fc2.weight *= 6
    return {"tiny": tiny, "tiny_b_V12": tiny_b, "tiny_c": tiny_c}


@pytest.fixture(scope="session")
def clips() -> tuple[torch.Tensor, torch.Tensor]:
    """Two synthetic clips of 7 and 5 frames and their padding mask."""
    pixel = np.arange(88 * 88).reshape(88, 88)
    video = np.zeros((2, 1, 7, 88, 88), dtype=np.float32)
    for b, length in enumerate((7, 5)):
        for t in range(length):
            video[b, 0, t] = np.sin(0.01 * pixel + 0.5 * t + b)
    return torch.from_numpy(video), torch.tensor([[False] * 7, [False] * 5 + [True] * 2])


@pytest.fixture(scope="session")
def features(tiny: AVHubertSeq2Seq, clips: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return tiny.encode(video=clips[0], padding_mask=clips[1])
