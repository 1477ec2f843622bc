"""Audio condition: AV-HuBERT features, then the learnable temporal filter, one token per frame (paper 3.2)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder
from syncdiff_methods.syncdiff.config import AudioConfig


class TemporalFilter(nn.Module):
    """Attention over a window of audio frames (AudioAttNet of Neural Voice Puppetry; methods.md A.2).

    Five convolutions over time reduce the features to one channel, a linear layer and a softmax turn that into one
    weight per frame of the window, and the token is the weighted sum of the features.
    """

    def __init__(self, dim: int, window: int) -> None:
        super().__init__()
        self.window = window
        widths = (dim, 16, 8, 4, 2, 1)
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [nn.Conv1d(inside, outside, kernel_size=3, padding=1), nn.LeakyReLU(0.02)]
        self.attention_conv = nn.Sequential(*layers)
        self.attention_net = nn.Sequential(nn.Linear(window, window), nn.Softmax(dim=1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, window, dim) -> (B, dim)."""
        weights = self.attention_net(self.attention_conv(features.transpose(1, 2)).squeeze(1))
        return torch.einsum("bw,bwd->bd", weights, features)


class AudioCondition(nn.Module):
    """(T, 104) audio features of a clip -> (T, dim), row t the condition token of frame t."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = AVHubertEncoder(
            AVHubertConfig(
                encoder_layers=config.layers,
                dim=config.dim,
                ffn_dim=config.ffn_dim,
                heads=config.heads,
                conv_pos=config.position_kernel,
                conv_pos_groups=config.position_groups,
                video=False,
                pretraining_units=0,
                decoder_layers=0,
            )
        )
        self.filter = TemporalFilter(config.dim, config.window) if config.window > 1 else None
        self._freeze(config.frozen_layers)

    def _freeze(self, layers: int) -> None:
        """NF > 0 freezes the first NF layers and all below them; NF of all layers freezes the final norm too."""
        if layers == 0:
            return
        transformer = self.encoder.encoder
        self.encoder.requires_grad_(False)
        for layer in transformer.layers[layers:]:
            layer.requires_grad_(True)
        transformer.layer_norm.requires_grad_(layers < len(transformer.layers))

    def forward(self, features: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Tokens of whole clips: (B, T, 104) float32 and (B, T) bool (True: padding) -> (B, T, dim)."""
        encoded: Tensor = self.encoder(features, padding_mask=padding_mask)
        if padding_mask is not None:
            encoded = encoded.masked_fill(padding_mask.unsqueeze(-1), 0.0)
        return self.tokens(encoded)

    def tokens_at(self, features: Tensor, padding_mask: Tensor, frames: Tensor) -> Tensor:
        """Tokens of one frame per clip, `frames` (B,) long: (B, dim). What a training step needs."""
        encoded: Tensor = self.encoder(features, padding_mask=padding_mask)
        encoded = encoded.masked_fill(padding_mask.unsqueeze(-1), 0.0)
        if self.filter is None:
            return encoded[torch.arange(len(frames)), frames]
        windows = self._windows(encoded)
        return self.filter(windows[torch.arange(len(frames)), frames])  # type: ignore[no-any-return]

    def tokens(self, encoded: Tensor) -> Tensor:
        """(B, T, dim) encoder output -> (B, T, dim) filtered over the window around each frame."""
        if self.filter is None:
            return encoded
        windows = self._windows(encoded)
        return self.filter(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])  # type: ignore[no-any-return]

    def _windows(self, encoded: Tensor) -> Tensor:
        """(B, T, dim) -> (B, T, W, dim): frames t - W/2 .. t + W/2 - 1, zeros beyond the ends."""
        window = self.config.window
        before = window // 2
        padded = F.pad(encoded, (0, 0, before, window - 1 - before))
        return padded.unfold(1, window, 1).transpose(2, 3)
