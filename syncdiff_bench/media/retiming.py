"""Which decoded frame is shown when: constant frame rate out of any timestamps, and one rate out of another.

Both functions give frame indices, so that a frame is never copied before it is known to be wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

# ffmpeg moves a timestamp by this much off zero "to reduce the chance of rounding differences" at exact
# midpoints.
MIDPOINT_BIAS = 1 / (1 << 17)


def constant_rate_indices(timed: Iterable[tuple[float, float]]) -> list[int]:
    """Indices of the decoded frames in the order in which a constant-rate dump shows them.

    timed: per decoded frame its start (counted from the start of the file) and its duration, both in output
        frames: an undisturbed clip is (0, 1), (1, 1), (2, 1), ...
    Source: ffmpeg 5.1 `do_video_out` with `-vsync cfr`, which is what `ffmpeg -i V -f image2` does and hence
    what the official LSE code sees (docs/spec/lse.md#pictures): a gap repeats frames, a late start repeats
    the first frame, crowded frames are dropped, and jitter below 1.1 frames passes.

    >>> constant_rate_indices([(0, 1), (1, 2), (3, 1)])
    [0, 1, 1, 2]
    >>> constant_rate_indices([(2, 1), (3, 1)])
    [0, 0, 0, 1]
    """
    shown: list[int] = []
    recent_repeats = [0, 0, 0]
    index = -1
    for index, (start, duration) in enumerate(timed):
        early = start + np.sign(start) * MIDPOINT_BIAS - len(shown)
        end = early + duration
        if early < 0 < end:
            early = 0.0
        copies, repeats = 1, 0
        if end < -1.1:
            copies = 0
        elif end > 1.1:
            copies = round(end)
            repeats = round(early - 0.6) if early > 1.1 else 0
        repeats = min(repeats, copies)
        recent_repeats = [repeats, *recent_repeats[:2]]
        shown += [max(index - 1, 0)] * repeats + [index] * (copies - repeats)
    return shown + [index] * sorted(recent_repeats)[1]


def nearest_indices(n_frames: int, rate: Fraction, target: Fraction) -> NDArray[np.int64]:
    """(round(n_frames * target / rate),): index of the frame of `rate` nearest in time to each of `target`.

    On a tie the earlier frame is taken; at least one frame comes out.

    >>> nearest_indices(7, Fraction(30), Fraction(25)).tolist()
    [0, 1, 2, 4, 5, 6]
    """
    n_target = max(1, round(n_frames * target / rate))
    step = rate / target
    # ceil(k * step - 1/2) in whole numbers: exact, so that every machine picks the same frame.
    numerators = 2 * np.arange(n_target, dtype=np.int64) * step.numerator - step.denominator
    nearest = -(-numerators // (2 * step.denominator))
    return np.clip(nearest, 0, n_frames - 1)


def rate_label(rate: Fraction | float) -> str:
    """Frames per second as people write them: "25", "29.97", "23.976"."""
    return f"{float(rate):.5g}"
