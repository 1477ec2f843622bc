"""Several clips in one pass of AV-HuBERT's Transformer, filled up to the longest.

The front-ends run clip by clip: they work frame by frame, so that a clip alone keeps them busy and filling up would
be wasted on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder


class Streams(NamedTuple):
    """What the front-ends made of one clip: (T, dim) each of the same T, None for a stream that is left out."""

    heard: Tensor | None
    seen: Tensor | None

    @property
    def frames(self) -> int:
        return max(0 if stream is None else len(stream) for stream in self)


def encode_clips(encoder: AVHubertEncoder, clips: Sequence[Streams]) -> tuple[Tensor, Tensor | None]:
    """The encoder's output for clips of any lengths, as each would have it alone to float rounding.

    clips: at least one; every one has a stream. Those with sound and those without may be mixed.
    Returns features (B, T, dim) with T the longest clip, and a padding mask (B, T), True on the steps that fill up
    and whose features mean nothing; None where all are of one length.
    """
    lengths = [clip.frames for clip in clips]
    longest = max(lengths)
    heard, seen = (_filled([clip[number] for clip in clips], longest) for number in range(2))
    known = seen if heard is None else heard
    mask = None
    if min(lengths) < longest and known is not None:
        steps = torch.arange(longest, device=known.device)
        mask = steps >= torch.tensor(lengths, device=known.device)[:, None]
    x = encoder.embed_streams(heard, seen, mask)
    return encoder.final_norm(encoder.run_layers(x, padding_mask=mask)), mask


def _filled(streams: Sequence[Tensor | None], frames: int) -> Tensor | None:
    """(B, frames, dim), zeros behind the end of a clip and for a missing stream; None where all are missing."""
    known = next((stream for stream in streams if stream is not None), None)
    if known is None:
        return None
    filled = known.new_zeros(len(streams), frames, known.shape[-1])
    for row, stream in zip(filled, streams, strict=True):
        if stream is not None:
            row[: len(stream)] = stream
    return filled


def padded_batches(lengths: Sequence[int], frames: int) -> list[list[int]]:
    """Indices of clips that go together, longest first: none has more than `frames` steps once filled up.

    A clip that is longer by itself goes alone.

    >>> padded_batches([10, 40, 30, 12], 80)
    [[1, 2], [3, 0]]
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= frames:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
