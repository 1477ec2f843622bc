"""The arithmetic of LSE-C and LSE-D, quirks included, as pure functions (docs/spec/lse.md#windows).

It is the protocol of Wav2Lip's `calculate_scores_LRS.py`, which TalkLip copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES_PER_FRAME = 640  # 16 kHz over 25 fps, whatever the frame rate of the file is
MAX_SHIFT = 15  # frames; 31 shifts are tried


@dataclass(frozen=True)
class SyncScore:
    """Confidence, distance and offset of one clip.

    lse_c: median minus minimum of the shift means; higher is better.
    lse_d: minimum of the shift means; lower is better.
    offset: frames; positive where the matching sound lies earlier than the picture.
    shift_means: 31 mean distances, shifts -15 .. 15 of the sound.
    """

    lse_c: float
    lse_d: float
    offset: int
    shift_means: tuple[float, ...]


def window_count(frames: int, samples: int) -> int:
    """Windows that are scored; zero or less where the clip is too short.

    One fewer than the clip has room for: the official code ends its range at `min_length - 5`.
    """
    return min(frames, samples // SAMPLES_PER_FRAME) - 5


def shift_means(lips: Tensor, sound: Tensor) -> Tensor:
    """(31,) float32: for each shift of the sound by -15 .. 15 windows the mean distance over ALL windows.

    lips, sound: (n, E) float32 embeddings of the same windows.
    Quirk: the sound is padded with zero rows and the padding is counted, so that a window without a partner
    contributes the norm of its lip embedding; in short clips this is a large part of the mean.
    Quirk: 1e-6 is added to every difference before the norm (torch's pairwise_distance).
    """
    import torch
    from torch.nn.functional import pad, pairwise_distance

    padded = pad(sound, (0, 0, MAX_SHIFT, MAX_SHIFT))
    n = lips.shape[0]
    distances = [pairwise_distance(lips, padded[k : k + n], eps=1e-6) for k in range(2 * MAX_SHIFT + 1)]
    return torch.stack(distances).mean(dim=1)


def score(means: Tensor) -> SyncScore:
    """LSE-C, LSE-D and offset of the 31 shift means; the first minimum wins a tie.

    Quirk: LSE-D is the minimum over all shifts, not the distance at shift 0.
    """
    least = means.min()
    return SyncScore(
        lse_c=float(means.median() - least),
        lse_d=float(least),
        offset=MAX_SHIFT - int(means.argmin()),
        shift_means=tuple(means.tolist()),
    )
