"""The judge behind the sync loss: which 0.2 s of sound goes with five lower halves of a face.

The published expert (SyncNet_color) was trained on pairs beforehand. Here a small one learns on real frames beside the
generator, from all windows of a batch at once (InfoNCE, van den Oord et al. 2018), which needs far fewer steps. It has
nothing to do with the SyncNet that scores LSE.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

FRAMES = 5  # of one window, 0.2 s
TEMPERATURE = 0.07


class SyncExpert(nn.Module):
    """Embeds five lower half-faces, and a mel window, as unit vectors.

    width: channels of the first layers. Group norm: generated faces must not move the statistics of real ones.
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
        """(N, E) of faces (N, 5, 3, 96, 96) float32 in 0..1; the upper halves are not looked at."""
        lower = faces[..., faces.shape[-2] // 2 :, :].flatten(1, 2)
        return F.normalize(self.lips_head(self.lips(lower).flatten(1)), dim=1)

    def embed_sound(self, mel: Tensor) -> Tensor:
        """(N, E) of mel windows (N, 1, 80, 16) float32."""
        return F.normalize(self.sound_head(self.sound(mel).flatten(1)), dim=1)


def _layer(inputs: int, outputs: int, kernel: int, stride: int | tuple[int, int]) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2),
        nn.GroupNorm(min(8, outputs), outputs),
        nn.ReLU(),
    ]


def mismatch(lips: Tensor, sound: Tensor, partner: Tensor) -> Tensor:
    """Cross-entropy of finding, for each of N lips (N, E), its sound `partner` (N,) among all M sounds (M, E)."""
    return F.cross_entropy(lips @ sound.T / TEMPERATURE, partner)
