"""The audio track of a file as 16 kHz mono int16, aligned with the picture the way ffmpeg aligns it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from syncdiff_bench.contracts import SAMPLE_RATE, Audio
from syncdiff_bench.media.containers import open_media

# What `ffmpeg -async 1` stands for in ffmpeg 5.1 (docs/spec/lse.md#sound): the track starts at time 0,
# gaps of more than 0.1 s are filled with zeros, overlaps cut.
ALIGNED = "async=1:min_hard_comp=0.100000:first_pts=0"


def read_audio(path: Path, sample_rate: int = SAMPLE_RATE) -> tuple[Audio, tuple[str, ...]]:
    """(N,) int16 mono at `sample_rate`, and notes in words; N == 0 without an audio track.

    A start gap is filled with zeros; channels are mixed and resampled by libswresample, as `ffmpeg -async 1
    -ac 1 -ar 16000` does. Nothing is trimmed at the end.
    Raises ClipError (`missing`, `empty`, `truncated`, `undecodable`).
    """
    with open_media(path) as container:
        stream = container.streams.best("audio")
        if stream is None:
            return np.zeros(0, np.int16), ("no audio track",)
        pieces = list(_aligned(container, stream, sample_rate))
        notes = tuple(_conversions(container, stream, sample_rate))
    audio = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
    return audio, notes if len(audio) else ("empty audio track",)


def _aligned(container: Any, stream: Any, sample_rate: int) -> Iterator[Audio]:
    from av.error import BlockingIOError as NeedsInput
    from av.error import EOFError as Ended
    from av.filter import Graph

    graph = Graph()
    source = graph.add_abuffer(template=stream)
    resample = graph.add("aresample", ALIGNED)
    layout = graph.add("aformat", f"sample_fmts=s16:sample_rates={sample_rate}:channel_layouts=mono")
    source.link_to(resample)
    resample.link_to(layout)
    layout.link_to(graph.add("abuffersink"))
    graph.configure()

    origin = _ticks_of_file_start(container, stream)
    for frame in [*container.decode(stream), None]:
        if frame is not None and frame.pts is not None:
            frame.pts -= origin
        graph.push(frame)
        try:
            while True:
                yield np.asarray(graph.pull().to_ndarray(), dtype=np.int16).reshape(-1)
        except (NeedsInput, Ended):
            pass


def _ticks_of_file_start(container: Any, stream: Any) -> int:
    return round(float((container.start_time or 0) / 1_000_000 / stream.time_base))


def _conversions(container: Any, stream: Any, sample_rate: int) -> Iterator[str]:
    if stream.sample_rate != sample_rate or stream.channels != 1:
        given = f"{_kilohertz(stream.sample_rate)} {_channels(stream.channels)}"
        yield f"{given} -> {_kilohertz(sample_rate)} mono"
    late = float((stream.start_time or 0) * stream.time_base) - (container.start_time or 0) / 1_000_000
    if late * sample_rate >= 1:
        yield f"audio starts {late * 1000:.0f} ms late: filled with silence"


def _kilohertz(rate: int) -> str:
    return f"{rate / 1000:g} kHz"


def _channels(count: int) -> str:
    return {1: "mono", 2: "stereo"}.get(count, f"{count} channels")
