"""The two towers of SyncNet (Chung and Zisserman 2016; docs/spec/lse.md#network).

Module names and shapes are those of the published `syncnet_v2.model`, so that its tensors load as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from syncdiff_bench.errors import UsageError

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

    def forward(self, windows: Tensor, clips: Tensor) -> tuple[Tensor, Tensor]:
        """`embed_audio` and `embed_lips` together: what a training step needs."""
        return self.embed_audio(windows), self.embed_lips(clips)


def _convolution2d(inputs: int, outputs: int, kernel: int | tuple[int, int], padding: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, padding=padding),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def _audio_tower(config: SyncNetConfig) -> nn.Sequential:
    c = config.channels
    return nn.Sequential(
        *_convolution2d(1, c(64), 3, 1),
        nn.MaxPool2d(1, stride=1),  # the identity; it holds the published index 3
        *_convolution2d(c(64), c(192), 3, 1),
        nn.MaxPool2d(3, stride=(1, 2)),
        *_convolution2d(c(192), c(384), 3, 1),
        *_convolution2d(c(384), c(256), 3, 1),
        *_convolution2d(c(256), c(256), 3, 1),
        nn.MaxPool2d(3, stride=2),
        *_convolution2d(c(256), c(512), (5, 4), 0),
    )


def _convolution3d(
    inputs: int, outputs: int, kernel: tuple[int, int, int], *, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    return [
        nn.Conv3d(inputs, outputs, kernel, stride=(1, stride, stride), padding=(0, padding, padding)),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    ]


def _pool3d(padding: int = 0) -> nn.MaxPool3d:
    return nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, padding, padding))


def _lip_tower(config: SyncNetConfig) -> nn.Sequential:
    c = config.channels
    return nn.Sequential(
        *_convolution3d(3, c(96), (FRAMES_PER_WINDOW, 7, 7), stride=2),
        _pool3d(),
        *_convolution3d(c(96), c(256), (1, 5, 5), stride=2, padding=1),
        _pool3d(padding=1),
        *_convolution3d(c(256), c(256), (1, 3, 3), padding=1),
        *_convolution3d(c(256), c(256), (1, 3, 3), padding=1),
        *_convolution3d(c(256), c(256), (1, 3, 3), padding=1),
        _pool3d(),
        *_convolution3d(c(256), c(512), (1, config.lip_grid, config.lip_grid)),
    )


def _head(config: SyncNetConfig) -> nn.Sequential:
    hidden = config.channels(512)
    return nn.Sequential(
        nn.Linear(hidden, hidden),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, config.embedding),
    )
