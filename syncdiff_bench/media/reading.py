"""Decoding one clip: RGB frames at constant 25 fps, 16 kHz mono audio, and a note for every conversion."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import FPS, SAMPLE_RATE, Frames, Media
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.coded import CodedPicture, coded_picture, gathered_planes
from syncdiff_bench.media.containers import MediaFacts, constant_rate, open_media, probe, video_stream
from syncdiff_bench.media.retiming import constant_rate_indices, nearest_indices, rate_label
from syncdiff_bench.media.sound import read_audio

__all__ = ["MediaFacts", "probe", "read_media"]

# A clip is seconds long. A film in the folder must fail alone instead of taking the machine's memory with it.
MAX_DECODED_BYTES = 8 * 1024**3


def read_media(path: Path, *, fps: float | None = FPS, sample_rate: int = SAMPLE_RATE) -> Media:
    """Decode a clip.

    path: any file that FFmpeg reads.
    fps: frames per second to retime to (nearest frame by time); None keeps the file's own constant rate,
        which is what the official LSE code pairs with 25-fps audio (docs/spec/lse.md#pictures).
    sample_rate: Hz.

    Returns Media: frames (T, H, W, 3) uint8 RGB with rotation metadata applied, as `ffmpeg -f image2` dumps
    them (variable rate made constant, a late start repeats the first frame) and converted as swscale does by
    default; planes, the same pictures as the file codes them, where that is 8-bit YCbCr; audio (N,) int16 with
    a start gap filled by zeros and N <= T * sample_rate / 25 (codec padding is cut, a short track is not
    lengthened).

    Raises ClipError `missing`, `empty`, `truncated`, `undecodable`, `unreadable`, `no-video`, `timestamps`,
    `too-long`.
    """
    target = None if fps is None else Fraction(fps).limit_denominator(100_000)
    seen = _read_pictures(path, target)
    audio, audio_notes = read_audio(path, sample_rate)
    return replace(seen, audio=audio[: len(seen.frames) * sample_rate // FPS], notes=seen.notes + audio_notes)


class _Decoded(NamedTuple):
    """What came out of the decoder, picture by picture.

    coded: the pictures before they became RGB. timed: (start, duration) in frames of the constant rate since the
    file began. rotation: degrees.
    """

    pictures: list[Frames]
    coded: list[CodedPicture | None]
    timed: list[tuple[float, float]]
    rotation: int


def _read_pictures(path: Path, target: Fraction | None) -> Media:
    with open_media(path) as container:
        stream = video_stream(container, path)
        rate = constant_rate(stream)
        pictures, coded, timed, rotated = _decode(container, stream, rate, path)
        pixel_aspect = stream.sample_aspect_ratio or None
    if not pictures:
        raise ClipError("undecodable", f"{path}: the video track holds no picture; copy or download it again")
    notes = (f"rotated by {rotated} degrees",) if rotated else ()
    caveats: list[Caveat] = []

    shown = _shown(timed, path)
    late = shown.count(shown[0]) - 1 if timed[0][0] > 0.5 else 0
    if late:
        filled = f"video starts late: {late} of {len(shown)} frames filled with the first"
        caveats.append(Caveat("starts-late", "the video starts late, filled with its first frame", filled))
    if len(shown) != len(pictures) + late:
        change = f"made constant {rate_label(rate)} fps: {len(pictures)} -> {len(shown)} frames"
        caveats.append(Caveat("made-constant", "variable frame rate, frames repeated or dropped", change))
    indices = np.asarray(shown, dtype=np.int64)
    if target is not None and target != rate:
        picked = nearest_indices(len(shown), rate, target)
        change = f"retimed {rate_label(rate)} -> {rate_label(target)} fps: {len(shown)} -> {len(picked)} frames"
        caveats.append(Caveat("retimed", f"retimed to {rate_label(target)} fps, nearest frames", change))
        indices = indices[picked]
    planes = gathered_planes(coded, indices, pixel_aspect)
    frames = _gathered(pictures, indices, path)
    silence = np.zeros(0, np.int16)
    return Media(frames, silence, notes, planes, tuple(caveats), indices, len(pictures), rate)


def _decode(container: Any, stream: Any, rate: Fraction, path: Path) -> _Decoded:
    pictures: list[Frames] = []
    coded: list[CodedPicture | None] = []
    timed: list[tuple[float, float]] = []
    rotation = 0
    file_start = Fraction(container.start_time or 0, 1_000_000)
    # With B-frames a packet's duration is the step to the next packet in decoding order, which says nothing
    # about the picture; ffmpeg 5.1, the reference, takes one frame for it.
    reordered = bool(stream.codec_context.has_b_frames)
    for frame in container.decode(stream):
        rotation = frame.rotation % 360
        # FFmpeg gives degrees counter-clockwise, which is also what rot90 counts in.
        pictures.append(np.rot90(frame.to_ndarray(format="rgb24"), rotation // 90))
        coded.append(coded_picture(frame, rotation // 90))
        ticks = rate * frame.time_base
        duration = 1 if reordered else round((frame.duration or 0) * ticks) or 1
        start = timed[-1][0] + timed[-1][1] if timed else 0.0
        if frame.pts is not None:
            start = float(frame.pts * ticks - file_start * rate)
        timed.append((start, float(duration)))
        _refuse_too_long(len(pictures) * pictures[0].nbytes, path)
    if container.format.name == "avi" and timed:
        timed = _from_zero(timed)
    return _Decoded(pictures, coded, timed, rotation)


def _from_zero(timed: list[tuple[float, float]]) -> list[tuple[float, float]]:
    # AVI stores no presentation times; those FFmpeg makes up are late by the decoder's delay, which would
    # show up as repeated first frames.
    return [(start - timed[0][0], duration) for start, duration in timed]


def _shown(timed: list[tuple[float, float]], path: Path) -> list[int]:
    # A broken timestamp can ask for hours of repeated frames.
    span = max(start + duration for start, duration in timed)
    if span > 20 * len(timed) + 250:
        raise ClipError(
            "timestamps",
            f"{path}: {len(timed)} frames spread over the time of {span:.0f}; re-encode it at 25 fps",
        )
    return constant_rate_indices(timed) or [0]


def _gathered(pictures: list[Frames], indices: np.ndarray[Any, Any], path: Path) -> Frames:
    _refuse_too_long(len(indices) * pictures[0].nbytes, path)
    if any(picture.shape != pictures[0].shape for picture in pictures):
        raise ClipError("undecodable", f"{path}: the frame size changes within the clip; re-encode it at one size")
    return np.stack([pictures[index] for index in indices])


def _refuse_too_long(n_bytes: int, path: Path) -> None:
    if n_bytes > MAX_DECODED_BYTES:
        limit = MAX_DECODED_BYTES // 1024**3
        raise ClipError("too-long", f"{path}: more than {limit} GiB of pictures; cut it into clips of some seconds")
