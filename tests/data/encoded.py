"""Videos encoded with PyAV, faulty ones too, which the project's writer cannot make; and FFmpeg's own filters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

from syncdiff_bench.contracts import Media
from syncdiff_bench.media.writing import write_video

TICKS = 12_800  # of an mp4 video track, per second: 512 per frame at 25 fps


def encode(
    path: Path,
    frames: NDArray[np.uint8] | None,
    *,
    rate: Fraction | int = 25,
    times: Sequence[float] | None = None,
    clock: int = TICKS,
    codec: str = "libx264rgb",
    pix_fmt: str = "",
    coding: dict[str, str] | None = None,
    audio: NDArray[np.int16] | None = None,
    audio_rate: int = 16_000,
    audio_start: float = 0.0,
    audio_codec: str = "flac",
    options: dict[str, str] | None = None,
) -> Path:
    """Video (lossless RGB by default) with frame t at `times[t]` seconds, and 16-bit audio of (N,) or (N, 2).

    clock: ticks per second of the video's times. coding: options of the video codec. options: those of the muxer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as container:
        video: Any = None
        if frames is not None:
            video = container.add_stream(codec, rate=rate, options=coding or {"qp": "0", "bf": "0"})
            video.height, video.width = frames.shape[1:3]
            video.pix_fmt = pix_fmt or ("rgb24" if codec == "libx264rgb" else "yuv420p")
            video.codec_context.time_base = Fraction(1, clock)
        sound: Any = None
        if audio is not None:
            layout = "stereo" if audio.ndim == 2 else "mono"
            sound = container.add_stream(audio_codec, rate=audio_rate, layout=layout)
        if frames is not None:
            for t, picture in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                seconds = t / Fraction(rate) if times is None else times[t]
                frame.time_base, frame.pts = Fraction(1, clock), round(seconds * clock)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None:
            chunk = av.AudioFrame.from_ndarray(audio.reshape(1, -1), format="s16", layout=layout)
            chunk.sample_rate, chunk.pts = audio_rate, round(audio_start * audio_rate)
            chunk.time_base = Fraction(1, audio_rate)
            container.mux(sound.encode(chunk))
            container.mux(sound.encode(None))
    return path


def write_grey(path: Path, value: int, frames: int = 3, side: int = 16) -> Path:
    """A whole file of the project's own writer, all of one grey level and silent; as the clips of `toy` are."""
    pixels = np.full((frames, side, side, 3), value, np.uint8)
    write_video(path, Media(pixels, np.zeros(640 * frames, np.int16)))
    return path


def filtered(frames: Iterable[av.VideoFrame], *filters: str) -> list[NDArray[np.uint8]]:
    """What FFmpeg's own filters, as `fps=25`, make of frames: (height, width, 3) uint8 RGB each."""
    given = list(frames)
    graph, time_base = Graph(), given[0].time_base or Fraction(1, 25)
    last = graph.add_buffer(width=given[0].width, height=given[0].height, format=given[0].format, time_base=time_base)
    for one in filters:
        name, _, argument = one.partition("=")
        following = graph.add(name, argument or None)
        last.link_to(following)
        last = following
    last.link_to(graph.add("buffersink"))
    graph.configure()
    shown = []
    for frame in [*given, None]:
        graph.push(frame)
        with suppress(BlockingIOError, EOFError):
            while True:
                shown.append(np.asarray(graph.pull().to_ndarray(format="rgb24")))
    return shown
