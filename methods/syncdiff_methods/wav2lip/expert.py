"""The sync expert: a network that tells which 0.2 s of sound goes with five lower halves of a face.

DIR/config.json             SyncExpertConfig
DIR/expert.safetensors      SyncExpert

It is a teacher, in the losses of trainings, and has nothing to do with the SyncNet that scores LSE: other sound (mel
for MFCC), other pictures (lower halves for whole faces), another training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncdiff_bench.media.bilinear import FACE_SIZE
from syncdiff_methods.model_folder import FolderModel

FRAMES = 5  # of one window, 0.2 s
TEMPERATURE = 0.07


@dataclass(frozen=True)
class SyncExpertConfig:
    """Sizes; the defaults are those for real faces, four times as wide as pocket's.

    width: channels of the first layers.
    embedding: of a window of sound or of faces.
    """

    width: int = 64
    embedding: int = 512


class SyncExpert(nn.Module):
    """It embeds five lower half-faces, and a mel window, as unit vectors.

    The published expert (SyncNet_color, Prajwal et al. 2020) learns from pairs; this one from all windows of a batch at
    once (InfoNCE, van den Oord et al. 2018), which needs far fewer steps. Group norm: generated faces must not move the
    statistics of real ones.

    width, embedding: as in `SyncExpertConfig`.
    """

    def __init__(self, width: int = 16, embedding: int = 128) -> None:
        super().__init__()
        w = width
        self.lips = nn.Sequential(
            *_layer(3 * FRAMES, w, 5, 2),
            *_layer(w, 2 * w, 3, 2),
            *_layer(2 * w, 4 * w, 3, 2),
            *_layer(4 * w, 4 * w, 3, 2),
        )
        self.sound = nn.Sequential(
            *_layer(1, w, 3, (2, 1)), *_layer(w, 2 * w, 3, 2), *_layer(2 * w, 4 * w, 3, 2), *_layer(4 * w, 4 * w, 3, 2)
        )
        self.lips_head = nn.Linear(4 * w * 3 * 6, embedding)
        self.sound_head = nn.Linear(4 * w * 5 * 2, embedding)

    def embed_lips(self, faces: Tensor) -> Tensor:
        """(N, E) of faces (N, 5, 3, 96, 96) float32 BGR in 0..1; the upper halves are not looked at."""
        return self.embed_lower(faces[..., FACE_SIZE // 2 :, :])

    forward = embed_lips  # for `functional_call`

    def embed_lower(self, lower: Tensor) -> Tensor:
        """(N, E) of the lower halves (N, 5, 3, 48, 96) float32 BGR in 0..1."""
        return F.normalize(self.lips_head(self.lips(lower.flatten(1, 2)).flatten(1)), dim=1)

    def embed_audio(self, mel: Tensor) -> Tensor:
        """(N, E) of mel windows (N, 1, 80, 16) float32."""
        return F.normalize(self.sound_head(self.sound(mel).flatten(1)), dim=1)

    def embed_windows(self, faces: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Lips and sound, (B W, E) each, of every window of B stretches; row i of one belongs to row i of the other.

        faces: (B, W + 4, 3, 96, 96) float32 BGR in 0..1 in a row. mel: (B, W, 80, 16), window w for frame w.
        """
        audio = self.embed_audio(mel.flatten(0, 1).float()[:, None])
        return self.embed_lips(faces.unfold(1, FRAMES, 1).movedim(-1, 2).flatten(0, 1)), audio


def _layer(inputs: int, outputs: int, kernel: int, stride: int | tuple[int, int]) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2),
        nn.GroupNorm(min(8, outputs), outputs),
        nn.ReLU(),
    ]


def mismatch(lips: Tensor, audio: Tensor, partner: Tensor) -> Tensor:
    """Cross-entropy of finding, for each of N lips (N, E), its window `partner` (N,) among all M of audio (M, E)."""
    return F.cross_entropy(lips @ audio.T / TEMPERATURE, partner)


def contrast(lips: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
    """What an expert learns by: the mean `mismatch` of N lips and N windows of sound (N, E), both ways; and the share
    of lips whose own window is the nearest.
    """
    partner = torch.arange(len(audio), device=audio.device)
    found = (lips.detach() @ audio.detach().T).argmax(dim=1) == partner
    return (mismatch(lips, audio, partner) + mismatch(audio, lips, partner)) / 2, found.float().mean()


class SyncExpertModel(FolderModel):
    """A trained expert as a folder."""

    Config = SyncExpertConfig
    config: SyncExpertConfig
    parts = ("expert",)
    title = "sync expert"
    mend = "train it again"
    shipped = Path(__file__).parent / "experts"

    def __init__(self, config: SyncExpertConfig) -> None:
        super().__init__(config)
        self.expert = SyncExpert(config.width, config.embedding)
