"""The two building blocks of Wav2Lip, under the names of its checkpoints (docs/spec/wav2lip.md#generator)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

Stride = int | tuple[int, int]


class Conv2d(nn.Module):
    """Convolution, batch norm, the input once more where `residual`, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: Stride, padding: int, *, residual: bool = False
    ) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.BatchNorm2d(outputs))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv_block(x)
        return F.relu(y + x if self.residual else y)


class ConvTranspose2d(nn.Module):
    """Transposed convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int, output_padding: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, output_padding), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv_block(x))


def residuals(channels: int, count: int) -> list[nn.Module]:
    """`count` residual 3x3 blocks in a row."""
    return [Conv2d(channels, channels, 3, 1, 1, residual=True) for _ in range(count)]
