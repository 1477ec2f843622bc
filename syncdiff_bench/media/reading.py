"""Decoding one clip: RGB frames at constant 25 fps, 16 kHz mono audio, and what happened to them on the way."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import FPS, SAMPLE_RATE, Media
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.capacity import refuse_too_long
from syncdiff_bench.media.containers import MediaFacts, audio_stream, labelled_rate, open_media, probe, video_stream
from syncdiff_bench.media.damage import damage
from syncdiff_bench.media.orientation import orientation
from syncdiff_bench.media.packets import Track, demuxed
from syncdiff_bench.media.pictures import arrays, decoded_pictures, one_size
from syncdiff_bench.media.retiming import (
    constant_rate_indices,
    frames_until,
    is_variable,
    label_rate,
    nearest_indices,
    rate_label,
)
from syncdiff_bench.media.sound import decoded_sound

__all__ = ["MediaFacts", "probe", "read_every_picture", "read_media"]

SLOWEST, FASTEST = 1, 1000  # pictures per second, beyond which it is the clock that is broken


def read_media(
    path: Path, *, fps: float | None = FPS, sample_rate: int = SAMPLE_RATE, accept_damaged: bool = False
) -> Media:
    """Decode a clip.

    path: any file that FFmpeg reads.
    fps: frames per second to retime to, by the times in the file: of a file labelled with this rate the frames that
        ffmpeg's constant-rate output has, of another the nearest to each wanted time. None keeps the file's own
        constant rate, which is what the official LSE code pairs with 25-fps audio (docs/spec/lse.md#pictures).
    sample_rate: Hz.
    accept_damaged: read what there is of a damaged file, with a caveat.

    Returns Media: frames (T, H, W, 3) uint8 RGB, turned and mirrored as the file says, as `ffmpeg -f image2` dumps
    them (variable rate made constant, a late start repeats the first frame) and converted as swscale does by
    default; planes, the same pictures as the file codes them, where that is 8-bit YCbCr; audio (N,) int16 with
    a start gap filled by zeros and N <= T * sample_rate / 25 (codec padding is cut, a short track is not
    lengthened).

    Raises ClipError `missing`, `empty`, `truncated`, `undecodable`, `unreadable`, `no-video`, `timestamps`,
    `rotation`, `too-long`, and `damaged`: the decoder flags pictures or refuses packets, or there is less than the
    file declares.
    """
    target = None if fps is None else Fraction(fps).limit_denominator(100_000)
    return _read(path, sample_rate, accept_damaged, partial(_at_rate, target=target))


def read_every_picture(path: Path, *, accept_damaged: bool = False) -> Media:
    """Decode a clip without a look at its times: each picture of the file once, in the order of showing.

    Returns and raises as `read_media` does; nothing is repeated, dropped or retimed. `source_rate` is the label.
    """
    return _read(path, SAMPLE_RATE, accept_damaged, _each_once)


class _Timing(NamedTuple):
    """When pictures are shown: seconds of the file, exact.

    starts: in the order of showing. durations: None where the file does not tell. rate: frames per second on the label.
    """

    starts: list[Fraction]
    durations: list[Fraction | None]
    rate: Fraction


Chosen = tuple[NDArray[np.int64], tuple[Caveat, ...]]  # indices of the pictures to show, and what to say of that


def _read(path: Path, sample_rate: int, accept_damaged: bool, choose: Callable[[_Timing, Path], Chosen]) -> Media:
    with open_media(path) as container:
        stream, sound_stream = video_stream(container, path), audio_stream(container, path)
        label, file_start = labelled_rate(stream), Fraction(container.start_time or 0, 1_000_000)
        if label is not None and label < SLOWEST:
            raise _broken_clock(path, f"says {1 / float(label):.0f} s per frame")
        fits = partial(_refuse_too_many, path=path)
        video, *sounds = demuxed(container, [stream] if sound_stream is None else [stream, sound_stream], fits)
        pictures = decoded_pictures(video)
        if not pictures.frames:
            raise ClipError("undecodable", f"{path}: the video track holds no picture; copy or download it again")
        sound = decoded_sound(sounds[0] if sounds else None, file_start, sample_rate)
        timing = _timing(container, video, pictures.frames, label, path)
        wrong = damage(container, path, video, sounds, pictures, sound, timing.rate)
        if wrong and not accept_damaged:
            mend = "copy or download it again, or accept what is left with --accept-damaged"
            raise ClipError("damaged", f"{path}: {wrong[0].detail}; {mend}")
        pixel_aspect = stream.sample_aspect_ratio or None
    indices, noticed = choose(timing, path)
    count, (height, width) = len(pictures.frames), one_size(pictures.frames, path)
    refuse_too_long(len(indices), height * width, path)
    turn = orientation(pictures.frames[0], path)
    frames, planes = arrays(pictures.frames, indices, turn, pixel_aspect)
    audio = sound.samples[: len(frames) * sample_rate // FPS]
    notes = (*([str(turn)] if str(turn) else []), *sound.notes)
    return Media(frames, audio, notes, planes, (*wrong, *noticed), indices, count, timing.rate)


def _refuse_too_many(track: Track, path: Path) -> None:
    coded = track.stream.codec_context
    if track.stream.type == "video":
        refuse_too_long(len(track.packets), coded.width * coded.height, path)


# ---------------------------------------------------------------------------------------------- time


def _timing(container: Any, track: Track, frames: list[Any], label: Fraction | None, path: Path) -> _Timing:
    if container.format.name == "avi":
        starts = _slots(track, frames)
        rate = label or label_rate(label, starts)
    else:
        starts = _timestamps(frames, label, Fraction(container.start_time or 0, 1_000_000))
        rate = label_rate(label, starts)
    if len(starts) > 1:
        per_second = (len(starts) - 1) / float(max(starts[-1] - starts[0], Fraction(1, 10**9)))
        if not SLOWEST <= per_second <= FASTEST:
            raise _broken_clock(path, f"spreads {len(starts)} frames over {float(starts[-1] - starts[0]):.3g} s")
    # With B-frames a packet's duration is the step to the next packet in decoding order, which says nothing
    # about the picture; ffmpeg 5.1, the reference, takes one frame for it.
    told = not track.stream.codec_context.has_b_frames and container.format.name != "avi"
    durations = [frame.duration * frame.time_base if told and frame.duration else None for frame in frames]
    return _Timing(starts, durations, rate)


def _timestamps(frames: list[Any], label: Fraction | None, file_start: Fraction) -> list[Fraction]:
    """A picture without a time follows the one before it."""
    starts: list[Fraction] = []
    for frame in frames:
        if frame.pts is not None:
            starts.append(frame.pts * frame.time_base - file_start)
        else:
            starts.append(starts[-1] + 1 / (label or Fraction(FPS)) if starts else Fraction(0))
    return starts


def _slots(track: Track, frames: list[Any]) -> list[Fraction]:
    """AVI stores no presentation times, and what FFmpeg makes up is late by the decoder's delay and, with B-frames,
    wrong. What it stores is a row of chunks of one tick each, some of them empty: pictures are shown in these slots, in
    their order.
    """
    tick = track.stream.time_base
    slots = track.slots if len(track.slots) == len(frames) else range(len(frames))
    return [(slot - slots[0]) * tick for slot in slots]


def _broken_clock(path: Path, what: str) -> ClipError:
    return ClipError("timestamps", f"{path}: its clock {what}, which is damaged or no video; re-encode it at 25 fps")


# -------------------------------------------------------------------------------------------- choices


def _each_once(timing: _Timing, path: Path) -> Chosen:
    return np.arange(len(timing.starts)), ()


def _at_rate(timing: _Timing, path: Path, target: Fraction | None) -> Chosen:
    if target is None or target == timing.rate:
        return _constant(timing, path)
    return _nearest(timing, path, target)


def _constant(timing: _Timing, path: Path) -> Chosen:
    """As ffmpeg's constant-rate output, at the label's rate."""
    rate, n = timing.rate, len(timing.starts)
    timed = [
        (float(start * rate), float(1 if duration is None else round(duration * rate) or 1))
        for start, duration in zip(timing.starts, timing.durations, strict=True)
    ]
    _refuse_gaps(max(start + duration for start, duration in timed), n, path)
    shown = constant_rate_indices(timed) or [0]
    late = shown.count(shown[0]) - 1 if timed[0][0] > 0.5 else 0
    noticed = _starts_late(late, len(shown))
    if len(shown) != n + late:
        change = f"made constant {rate_label(rate)} fps: {n} -> {len(shown)} frames"
        noticed += (Caveat("made-constant", "variable frame rate, frames repeated or dropped", change),)
    return np.asarray(shown, dtype=np.int64), noticed


def _nearest(timing: _Timing, path: Path, target: Fraction) -> Chosen:
    """In one step from the file's own times: constant rate first and another rate then would err twice."""
    starts = np.maximum.accumulate([float(start) for start in timing.starts])
    end = starts[-1] + float(timing.durations[-1] or 1 / timing.rate)
    _refuse_gaps(end * float(target), len(starts), path)
    indices = nearest_indices(starts, end, target)
    noticed = _starts_late(frames_until(starts[0], target), len(indices))
    rate = rate_label(timing.rate) + (" (variable)" if is_variable(starts) else "")
    change = f"retimed {rate} -> {rate_label(target)} fps: {len(starts)} -> {len(indices)} frames"
    return indices, (*noticed, Caveat("retimed", f"retimed to {rate_label(target)} fps, nearest frames", change))


def _starts_late(late: int, shown: int) -> tuple[Caveat, ...]:
    if late < 1:
        return ()
    filled = f"video starts late: {late} of {shown} frames filled with the first"
    return (Caveat("starts-late", "the video starts late, filled with its first frame", filled),)


def _refuse_gaps(shown: float, n: int, path: Path) -> None:
    # A broken timestamp can ask for hours of repeated frames.
    if shown > 20 * n + 250:
        raise _broken_clock(path, f"spreads {n} frames over the time of {shown:.0f}")
