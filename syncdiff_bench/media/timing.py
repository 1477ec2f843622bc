"""When the frames of a file are shown, and which of them are therefore read.

Pictures are chosen by index, so that none is copied before it is known to be wanted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import FPS
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.containers import Track

SLOWEST, FASTEST = 1, 1000  # frames per second; beyond, it is the clock that is broken

STARTS_LATE = "starts-late"  # the kind of the caveat

Chosen = tuple[NDArray[np.int64], tuple[Caveat, ...]]  # indices of the frames to show, and what to say of that


class Timing(NamedTuple):
    """When frames are shown, in whole ticks since the file began: exact, so that every machine picks the same ones.

    tick: seconds.
    starts: in the order of showing.
    durations: None where the file does not tell.
    rate: frames per second on the file's label.
    """

    tick: Fraction
    starts: list[int]
    durations: list[int | None]
    rate: Fraction

    def in_units(self, unit: Fraction) -> list[float]:
        """The starts in `unit`s of so many seconds."""
        ratio = self.tick / unit
        return [start * ratio.numerator / ratio.denominator for start in self.starts]


def timing_of(container: Any, track: Track, frames: list[Any], label: Fraction | None, path: Path) -> Timing:
    """The timing of decoded frames, `av.VideoFrame`s.

    label: frames per second by the header. Raises ClipError `timestamps` for a rate that no video has.
    """
    if container.format.name == "avi":
        tick, starts, durations = _slots(track, frames)
    else:
        tick, starts, durations = _timestamps(container, track, frames, label or Fraction(FPS))
    n, span = len(frames), (starts[-1] - starts[0]) * tick
    if n > 1 and not (span > 0 and SLOWEST <= (n - 1) / span <= FASTEST):
        raise _broken_clock(path, f"spreads {n} frames over {float(span):.3g} s")
    return Timing(tick, starts, durations, label_rate(label, (n - 1) / span if n > 1 else None))


def refuse_label(label: Fraction | None, path: Path) -> None:
    """Raises ClipError `timestamps` for a header that gives a frame more than a second."""
    if label is not None and label < SLOWEST:
        raise _broken_clock(path, f"gives each frame {1 / float(label):.0f} s")


def _timestamps(
    container: Any, track: Track, frames: list[Any], rate: Fraction
) -> tuple[Fraction, list[int], list[int | None]]:
    """A frame without a time follows the one before it."""
    base = frames[0].time_base
    file_start = Fraction(container.start_time or 0, 1_000_000)
    tick = Fraction(1, math.lcm(base.denominator, file_start.denominator))
    per_base, origin = int(base / tick), int(file_start / tick)
    starts: list[int] = []
    for frame in frames:
        if frame.pts is not None:
            starts.append(frame.pts * per_base - origin)
        else:
            starts.append(starts[-1] + round(1 / rate / tick) if starts else 0)
    # Decoders give frames in the order of showing; times that go back are those of decoding (packed B-frames).
    starts.sort()
    # With B-frames a packet's duration is the step to the next packet in decoding order, which says nothing
    # about the frame; ffmpeg 5.1, the reference, takes one frame for it.
    told = not track.stream.codec_context.has_b_frames
    return tick, starts, [frame.duration * per_base if told and frame.duration else None for frame in frames]


def _slots(track: Track, frames: list[Any]) -> tuple[Fraction, list[int], list[int | None]]:
    """AVI stores no presentation times, and what FFmpeg makes up is late by the decoder's delay and, with B-frames,
    wrong. What it stores is a row of chunks of one tick each, some of them empty: frames are shown in these slots, in
    their order.
    """
    slots = track.slots if len(track.slots) == len(frames) else list(range(len(frames)))
    starts = [slot - slots[0] for slot in slots]
    # FFmpeg writes the empty chunks of a late start after the first frame.
    if len(starts) > 2:
        starts[0] = max(0, starts[1] - int(np.median(np.diff(starts))))
    return track.stream.time_base, starts, [None] * len(frames)


def _broken_clock(path: Path, what: str) -> ClipError:
    return ClipError("timestamps", f"{path}: its clock {what}, which is damaged or no video; re-encode it at 25 fps")


# -------------------------------------------------------------------------------------------- choices


def each_once(timing: Timing, path: Path) -> Chosen:
    """All frames, whatever their times."""
    del path
    return np.arange(len(timing.starts)), ()


def at_rate(timing: Timing, path: Path, *, target: Fraction | None) -> Chosen:
    """The frames of a constant rate, None for the file's own. Raises ClipError `timestamps`."""
    if target is None or target == timing.rate:
        return _constant(timing, path)
    return _nearest(timing, path, target)


def _constant(timing: Timing, path: Path) -> Chosen:
    """As in ffmpeg's constant-rate output, at the label's rate."""
    rate, n = timing.rate, len(timing.starts)
    frame_ticks = 1 / rate / timing.tick
    durations = [1 if ticks is None else round(ticks / frame_ticks) or 1 for ticks in timing.durations]
    timed = list(zip(timing.in_units(1 / rate), map(float, durations), strict=True))
    _refuse_gaps(max(start + duration for start, duration in timed), n, path)
    shown = constant_rate_indices(timed) or [0]
    late = shown.count(shown[0]) - 1 if timed[0][0] > 0.5 else 0
    noticed = _starts_late(late, len(shown))
    if len(shown) != n + late:
        change = f"made constant {rate_label(rate)} fps: {n} -> {len(shown)} frames"
        noticed += (Caveat("made-constant", "variable frame rate, frames repeated or dropped", change),)
    return np.asarray(shown, dtype=np.int64), noticed


def _nearest(timing: Timing, path: Path, target: Fraction) -> Chosen:
    """In one step from the file's own times: one constant rate first and another then would err twice."""
    starts = np.maximum.accumulate(timing.in_units(Fraction(1)))
    last = timing.durations[-1]
    end = starts[-1] + float(1 / timing.rate if last is None else last * timing.tick)
    _refuse_gaps(end * float(target), len(starts), path)
    indices = nearest_indices(starts, end, target)
    noticed = _starts_late(frames_until(starts[0], target), len(indices))
    if np.array_equal(indices, np.arange(len(starts))):  # 25.002 fps
        return indices, noticed
    steps = np.diff(starts)
    # Steps differ by more than a clock's rounding.
    variable = len(steps) and np.abs(steps - np.median(steps)).max() > np.median(steps) / 4
    rate = rate_label(timing.rate) + (" (variable)" if variable else "")
    change = f"retimed {rate} -> {rate_label(target)} fps: {len(starts)} -> {len(indices)} frames"
    return indices, (*noticed, Caveat("retimed", f"retimed to {rate_label(target)} fps, nearest frames", change))


def _starts_late(late: int, shown: int) -> tuple[Caveat, ...]:
    if late < 1:
        return ()
    filled = f"video starts late: {late} of {shown} frames filled with the first"
    return (Caveat(STARTS_LATE, "the video starts late, filled with its first frame", filled),)


def _refuse_gaps(shown: float, n: int, path: Path) -> None:
    # A broken timestamp can ask for hours of repeated frames.
    if shown > 20 * n + 250:
        raise _broken_clock(path, f"spreads {n} frames over the time of {shown:.0f}")


# ------------------------------------------------------------------------------------------ frame rates

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
    measured: by the times of its frames, None for a single one.
    """
    if label is not None and label <= FASTEST_LABEL:
        return label
    return measured.limit_denominator(1001) if measured else label or Fraction(FPS)


def rate_label(rate: Fraction | float) -> str:
    """Frames per second as people write them: "25", "29.97", "23.976"."""
    return f"{float(rate):.5g}"
