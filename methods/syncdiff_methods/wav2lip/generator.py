"""Wav2Lip's generator: a U-Net over the face, with the audio at its bottom (docs/spec/wav2lip.md#generator).

Names and shapes are those of the published checkpoints, so that their tensors load as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError

Stride: TypeAlias = int | tuple[int, int]


@dataclass(frozen=True)
class Wav2LipConfig:
    """width: factor on every channel count; 1 is the published network (36,298,035 parameters)."""

    width: float = 1.0

    def __post_init__(self) -> None:
        if self.width <= 0:
            raise UsageError(f"wav2lip: width is {self.width}; give a factor above 0, 1 for the published size")

    def channels(self, published: int) -> int:
        """The channel count that stands for `published` of the original network."""
        return max(1, round(published * self.width))


class Block(nn.Module):
    """Convolution, batch norm, the input once more where `residual`, ReLU."""

    def __init__(self, convolution: nn.Conv2d | nn.ConvTranspose2d, *, residual: bool = False) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_block(x)
        return F.relu(y + x if self.residual else y)


def conv(inputs: int, outputs: int, kernel: int, stride: Stride, padding: int) -> Block:
    """A convolving block."""
    return Block(nn.Conv2d(inputs, outputs, kernel, stride, padding))


def residuals(channels: int, count: int) -> list[nn.Module]:
    """`count` residual 3x3 blocks in a row."""
    return [Block(nn.Conv2d(channels, channels, 3, 1, 1), residual=True) for _ in range(count)]


class FaceGenerator(nn.Module):
    """The face half, which Wav2Lip and TalkLip share: 96x96 faces and one audio vector each to 96x96 faces."""

    def __init__(self, config: Wav2LipConfig | None = None) -> None:
        super().__init__()
        self.config = Wav2LipConfig() if config is None else config
        self.face_encoder_blocks = _face_encoder(self.config)
        self.face_decoder_blocks = _face_decoder(self.config)
        c = self.config.channels
        self.output_block = nn.Sequential(conv(c(64) + c(16), c(32), 3, 1, 1), nn.Conv2d(c(32), 3, 1), nn.Sigmoid())

    def draw(self, audio: Tensor, faces: Tensor) -> Tensor:
        """(N, 3, 96, 96) float32 in 0..1, BGR.

        audio: (N, 512, 1, 1) float32.
        faces: (N, 6, 96, 96) float32 in 0..1: the frame with its lower half zero, then
        the reference, both BGR.
        """
        x, skips = faces, []
        for block in self.face_encoder_blocks:
            x = block(x)
            skips.append(x)
        x = audio
        for block in self.face_decoder_blocks:
            x = torch.cat([block(x), skips.pop()], dim=1)
        return self.output_block(x)  # type: ignore[no-any-return]


class Wav2Lip(FaceGenerator):
    """The generator: 36,298,035 parameters at width 1."""

    def __init__(self, config: Wav2LipConfig | None = None) -> None:
        super().__init__(config)
        self.audio_encoder = audio_encoder(self.config)

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        """Faces (N, 3, 96, 96) float32 in 0..1, BGR.

        mel: (N, 1, 80, 16) float32 windows. faces: (N, 6, 96, 96), see `draw`.
        With a time axis, mel (B, T, 1, 80, 16) and faces (B, 6, T, 96, 96), the answer is (B, 3, T, 96, 96).
        """
        if faces.ndim == 4:
            return self.draw(self.audio_encoder(mel), faces)
        batch = len(faces)
        flat = self.draw(self.audio_encoder(mel.flatten(0, 1)), faces.transpose(1, 2).flatten(0, 1))
        return flat.reshape(batch, -1, *flat.shape[1:]).transpose(1, 2)


def _face_encoder(config: Wav2LipConfig) -> nn.ModuleList:
    c = config.channels
    blocks = [nn.Sequential(conv(6, c(16), 7, 1, 3))]
    for inputs, outputs, count in ((16, 32, 2), (32, 64, 3), (64, 128, 2), (128, 256, 2), (256, 512, 1)):
        blocks.append(nn.Sequential(conv(c(inputs), c(outputs), 3, 2, 1), *residuals(c(outputs), count)))
    blocks.append(nn.Sequential(conv(c(512), c(512), 3, 1, 0), conv(c(512), c(512), 1, 1, 0)))
    return nn.ModuleList(blocks)


def _face_decoder(config: Wav2LipConfig) -> nn.ModuleList:
    c = config.channels
    blocks = [
        nn.Sequential(conv(c(512), c(512), 1, 1, 0)),
        nn.Sequential(Block(nn.ConvTranspose2d(2 * c(512), c(512), 3, 1, 0, 0)), *residuals(c(512), 1)),
    ]
    inputs = 2 * c(512)
    # outputs of each block, and the channels of the encoder's map of the same size that follow them
    for outputs, skip in ((512, 256), (384, 128), (256, 64), (128, 32), (64, 16)):
        blocks.append(
            nn.Sequential(Block(nn.ConvTranspose2d(inputs, c(outputs), 3, 2, 1, 1)), *residuals(c(outputs), 2))
        )
        inputs = c(outputs) + c(skip)
    return nn.ModuleList(blocks)


def audio_encoder(config: Wav2LipConfig) -> nn.Sequential:
    """(N, 1, 80, 16) mel windows to (N, 512, 1, 1)."""
    c = config.channels
    return nn.Sequential(
        conv(1, c(32), 3, 1, 1),
        *residuals(c(32), 2),
        conv(c(32), c(64), 3, (3, 1), 1),
        *residuals(c(64), 2),
        conv(c(64), c(128), 3, 3, 1),
        *residuals(c(128), 2),
        conv(c(128), c(256), 3, (3, 2), 1),
        *residuals(c(256), 1),
        conv(c(256), c(512), 3, 1, 0),
        conv(c(512), c(512), 1, 1, 0),
    )
