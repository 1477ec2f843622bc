"""SyncNet slid along a whole clip: MFCC of the sound, and one embedding per window of 5 frames.

Always in float32: raw 0..255 pixels through TF32 or bfloat16 convolutions move the scores beyond 1e-3.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncdiff_bench.networks.precision import inference
from syncdiff_bench.networks.syncnet.network import FRAMES_PER_WINDOW, SyncNet

MFCC_PER_WINDOW = 20
MFCC_PER_FRAME = 4


def mfcc(audio: NDArray[np.int16]) -> NDArray[np.float64]:
    """(M, 13) cepstra, 100 per second: python_speech_features with its defaults (docs/spec/lse.md#cepstra).

    audio: (N,) int16 at 16 kHz, N >= 1; the samples are taken as integers, not scaled to +-1.
    """
    from python_speech_features import mfcc as speech_mfcc

    features: NDArray[np.float64] = speech_mfcc(audio, 16_000)
    return features


def prepare_for_inference(network: SyncNet, device: str) -> SyncNet:
    """The network on its device, in evaluation mode; channels last makes lips 1.4 times as fast on CPU."""
    network = network.to(device).eval().requires_grad_(requires_grad=False)
    network.netcnnlip.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network


def embed_frames(network: SyncNet, frames: NDArray[np.uint8], windows: int, batch: int) -> Tensor:
    """Lip embeddings (windows, E) float32 on the CPU; window v sees frames v .. v + 4.

    frames: (T, S, S, 3) uint8 BGR with S = network.config.side, T >= windows + 4; they enter the network as 0..255.
    batch: windows per pass of the network; bounds the memory, changes no result.
    """
    parts = []
    with inference(str(_device(network))):
        for start, stop in _spans(windows, batch):
            chunk = torch.from_numpy(frames[start : stop + FRAMES_PER_WINDOW - 1]).to(_device(network))
            clip = chunk.permute(3, 0, 1, 2).unsqueeze(0)  # still the same bytes: channels last already
            parts.append(network.embed_lips(clip.to(torch.float32, memory_format=torch.channels_last_3d)).cpu())
    return torch.cat(parts)


def embed_mfcc(network: SyncNet, features: NDArray[np.float64], windows: int, batch: int) -> Tensor:
    """Audio embeddings (windows, E) float32 on the CPU; window v sees MFCC frames 4 v .. 4 v + 19.

    features: (M, 13), M >= 4 windows + 16.
    batch: windows per pass of the network.
    """
    cepstra = torch.from_numpy(features.astype(np.float32))
    slid = cepstra.unfold(0, MFCC_PER_WINDOW, MFCC_PER_FRAME).unsqueeze(1)  # (n, 1, 13, 20)
    with inference(str(_device(network))):
        parts = [
            network.embed_audio(slid[start:stop].to(_device(network))).cpu() for start, stop in _spans(windows, batch)
        ]
    return torch.cat(parts)


def _spans(windows: int, batch: int) -> Iterator[tuple[int, int]]:
    for start in range(0, windows, batch):
        yield start, min(start + batch, windows)


def _device(network: SyncNet) -> torch.device:
    return next(network.parameters()).device
