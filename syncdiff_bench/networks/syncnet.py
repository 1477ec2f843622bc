"""SyncNet, the audio-visual synchronisation network behind LSE-C and LSE-D (docs/spec/lse.md#network).

Chung and Zisserman 2016. Module names and shapes are those of the published `syncnet_v2.model`, so that its tensors
load as they are. Embeddings are always made in float32: raw 0..255 pixels through TF32 or bfloat16 convolutions move
the scores beyond 1e-3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from syncdiff_bench.arrays import writable
from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.networks.inference import inference
from syncdiff_bench.weights.loading import check_state_dict, load_tensors

FRAMES_PER_WINDOW = 5


@dataclass(frozen=True)
class SyncNetConfig:
    """Size of the network; the defaults are the published one (13,631,616 parameters).

    width: factor on every hidden channel count (64, 96, 192, 256, 384, 512).
    embedding: dimensions of the two embeddings.
    side: of the square faces, pixels; the last lip convolution spans what is left of it (6 x 6 of 224).

    Raises UsageError where nothing is left.
    """

    width: float = 1.0
    embedding: int = 1024
    side: int = 224

    def __post_init__(self) -> None:
        if self.lip_grid < 1:
            raise UsageError(f"SyncNet: faces of {self.side} pixels are too small; give 55 or more")

    @property
    def lip_grid(self) -> int:
        """Side of the feature map that the last lip convolution sees, behind the strides and pools before it."""
        side = (self.side - 7) // 2 + 1
        for kernel, padding in ((3, 0), (5, 1), (3, 1), (3, 0)):
            side = (side + 2 * padding - kernel) // 2 + 1
        return side

    def channels(self, published: int) -> int:
        """The channel count that stands for `published` of the original network."""
        return max(1, round(published * self.width))


class SyncNet(nn.Module):
    """Embeds 0.2 s of speech and 0.2 s of face into one space; the embeddings are not normalised.

    The lip tower is convolutional in time (its first layer spans 5 frames, the others one), hence a clip goes
    through in one pass and yields one embedding per window of 5 frames.
    """

    def __init__(self, config: SyncNetConfig | None = None) -> None:
        super().__init__()
        self.config = SyncNetConfig() if config is None else config
        self.netcnnaud = _audio_tower(self.config)
        self.netfcaud = _head(self.config)
        self.netcnnlip = _lip_tower(self.config)
        self.netfclip = _head(self.config)

    def embed_audio(self, windows: Tensor) -> Tensor:
        """Embeddings (N, E) float32 of MFCC windows.

        windows: (N, 1, 13, 20) float32, cepstra by time.
        """
        return self.netfcaud(self.netcnnaud(windows).flatten(1))  # type: ignore[no-any-return]

    def embed_lips(self, clips: Tensor) -> Tensor:
        """Embeddings (N * (T - 4), E) float32, window after window, of the faces in frames t .. t + 4.

        clips: (N, 3, T, S, S) float32 with S = config.side (224), T >= 5, BGR in 0..255.
        """
        per_window = self.netcnnlip(clips).flatten(2).transpose(1, 2)
        return self.netfclip(per_window.flatten(0, 1))  # type: ignore[no-any-return]


def _layer(convolution: nn.Conv2d | nn.Conv3d) -> list[nn.Module]:
    norm = nn.BatchNorm2d if isinstance(convolution, nn.Conv2d) else nn.BatchNorm3d
    return [convolution, norm(convolution.out_channels), nn.ReLU(inplace=True)]


def _audio_tower(config: SyncNetConfig) -> nn.Sequential:
    c = config.channels
    return nn.Sequential(
        *_layer(nn.Conv2d(1, c(64), 3, padding=1)),
        nn.MaxPool2d(1, stride=1),  # the identity; it holds the published index 3
        *_layer(nn.Conv2d(c(64), c(192), 3, padding=1)),
        nn.MaxPool2d(3, stride=(1, 2)),
        *_layer(nn.Conv2d(c(192), c(384), 3, padding=1)),
        *_layer(nn.Conv2d(c(384), c(256), 3, padding=1)),
        *_layer(nn.Conv2d(c(256), c(256), 3, padding=1)),
        nn.MaxPool2d(3, stride=2),
        *_layer(nn.Conv2d(c(256), c(512), (5, 4), padding=0)),
    )


def _flat(inputs: int, outputs: int, kernel: tuple[int, int, int], *, stride: int = 1, padding: int = 0) -> nn.Conv3d:
    """A convolution that strides and pads in space alone."""
    return nn.Conv3d(inputs, outputs, kernel, stride=(1, stride, stride), padding=(0, padding, padding))


def _pool3d(padding: int = 0) -> nn.MaxPool3d:
    return nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, padding, padding))


def _lip_tower(config: SyncNetConfig) -> nn.Sequential:
    c = config.channels
    return nn.Sequential(
        *_layer(_flat(3, c(96), (FRAMES_PER_WINDOW, 7, 7), stride=2)),
        _pool3d(),
        *_layer(_flat(c(96), c(256), (1, 5, 5), stride=2, padding=1)),
        _pool3d(padding=1),
        *_layer(_flat(c(256), c(256), (1, 3, 3), padding=1)),
        *_layer(_flat(c(256), c(256), (1, 3, 3), padding=1)),
        *_layer(_flat(c(256), c(256), (1, 3, 3), padding=1)),
        _pool3d(),
        *_layer(_flat(c(256), c(512), (1, config.lip_grid, config.lip_grid))),
    )


def _head(config: SyncNetConfig) -> nn.Sequential:
    hidden = config.channels(512)
    return nn.Sequential(
        nn.Linear(hidden, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, config.embedding),
    )


# --------------------------------------------------------------------------- embeddings of a whole clip


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
        for start in range(0, windows, batch):
            stop = min(start + batch, windows)
            chunk = torch.from_numpy(writable(frames[start : stop + FRAMES_PER_WINDOW - 1])).to(_device(network))
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
        parts = [network.embed_audio(part.to(_device(network))).cpu() for part in torch.split(slid[:windows], batch)]
    return torch.cat(parts)


def _device(network: SyncNet) -> torch.device:
    return next(network.parameters()).device


# ------------------------------------------------------------------------------------------ checkpoints


_STEM = "netcnnaud.0.weight"
_EMBEDDING = "netfcaud.3.weight"
_PUBLISHED_STEM = 64  # output channels of _STEM at width 1


def load_syncnet(path: Path) -> SyncNet:
    """The network of a checkpoint, on the CPU and in evaluation mode; its width is read from its tensors.

    Raises WeightsError where the file cannot be read, or is of another network.
    """
    tensors, name = load_tensors(path), str(path)
    network = SyncNet(_config_of(tensors, name))
    # evaluation does not use these counters, and files of old torch versions have none
    counters = {key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")}
    check_state_dict(network, {**counters, **tensors}, name)
    return network.eval()


def _config_of(tensors: Mapping[str, Tensor], name: str) -> SyncNetConfig:
    stem, embedding = tensors.get(_STEM), tensors.get(_EMBEDDING)
    if stem is None or embedding is None or stem.ndim != 4 or embedding.ndim != 2:
        raise WeightsError(
            f"{name} is not a SyncNet checkpoint: it has no usable {_STEM} and {_EMBEDDING}; "
            "give the published syncnet_v2.model or a checkpoint of this project"
        )
    return SyncNetConfig(width=stem.shape[0] / _PUBLISHED_STEM, embedding=embedding.shape[0])
