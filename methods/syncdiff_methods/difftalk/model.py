"""DiffTalk's networks as one object and one directory.

DIR/config.json                 config.DiffTalkConfig
DIR/autoencoder.safetensors     frames <-> latents
DIR/denoiser.safetensors        UNet (EMA weights)
DIR/conditions.safetensors      audio and landmark encoders
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from syncdiff_bench.options import options_from_values
from syncdiff_methods.difftalk.config import LANDMARKS, UNET_CHANNELS, DiffTalkConfig
from syncdiff_methods.syncdiff.audio import TemporalFilter
from syncdiff_methods.syncdiff.autoencoder import Autoencoder
from syncdiff_methods.syncdiff.deepspeech import AudioNet
from syncdiff_methods.syncdiff.denoiser import build_unet
from syncdiff_methods.syncdiff.model import SHARED, load_part, part_files, read_values, save_part

PRETRAINED = Path(__file__).parent / "pretrained"
PARTS = ("autoencoder", "denoiser", "conditions")


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


class DiffTalkModel(nn.Module):
    """autoencoder, denoiser and conditions, built from one config."""

    def __init__(self, config: DiffTalkConfig) -> None:
        super().__init__()
        self.config = config
        self.autoencoder = Autoencoder(config.autoencoder)
        self.denoiser = build_unet(config.unet, UNET_CHANNELS, config.context_dim, config.latent_size)
        self.conditions = Conditions(config)

    def predict(self, noisy: Tensor, timestep: Tensor, masked: Tensor, reference: Tensor, token: Tensor) -> Tensor:
        """The noise in `noisy`.

        noisy, masked, reference: (B, 3, h, w) latents, concatenated in this order; timestep: () or (B,) long;
        token: (B, 128) of `Conditions`. Returns (B, 3, h, w).
        """
        stacked = torch.cat([noisy, masked, reference], dim=1)
        return self.denoiser(stacked, timestep, encoder_hidden_states=token[:, None]).sample  # type: ignore[no-any-return]

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> DiffTalkModel:
        """Load a directory.

        Raises UsageError where there is no such directory, WeightsError where its files do not fit its config.
        """
        model = cls(read_config(Path(folder)))
        for part, file in part_files(Path(folder), PARTS).items():
            load_part(getattr(model, part), file)
        return model.eval()

    def save_pretrained(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write config and weights."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config.to_dict(), indent=1) + "\n")
        for part in PARTS:
            save_part(getattr(self, part), folder / f"{part}.safetensors", dtype)


def locate(model: str) -> Path:
    """The directory behind a shipped model's name, else the directory itself."""
    shipped = PRETRAINED / model
    return shipped if (shipped / "config.json").is_file() else Path(model)


def read_config(folder: Path) -> DiffTalkConfig:
    """config.json of a DiffTalk directory. Raises UsageError where there is none or it is another method's."""
    values = read_values(folder, "DiffTalk config", "make one with `syncdiff-bench weights import difftalk`")
    values.pop(SHARED, None)
    config: DiffTalkConfig = options_from_values(DiffTalkConfig, values, str(folder / "config.json"))
    return config
