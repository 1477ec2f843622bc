"""Decoding one clip: RGB frames at constant 25 fps, 16 kHz mono audio, and what happened to them on the way."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

from syncdiff_bench.contracts import FPS, SAMPLE_RATE, Media
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.capacity import refuse_too_long
from syncdiff_bench.media.containers import (
    MediaFacts,
    audio_stream,
    labelled_rate,
    open_media,
    other_tracks,
    probe,
    video_stream,
)
from syncdiff_bench.media.damage import damage
from syncdiff_bench.media.orientation import orientation
from syncdiff_bench.media.packets import Track, demuxed
from syncdiff_bench.media.pictures import arrays, decoded_pictures, one_size
from syncdiff_bench.media.sound import decoded_sound
from syncdiff_bench.media.timing import Chosen, Timing, at_rate, each_once, refuse_label, timing_of

__all__ = ["MediaFacts", "probe", "read_every_picture", "read_media"]


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
    return _read(path, sample_rate, accept_damaged, partial(at_rate, target=target))


def read_every_picture(path: Path, *, accept_damaged: bool = False) -> Media:
    """Decode a clip without a look at its times: each picture of the file once, in the order of showing.

    Returns and raises as `read_media` does; nothing is repeated, dropped or retimed, and the sound starts with
    the first picture. `source_rate` is the label.
    """
    return _read(path, SAMPLE_RATE, accept_damaged, each_once)


def _read(path: Path, sample_rate: int, accept_damaged: bool, choose: Callable[[Timing, Path], Chosen]) -> Media:
    with open_media(path) as container:
        stream, sound_stream = video_stream(container, path), audio_stream(container, path)
        label, file_start = labelled_rate(stream), Fraction(container.start_time or 0, 1_000_000)
        refuse_label(label, path)
        fits = partial(_refuse_too_many, path=path)
        video, *sounds = demuxed(container, [stream] if sound_stream is None else [stream, sound_stream], fits)
        pictures = decoded_pictures(video)
        if not pictures.frames:
            raise ClipError("undecodable", f"{path}: the video track holds no picture; copy or download it again")
        sound = decoded_sound(sounds[0] if sounds else None, file_start, sample_rate)
        timing = timing_of(container, video, pictures.frames, label, path)
        wrong = damage(container, path, video, sounds, pictures, sound, timing.rate)
        if wrong and not accept_damaged:
            mend = "copy or download it again, or accept what is left with --accept-damaged"
            raise ClipError("damaged", f"{path}: {wrong[0].detail}; {mend}")
        several = other_tracks(container)
        pixel_aspect = stream.sample_aspect_ratio or None
    indices, noticed = choose(timing, path)
    count, (height, width) = len(pictures.frames), one_size(pictures.frames, path)
    refuse_too_long(len(indices), height * width, path)
    turn = orientation(pictures.frames[0], path)
    bits = pictures.frames[0].format.components[0].bits
    frames, planes = arrays(pictures.frames, indices, turn, pixel_aspect, path)
    first = max(0, round(timing.starts[0] * timing.tick * sample_rate)) if choose is each_once else 0
    audio = sound.samples[first : first + len(frames) * sample_rate // FPS]
    notes = (*([str(turn)] if str(turn) else []), *sound.notes)
    return Media(frames, audio, notes, planes, (*wrong, *several, *noticed), indices, count, timing.rate, bits)


def _refuse_too_many(track: Track, path: Path) -> None:
    coded = track.stream.codec_context
    if track.stream.type == "video":
        refuse_too_long(len(track.packets), coded.width * coded.height, path)
