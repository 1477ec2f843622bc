"""Attention over the previous frames, in place of a channel for each (docs/spec/syncdiff.md#beyond)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 16  # of the crops that the convolution sees
HEADS = 8


class TemporalAttention(nn.Module):
    """The masked area of K previous frames as one token of cross-attention.

    Each frame becomes a token: a small convolution over its masked area, and a learnt embedding of its distance. The
    audio token asks them, so that the sound decides which frames matter. Several heads, because the order of frames
    would be lost in one weighted mean.
    """

    def __init__(self, frames: int, dim: int) -> None:
        from diffusers.models.attention_processor import Attention

        super().__init__()
        self.convolution = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(64 * (SIDE // 4) ** 2, dim),
        )
        self.distance = nn.Embedding(frames, dim)
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(query_dim=dim, heads=HEADS, dim_head=dim // HEADS)

    def forward(self, audio: Tensor, previous: Tensor, area: Tensor) -> Tensor:
        """(B, dim), what the previous frames have to tell.

        audio: (B, dim), the token of the frame to make. previous: (B, K, 3, h, w) latents, nearest first. area:
        (B, h, w) in 0..1, how much of each cell of the frame to make is masked.
        """
        batch, frames, channels = previous.shape[:3]
        crops = crop(previous.flatten(1, 2), area, SIDE).view(batch * frames, channels, SIDE, SIDE)
        tokens = self.norm(self.convolution(crops).view(batch, frames, -1) + self.distance.weight)
        return self.attention(audio[:, None], encoder_hidden_states=tokens)[:, 0]  # type: ignore[no-any-return]


def crop(latents: Tensor, area: Tensor, side: int) -> Tensor:
    """The box around each area, bilinearly resized: (B, C, h, w), (B, h, w) -> (B, C, side, side).

    Cells that are not masked at all count as 0. An empty area has the whole frame as its box.
    """
    hidden = area > 0
    rows, columns = _centres(hidden.any(dim=2), side), _centres(hidden.any(dim=1), side)
    shape = (len(latents), side, side)
    grid = torch.stack([columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)], dim=-1)
    return F.grid_sample(latents * hidden[:, None], grid, align_corners=False)


def _centres(hidden: Tensor, parts: int) -> Tensor:
    """The stretch from the first to the last True of (B, n) bool, cut into equal parts: their centres, (B, parts).

    In -1..1 over all n, as `grid_sample` has it.
    """
    n = hidden.shape[1]
    first = hidden.float().argmax(dim=1, keepdim=True)
    last = n - hidden.flip(1).float().argmax(dim=1, keepdim=True)
    centre = (torch.arange(parts, device=hidden.device) + 0.5) / parts
    return 2 * (first + centre * (last - first)) / n - 1
