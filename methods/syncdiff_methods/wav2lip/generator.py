"""Wav2Lip's generator: a U-Net over the face, with the sound at its bottom (docs/spec/wav2lip.md#generator).

Names and shapes are those of the published checkpoints, so that their tensors load as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from syncdiff_methods.wav2lip.blocks import Conv2d, ConvTranspose2d, residuals
from syncdiff_methods.wav2lip.config import Wav2LipConfig


class FaceGenerator(nn.Module):
    """The face half, which Wav2Lip and TalkLip share: 96x96 faces and one vector of sound each to 96x96 pictures."""

    def __init__(self, config: Wav2LipConfig | None = None) -> None:
        super().__init__()
        self.config = Wav2LipConfig() if config is None else config
        self.face_encoder_blocks = _face_encoder(self.config)
        self.face_decoder_blocks = _face_decoder(self.config)
        c = self.config.channels
        self.output_block = nn.Sequential(Conv2d(c(64) + c(16), c(32), 3, 1, 1), nn.Conv2d(c(32), 3, 1), nn.Sigmoid())

    def draw(self, sound: Tensor, faces: Tensor) -> Tensor:
        """(N, 3, 96, 96) float32 in 0..1, BGR.

        sound: (N, 512, 1, 1) float32. faces: (N, 6, 96, 96) float32 in 0..1: the frame with its lower half zero, then
        the reference, both BGR.
        """
        x, skips = faces, []
        for block in self.face_encoder_blocks:
            x = block(x)
            skips.append(x)
        x = sound
        for block in self.face_decoder_blocks:
            x = torch.cat([block(x), skips.pop()], dim=1)
        return self.output_block(x)  # type: ignore[no-any-return]


class Wav2Lip(FaceGenerator):
    """The generator: 36,298,035 parameters at width 1."""

    def __init__(self, config: Wav2LipConfig | None = None) -> None:
        super().__init__(config)
        self.audio_encoder = audio_encoder(self.config)

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        """Pictures (N, 3, 96, 96) float32 in 0..1, BGR.

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
    blocks = [nn.Sequential(Conv2d(6, c(16), 7, 1, 3))]
    for inputs, outputs, count in ((16, 32, 2), (32, 64, 3), (64, 128, 2), (128, 256, 2), (256, 512, 1)):
        blocks.append(nn.Sequential(Conv2d(c(inputs), c(outputs), 3, 2, 1), *residuals(c(outputs), count)))
    blocks.append(nn.Sequential(Conv2d(c(512), c(512), 3, 1, 0), Conv2d(c(512), c(512), 1, 1, 0)))
    return nn.ModuleList(blocks)


def _face_decoder(config: Wav2LipConfig) -> nn.ModuleList:
    c = config.channels
    blocks = [
        nn.Sequential(Conv2d(c(512), c(512), 1, 1, 0)),
        nn.Sequential(ConvTranspose2d(2 * c(512), c(512), 3, 1, 0, 0), *residuals(c(512), 1)),
    ]
    inputs = 2 * c(512)
    # outputs of each block, and the channels of the encoder's picture of the same size that follow them
    for outputs, skip in ((512, 256), (384, 128), (256, 64), (128, 32), (64, 16)):
        blocks.append(nn.Sequential(ConvTranspose2d(inputs, c(outputs), 3, 2, 1, 1), *residuals(c(outputs), 2)))
        inputs = c(outputs) + c(skip)
    return nn.ModuleList(blocks)


def audio_encoder(config: Wav2LipConfig) -> nn.Sequential:
    """(N, 1, 80, 16) mel windows to (N, 512, 1, 1)."""
    c = config.channels
    return nn.Sequential(
        Conv2d(1, c(32), 3, 1, 1),
        *residuals(c(32), 2),
        Conv2d(c(32), c(64), 3, (3, 1), 1),
        *residuals(c(64), 2),
        Conv2d(c(64), c(128), 3, 3, 1),
        *residuals(c(128), 2),
        Conv2d(c(128), c(256), 3, (3, 2), 1),
        *residuals(c(256), 1),
        Conv2d(c(256), c(512), 3, 1, 0),
        Conv2d(c(512), c(512), 1, 1, 0),
    )
