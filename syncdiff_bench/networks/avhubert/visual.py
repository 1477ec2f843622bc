"""Video front-end of AV-HuBERT: a 3-D stem and a ResNet-18 trunk (docs/spec/avhubert.md#video-front-end).

Module names are those of the published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from syncdiff_bench.networks.avhubert.config import AVHubertConfig

MOUTH = 88  # side of the grey patch that the front-end reads, pixels


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a per-channel PReLU after the first and after the sum."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.PReLU(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        residual = x if self.downsample is None else self.downsample(x)
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out)) + residual
        return self.relu2(out)  # type: ignore[no-any-return]


class Trunk(nn.Module):
    """ResNet-18 without its stem, average-pooled: (N, width, H, W) -> (N, 8 width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer1 = self._stage(width, width, 1)
        self.layer2 = self._stage(width, 2 * width, 2)
        self.layer3 = self._stage(2 * width, 4 * width, 2)
        self.layer4 = self._stage(4 * width, 8 * width, 2)

    @staticmethod
    def _stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
        return nn.Sequential(BasicBlock(in_channels, channels, stride), BasicBlock(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean(dim=(2, 3))


class ResNetFrontEnd(nn.Module):
    """Grey mouth patches to one vector per frame: (B, 1, T, 88, 88) -> (B, T, 8 width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.frontend3D = nn.Sequential(
            nn.Conv3d(1, width, (5, 7, 7), (1, 2, 2), (2, 3, 3), bias=False),
            nn.BatchNorm3d(width),
            nn.PReLU(width),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        )
        self.trunk = Trunk(width)

    def forward(self, video: Tensor) -> Tensor:
        x = self.frontend3D(video)
        batch, channels, frames, height, width = x.shape
        flat = x.transpose(1, 2).reshape(batch * frames, channels, height, width)
        return self.trunk(flat).view(batch, frames, -1)  # type: ignore[no-any-return]


class VideoFeatures(nn.Module):
    """ResNet front-end and projection to the encoder: (B, 1, T, 88, 88) -> (B, T, dim)."""

    def __init__(self, config: AVHubertConfig) -> None:
        super().__init__()
        self.resnet = ResNetFrontEnd(config.resnet_width)
        self.proj = nn.Linear(8 * config.resnet_width, config.dim)

    def forward(self, video: Tensor) -> Tensor:
        return self.proj(self.resnet(video))  # type: ignore[no-any-return]


def normalise_patches(patches: Tensor, mean: float = 0.421, std: float = 0.165) -> Tensor:
    """Grey patches (..., 88, 88) uint8 to what the front-end reads: float32, `(x / 255 - mean) / std`."""
    return ((patches.to(torch.float64) / 255 - mean) / std).to(torch.float32)
