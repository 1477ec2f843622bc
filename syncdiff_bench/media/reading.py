"""Decoding one clip: RGB frames at constant 25 fps, 16 kHz mono audio, and what happened to them on the way."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

from syncdiff_bench.arrays import FPS, SAMPLE_RATE, Media
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.audio import decoded_audio, resampled
from syncdiff_bench.media.containers import (
    MediaFacts,
    Track,
    audio_stream,
    demuxed,
    header_rate,
    open_media,
    other_tracks,
    probe,
    video_stream,
)
from syncdiff_bench.media.damage import damage
from syncdiff_bench.media.frames import arrays, decoded_frames, one_size, orientation
from syncdiff_bench.media.timing import Chosen, Timing, at_rate, each_once, refuse_label, timing_of
from syncdiff_bench.platforms import memory_bytes

__all__ = ["MediaFacts", "probe", "read_every_picture", "read_media"]

# What scoring a clip takes beside its reference, in bytes of its RGB frames (measured; docs/protocols.md).
SCORED_PAIR = 4.5
SHARE = 0.75  # of the machine's memory


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

    Returns Media:
        frames: (T, H, W, 3) uint8 RGB, turned and mirrored as the file says, as `ffmpeg -f image2` dumps them (variable
            rate made constant, a late start repeats the first frame) and converted as swscale does by default.
        planes: the same frames as the file codes them, where that is 8-bit YCbCr.
        audio: (N,) int16, N <= T * sample_rate / 25; a start gap is filled by zeros, codec padding is cut, a short
            track is not lengthened.

    Raises ClipError `missing`, `empty`, `truncated`, `undecodable`, `unreadable`, `no-video`, `timestamps`,
    `rotation`, `too-long`, and `damaged`: the decoder flags frames or refuses packets, or there is less than the
    file declares.
    """
    target = None if fps is None else Fraction(fps).limit_denominator(100_000)
    return _read(path, sample_rate, accept_damaged, partial(at_rate, target=target))


def read_every_picture(path: Path, *, accept_damaged: bool = False) -> Media:
    """Decode a clip without a look at its times: each frame of the file once, in the order of showing.

    Returns and raises as `read_media` does; nothing is repeated, dropped or retimed, and the audio starts with
    the first frame. `source_rate` is the label.
    """
    return _read(path, SAMPLE_RATE, accept_damaged, each_once)


def _read(path: Path, sample_rate: int, accept_damaged: bool, choose: Callable[[Timing, Path], Chosen]) -> Media:
    with open_media(path) as container:
        stream, audio_track = video_stream(container, path), audio_stream(container, path)
        label, file_start = header_rate(stream), Fraction(container.start_time or 0, 1_000_000)
        refuse_label(label, path)
        streams = [stream] if audio_track is None else [stream, audio_track]
        video, *others = demuxed(container, streams, partial(_refuse_too_many, path=path))
        decoded = decoded_frames(video)
        if not decoded.frames:
            raise ClipError("undecodable", f"{path}: the video track holds no picture; copy or download it again")
        sound = others[0] if others else None
        audio = decoded_audio(sound, path)
        timing = timing_of(container, video, decoded.frames, label, path)
        wrong = "; ".join(damage(path, container, [video, *others], decoded, audio, timing.rate))
        if wrong and not accept_damaged:
            mend = "copy or download it again, or accept what is left with --accept-damaged"
            raise ClipError("damaged", f"{path}: {wrong}; {mend}")
        indices, noticed = choose(timing, path)
        count, (height, width) = len(decoded.frames), one_size(decoded.frames, path)
        refuse_too_long(len(indices), height * width, path)
        first = max(0, round(timing.starts[0] * timing.tick * sample_rate)) if choose is each_once else 0
        last = first + len(indices) * sample_rate // FPS
        samples, converted = resampled(audio.frames, sound, file_start, sample_rate, last)
        caveats = other_tracks(container)
        pixel_aspect = stream.sample_aspect_ratio or None
    if wrong:
        caveats = (Caveat("damaged", "the file is damaged, used as far as it goes (accept_damaged)", wrong), *caveats)
    turn = orientation(decoded.frames[0], path)
    bits = decoded.frames[0].format.components[0].bits
    frames, planes = arrays(decoded.frames, indices, turn, pixel_aspect, path)
    notes = (*([str(turn)] if str(turn) else []), *converted)
    return Media(frames, samples[first:], notes, planes, (*caveats, *noticed), indices, count, timing.rate, bits)


def _refuse_too_many(track: Track, path: Path) -> None:
    coded = track.stream.codec_context
    if track.stream.type == "video":
        refuse_too_long(len(track.packets), coded.width * coded.height, path)


def refuse_too_long(n_frames: int, pixels: int, path: Path) -> None:
    """Raises ClipError `too-long` where so many frames of so many pixels are more than the machine holds.

    So that a film in the folder fails alone instead of taking the machine with it.
    """
    if 3 * n_frames * pixels * SCORED_PAIR > memory_limit():
        limit = memory_limit() / 1024**3
        raise ClipError(
            "too-long",
            f"{path}: {n_frames:,} pictures or more would take over {limit:.3g} GiB to score; "
            "cut it into clips of some seconds",
        )


@cache
def memory_limit() -> int:
    """Bytes that one pair of clips may take."""
    return int(SHARE * memory_bytes())
