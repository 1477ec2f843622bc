"""Which decoded frame is shown when: constant frame rate out of any timestamps, and one rate out of another.

Both functions give frame indices, so that a frame is never copied before it is known to be wanted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import FPS

# ffmpeg moves a timestamp by this much off zero "to reduce the chance of rounding differences" at exact
# midpoints.
MIDPOINT_BIAS = 1 / (1 << 17)

HAIR = 1e-7  # seconds: less than any clock's tick, more than the rounding of floats
FASTEST_LABEL = 240  # frames per second; beyond it a label may be a clock


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
        early = start + (MIDPOINT_BIAS if start > 0 else -MIDPOINT_BIAS if start < 0 else 0) - len(shown)
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


def nearest_indices(starts: NDArray[np.float64], end: float, target: Fraction) -> NDArray[np.int64]:
    """(round(end * target),): which frame is shown in each slot of `target`, as by ffmpeg's filter `fps`.

    starts: seconds from the start of the file, ascending. end: seconds, of the last frame.
    A frame belongs to the slot whose time is nearest to its own (the later one on a tie); of several in a slot the last
    is shown, and a slot without any shows the frame before it, or the first. At least one frame comes out.

    >>> nearest_indices(np.arange(7) / 30, 7 / 30, Fraction(25)).tolist()
    [0, 1, 2, 4, 5, 6]
    >>> nearest_indices(np.array([0.1, 0.13, 0.3]), 0.35, Fraction(25)).tolist()
    [0, 0, 0, 1, 1, 1, 1, 1, 2]
    """
    slots = np.floor((starts + HAIR) * float(target) + 0.5)
    wanted = np.arange(max(1, frames_until(end, target)))
    return np.maximum(np.searchsorted(slots, wanted, side="right") - 1, 0)


def frames_until(end: float, rate: Fraction) -> int:
    """How many frames of a constant rate fill so many seconds, rounded half up."""
    return math.floor((end + HAIR) * float(rate) + 0.5)


def label_rate(label: Fraction | None, measured: Fraction | None) -> Fraction:
    """The frames per second that a file is labelled with; what was measured where the label is none.

    label: FFmpeg's guess from the header. A file of a browser's MediaRecorder has no rate in its header, and FFmpeg
        gives its clock, 1000 ticks per second.
    measured: by the times of its pictures, None for a single one.
    """
    if label is not None and label <= FASTEST_LABEL:
        return label
    return measured.limit_denominator(1001) if measured else label or Fraction(FPS)


def is_variable(starts: NDArray[np.float64]) -> bool:
    """Whether steps between frames differ by more than a clock's rounding."""
    steps = np.diff(starts)
    return bool(len(steps)) and bool(np.abs(steps - np.median(steps)).max() > np.median(steps) / 4)


def rate_label(rate: Fraction | float) -> str:
    """Frames per second as people write them: "25", "29.97", "23.976"."""
    return f"{float(rate):.5g}"
