"""Encoding one clip as mp4: losslessly (the default), or the way the published systems wrote theirs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from syncdiff_bench.arrays import FPS, SAMPLE_RATE, Audio, Frames, Media
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.files import replacing, unwritable


@dataclass(frozen=True)
class Encoding:
    """How frames and audio are coded.

    odd_pix_fmt: for an odd side, which H.264 4:2:0 cannot hold.
    divx: frames go through `through_divx` first.
    """

    video: str
    pix_fmt: str
    odd_pix_fmt: str
    video_options: Mapping[str, str]
    audio: str
    audio_bit_rate: int | None = None
    divx: bool = False


# x264's macroblock tree gives other bytes on every run on processors with AVX-512 (seen with the libx264 of
# PyAV 18: 10 runs, up to 9 results). Plain C (`asm=0`) or no tree (`mbtree=0`, other rate control) is what
# makes bytes repeatable.
_CRF23 = Encoding(
    "libx264", "yuv420p", "yuv444p", {"crf": "23", "preset": "medium", "x264-params": "asm=0"}, "aac", 96_000
)

ENCODINGS: Mapping[str, Encoding] = MappingProxyType(
    {
        "lossless": Encoding("libx264rgb", "rgb24", "rgb24", {"qp": "0", "preset": "veryfast"}, "flac"),
        # What Wav2Lip's and TalkLip's `ffmpeg -q:v 1 out.mp4` comes to (docs/spec/wav2lip.md#encoding): libx264
        # ignores the flag and uses CRF 23; AAC at ffmpeg's 128 kb/s, which it clamps to 96 kb/s for 16 kHz
        # mono.
        "crf23": _CRF23,
        # The whole chain of theirs: OpenCV's MPEG-4 file, then the above.
        "talklip": replace(_CRF23, divx=True),
        # Visually lossless and small: what pocket's clips are stored in.
        "compact": Encoding(
            "libx264",
            "yuv420p",
            "yuv444p",
            {"crf": "18", "preset": "slow", "x264-params": "mbtree=0"},
            "aac",
            48_000,
        ),
    }
)


def write_video(path: Path, media: Media, *, encoding: str = "lossless") -> None:
    """Write `media` as an mp4 at 25 fps with 16 kHz mono audio (no audio track where it has none).

    encoding: "lossless" comes back from `read_media` bit for bit, frames and audio; "crf23" is H.264 CRF 23
    with AAC, "talklip" the same behind MPEG-4. The file appears whole or not at all, and the same media gives
    the same bytes (one encoder thread, no timestamps).
    Raises UsageError for an unknown encoding or an unwritable folder, ClipError `frames` for frames that are
    not (T >= 1, H, W, 3) uint8.
    """
    if encoding not in ENCODINGS:
        raise UsageError(f"unknown encoding '{encoding}'; choose one of: {', '.join(ENCODINGS)}")
    frames = media.frames
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ClipError("frames", f"{path}: frames are {frames.shape} {frames.dtype}, expected (T, H, W, 3) uint8")
    try:
        with replacing(path) as partial:
            _encode(partial, media, ENCODINGS[encoding])
    except OSError as error:
        raise unwritable(path, error) from None


def _video_frames(frames: Frames) -> Iterator[Any]:
    import av

    for index, frame in enumerate(frames):
        coded = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        coded.pts = index
        yield coded


def _encode(path: Path, media: Media, encoding: Encoding) -> None:
    import av

    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with av.open(f"file:{path}", "w", format="mp4", options=options) as container:
        odd = any(side % 2 for side in media.frames.shape[1:3])
        pix_fmt = encoding.odd_pix_fmt if odd else encoding.pix_fmt
        video = _add_video(container, media.frames, encoding.video, pix_fmt, encoding.video_options)
        audio = _add_audio(container, encoding) if len(media.audio) else None
        for frame in through_divx(media.frames) if encoding.divx else _video_frames(media.frames):
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            container.mux(audio.encode(_audio_frame(media.audio)))
            container.mux(audio.encode(None))


def _add_video(container: Any, frames: Frames, codec: str, pix_fmt: str, options: Mapping[str, str]) -> Any:
    stream = container.add_stream(codec, rate=FPS, options=dict(options))
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = pix_fmt
    stream.codec_context.thread_count = 1
    return stream


def _add_audio(container: Any, encoding: Encoding) -> Any:
    from av.codec.context import Flags

    stream = container.add_stream(encoding.audio, rate=SAMPLE_RATE, layout="mono")
    stream.codec_context.flags |= Flags.bitexact
    if encoding.audio_bit_rate is not None:
        stream.bit_rate = encoding.audio_bit_rate
    return stream


def _audio_frame(audio: Audio) -> Any:
    import av

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio)[None], format="s16", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    frame.pts = 0
    return frame


# ------------------------------------------------------------------------------------------ there and back


def round_trip(
    frames: Frames,
    codec: str,
    pix_fmt: str,
    options: Mapping[str, str],
    *,
    container_format: str = "mp4",
    bit_rate: int | None = None,
) -> Iterator[Any]:
    """Frames (T, H, W, 3) uint8 RGB through an encoder of one thread and back: `av.VideoFrame`s."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        stream = _add_video(container, frames, codec, pix_fmt, options)
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        for frame in _video_frames(frames):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        yield from container.decode(video=0)


DIVX_OPTIONS = {"g": "12", "qmin": "3", "qmax": "31"}


def through_divx(frames: Frames) -> Iterator[Any]:
    """Encode frames as `cv2.VideoWriter(..., "DIVX", 25)` does and decode them: the first loss of Wav2Lip's videos.

    frames: (T, H, W, 3) uint8 RGB. Yields `av.VideoFrame`s in yuv420p; their `pts` count from 0.

    OpenCV asks FFmpeg's encoder for `width * height * fps` bits per second, a key frame every 12, and no quantiser
    below 3, which with faces of a few hundred pixels decides alone. Its videos differ from ours by less than a grey
    level in the mean: it rounds down on the way to YCbCr.
    """
    from av.video.frame import PictureType

    bit_rate = frames.shape[1] * frames.shape[2] * FPS
    decoded = round_trip(frames, "mpeg4", "yuv420p", DIVX_OPTIONS, container_format="avi", bit_rate=bit_rate)
    for index, frame in enumerate(decoded):
        frame.pts, frame.time_base = index, Fraction(1, FPS)
        frame.pict_type = PictureType.NONE  # or the next encoder would put its key frames where this one did
        yield frame
