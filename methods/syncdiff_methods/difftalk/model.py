"""DiffTalk's config, and its networks as one model and one folder.

DIR/config.json                 DiffTalkConfig
DIR/autoencoder.safetensors     frames <-> latents
DIR/denoiser.safetensors        UNet (EMA weights)
DIR/conditions.safetensors      audio and landmark encoders
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_methods.model_folder import FolderModel
from syncdiff_methods.syncdiff.audio import AudioNet, TemporalFilter
from syncdiff_methods.syncdiff.config import AutoencoderConfig, DiffusionConfig, UNetConfig
from syncdiff_methods.syncdiff.model import Autoencoder, build_unet

UNET_CHANNELS = 9  # noisy, masked, reference: 3 each
LANDMARKS = 39  # jaw ends, brows, nose and eyes of the 68; no mouth, no chin


@dataclass(frozen=True)
class DiffTalkConfig:
    """Every choice of DiffTalk; the defaults are the released ones (docs/spec/difftalk.md#configuration).

    frame_size: side of the square frames.
    audio_dim, landmark_dim: halves of the context token.
    attended: how many audio features decide the weights of the temporal filter.
    window: audio frames that it weighs, t - window / 2 .. t + window / 2 - 1.
    logits: folder of the character scores (`<clip id>.npy`), or the name of an installed acoustic model.
    """

    name: str = "paper"
    frame_size: int = 256
    audio_dim: int = 64
    landmark_dim: int = 64
    attended: int = 32
    window: int = 8
    logits: str = ""
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    unet: UNetConfig = field(default_factory=UNetConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)

    @property
    def context_dim(self) -> int:
        return self.audio_dim + self.landmark_dim

    @property
    def latent_size(self) -> int:
        return self.frame_size >> (len(self.autoencoder.channels) - 1)


class LandmarkNet(nn.Module):
    """39 landmarks to a vector: three linear layers (DiffTalk's LdmNet, docs/spec/difftalk.md#encoders)."""

    def __init__(self, dim: int = 64) -> None:
        super().__init__()
        self.encoder_fc1 = nn.Sequential(
            nn.Linear(2 * LANDMARKS, 128),
            nn.LeakyReLU(0.02),
            nn.Linear(128, 64),
            nn.LeakyReLU(0.02),
            nn.Linear(64, dim),
        )

    def forward(self, landmarks: Tensor) -> Tensor:
        """(B, 39, 2) float32 x y in pixels of the 256-pixel frame, not normalised -> (B, dim)."""
        return self.encoder_fc1(landmarks.flatten(1))  # type: ignore[no-any-return]


class Conditions(nn.Module):
    """Audio windows and landmarks to the one context token of a frame (docs/spec/difftalk.md#one-token)."""

    def __init__(self, config: DiffTalkConfig) -> None:
        super().__init__()
        self.audio = AudioNet(config.audio_dim)
        self.filter = TemporalFilter(config.audio_dim, config.window, config.attended)
        self.landmarks = LandmarkNet(config.landmark_dim)

    def forward(self, audio: Tensor, landmarks: Tensor) -> Tensor:
        """audio: (B, 8, 16, 29) score windows of the 8 frames around; landmarks: (B, 39, 2) -> (B, 128)."""
        return torch.cat([self.filter(self.audio(audio)), self.landmarks(landmarks)], dim=1)


class DiffTalkModel(FolderModel):
    """autoencoder, denoiser and conditions, built from one config."""

    Config = DiffTalkConfig
    config: DiffTalkConfig
    parts = ("autoencoder", "denoiser", "conditions")
    title = "DiffTalk"
    mend = "make one with `syncdiff-bench weights import difftalk`"
    shipped = Path(__file__).parent / "pretrained"

    def __init__(self, config: DiffTalkConfig) -> None:
        super().__init__(config)
        self.autoencoder = Autoencoder(config.autoencoder)
        self.denoiser = build_unet(config.unet, UNET_CHANNELS, config.context_dim, config.latent_size)
        self.conditions = Conditions(config)

    @classmethod
    def locate(cls, where: str | Path) -> Path:
        """The folder behind a shipped model's name, else the path as it is."""
        try:
            return super().locate(where)
        except UsageError:
            return Path(where)  # `read_config` says how to make one

    def predict(self, noisy: Tensor, timestep: Tensor, masked: Tensor, reference: Tensor, token: Tensor) -> Tensor:
        """The noise in `noisy`.

        noisy, masked, reference: (B, 3, h, w) latents, concatenated in this order; timestep: () or (B,) long;
        token: (B, 128) of `Conditions`. Returns (B, 3, h, w).
        """
        stacked = torch.cat([noisy, masked, reference], dim=1)
        return self.denoiser(stacked, timestep, encoder_hidden_states=token[:, None]).sample  # type: ignore[no-any-return]
