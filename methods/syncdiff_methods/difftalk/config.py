"""Every choice of DiffTalk as a field; the defaults are the released ones (docs/spec/difftalk.md#configuration)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from syncdiff_methods.syncdiff.config import AutoencoderConfig, DiffusionConfig, UNetConfig

UNET_CHANNELS = 9  # noisy, masked, reference: 3 each
LANDMARKS = 39  # jaw ends, brows, nose and eyes of the 68; no mouth, no chin


@dataclass(frozen=True)
class DiffTalkConfig:
    """The whole method.

    frame_size: side of the square frames. audio_dim, landmark_dim: halves of the context token.
    attended: how many audio features decide the weights of the temporal filter. window: audio frames it weighs,
        t - window / 2 .. t + window / 2 - 1.
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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
