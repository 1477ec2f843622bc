"""Audio condition: features, then the learnable temporal filter, one token per frame (paper 3.2)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder
from syncdiff_methods.syncdiff.config import AudioConfig
from syncdiff_methods.syncdiff.deepspeech import AudioNet


class TemporalFilter(nn.Module):
    """Attention over a window of audio frames (Neural Voice Puppetry's AudioAttNet; docs/spec/difftalk.md#encoders).

    Five convolutions over time reduce the features to one channel, a linear layer and a softmax turn that into one
    weight per frame of the window, and the token is the weighted sum of the features.

    attended: how many of the features, the first ones, decide the weights; None for all (DiffTalk: 32 of its 64).
    """

    def __init__(self, dim: int, window: int, attended: int | None = None) -> None:
        super().__init__()
        self.window = window
        self.attended = dim if attended is None else attended
        widths = (self.attended, 16, 8, 4, 2, 1)
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [nn.Conv1d(inside, outside, kernel_size=3, padding=1), nn.LeakyReLU(0.02)]
        self.attention_conv = nn.Sequential(*layers)
        self.attention_net = nn.Sequential(nn.Linear(window, window), nn.Softmax(dim=1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, window, dim) -> (B, dim)."""
        attended = features[..., : self.attended].transpose(1, 2)
        weights = self.attention_net(self.attention_conv(attended).squeeze(1))
        return torch.einsum("bw,bwd->bd", weights, features)


class AudioCondition(nn.Module):
    """Audio features of a clip -> (T, dim), row t the condition token of frame t.

    Features (`audio_features.clip_features`) are (T, 104) for AV-HuBERT and (T, 16, 29) for DeepSpeech.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        self.filter = TemporalFilter(config.dim, config.window) if config.window > 1 else None
        if isinstance(self.encoder, AVHubertEncoder):
            _freeze(self.encoder, config.frozen_layers)

    def forward(self, features: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Tokens of whole clips: (B, T, 104) float32 and (B, T) bool (True: padding) -> (B, T, dim)."""
        return self.tokens(self.encode(self.frozen_activations(features), padding_mask))

    @torch.no_grad()
    def frozen_activations(self, features: Tensor) -> Tensor:
        """What enters the first trained layer, constant over a training: (B, T, 104) of whole clips -> (B, T, dim).

        With NF = 0, and with DeepSpeech, nothing is constant and `features` come back as they are.
        """
        if not isinstance(self.encoder, AVHubertEncoder) or self.config.frozen_layers == 0:
            return features
        return self.encoder(features, stop=self.config.frozen_layers)  # type: ignore[no-any-return]

    def encode(self, activations: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """The rest of the encoder, on what `frozen_activations` gives: (B, T, dim), zero on padding."""
        frozen = self.config.frozen_layers
        if isinstance(self.encoder, AVHubertEncoder) and frozen > 0:
            encoded = self.encoder.final_norm(self.encoder.run_layers(activations, frozen, None, padding_mask))
        else:
            encoded = self.encoder(activations, padding_mask=padding_mask)
        return encoded if padding_mask is None else encoded.masked_fill(padding_mask.unsqueeze(-1), 0.0)

    def tokens_at(self, activations: Tensor, padding_mask: Tensor, frames: Tensor) -> Tensor:
        """Tokens of one frame per clip, `frames` (B,) long: (B, dim). What a training step needs.

        activations: (B, T, dim) of `frozen_activations`.
        """
        encoded = self.encode(activations, padding_mask)
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


def build_encoder(config: AudioConfig) -> AVHubertEncoder | AudioNet:
    """The network that turns features into `dim` numbers per frame."""
    if config.features == "deepspeech":
        return AudioNet(config.dim)
    return AVHubertEncoder(
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


def _freeze(encoder: AVHubertEncoder, layers: int) -> None:
    """NF > 0 freezes the first NF layers and all below them; NF of all layers freezes the final norm too."""
    if layers == 0:
        return
    transformer = encoder.encoder
    encoder.requires_grad_(False)
    for layer in transformer.layers[layers:]:
        layer.requires_grad_(True)
    transformer.layer_norm.requires_grad_(layers < len(transformer.layers))
