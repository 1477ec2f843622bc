"""The audio track of a file as 16 kHz mono int16, aligned with the frames the way ffmpeg aligns it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain, groupby
from typing import Any, NamedTuple

import numpy as np

from syncdiff_bench.arrays import Audio
from syncdiff_bench.media.containers import Track

# What `ffmpeg -async 1` stands for in ffmpeg 5.1 (docs/spec/lse.md#sound): the track starts at time 0 (`first` is
# counted in samples of the file), gaps of more than 0.1 s are filled with zeros, overlaps cut.
ALIGNED = "async=1:min_hard_comp=0.100000:first_pts={first}"


class DecodedAudio(NamedTuple):
    """The audio of a track.

    samples: (N,) int16 mono, N == 0 without any.
    notes: what was converted, in words.
    damaged: packets that do not decode cleanly.
    """

    samples: Audio
    notes: tuple[str, ...]
    damaged: int = 0


def decoded_audio(track: Track | None, file_start: Fraction, sample_rate: int) -> DecodedAudio:
    """The audio of a track, None for a file without one, at `sample_rate`.

    file_start: seconds, where the file's time begins.
    A start gap is filled with zeros; channels are mixed and resampled by libswresample, as `ffmpeg -async 1
    -ac 1 -ar 16000` does. Nothing is trimmed at the end; where a packet does not decode, its time is silent.
    """
    if track is None:
        return DecodedAudio(np.zeros(0, np.int16), ("no audio track",))
    packets, refused = track.decoded()
    damaged = max(refused + sum(any(frame.is_corrupt for frame in found) for found in packets), track.corrupt)
    frames = list(chain.from_iterable(packets))
    origin = round(float(file_start / track.stream.time_base))
    for frame in frames:
        if frame.pts is not None:
            frame.pts -= origin
    pieces: list[Audio] = []
    given = [(shape, list(same)) for shape, same in groupby(frames, key=_shape)]
    for _, same in given:
        pieces += _aligned(same, track.stream.time_base, sample_rate, Fraction(sum(map(len, pieces)), sample_rate))
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
    if not len(samples):
        return DecodedAudio(samples, ("empty audio track",), damaged)
    notes = _conversions([shape for shape, _ in given], track.stream, file_start, sample_rate)
    return DecodedAudio(samples, tuple(notes), damaged)


class _Shape(NamedTuple):
    sample_rate: int
    layout: str
    format: str
    channels: int


def _shape(frame: Any) -> _Shape:
    return _Shape(frame.sample_rate, frame.layout.name, frame.format.name, frame.layout.nb_channels)


def _aligned(frames: list[Any], time_base: Fraction, sample_rate: int, start: Fraction) -> Iterator[Audio]:
    """The samples of frames of one shape from `start` on, in seconds: silence up to their first."""
    from av.filter import Graph

    shape = _shape(frames[0])
    graph = Graph()
    graph.threads = 1  # a pool of threads costs more than decoding the audio of a clip
    source = graph.add_abuffer(
        sample_rate=shape.sample_rate, format=shape.format, layout=shape.layout, time_base=time_base
    )
    resample = graph.add("aresample", ALIGNED.format(first=round(start * shape.sample_rate)))
    layout = graph.add("aformat", f"sample_fmts=s16:sample_rates={sample_rate}:channel_layouts=mono")
    source.link_to(resample)
    resample.link_to(layout)
    layout.link_to(graph.add("abuffersink"))
    graph.configure()
    for frame in [*frames, None]:
        graph.push(frame)
    with suppress(EOFError):
        while True:
            heard: Any = graph.pull()
            yield np.frombuffer(heard.planes[0], np.int16, heard.samples)


def _conversions(shapes: list[_Shape], stream: Any, file_start: Fraction, sample_rate: int) -> Iterator[str]:
    if any((shape.sample_rate, shape.channels) != (sample_rate, 1) for shape in shapes):
        words = {1: "mono", 2: "stereo"}
        found = [(s.sample_rate / 1000, words.get(s.channels, f"{s.channels} channels")) for s in shapes]
        given = ", then ".join(dict.fromkeys(f"{rate:g} kHz {channels}" for rate, channels in found))
        yield f"{given} -> {sample_rate / 1000:g} kHz mono"
    late = float((stream.start_time or 0) * stream.time_base - file_start)
    if late * sample_rate >= 1:
        yield f"audio starts {late * 1000:.0f} ms late: filled with silence"
