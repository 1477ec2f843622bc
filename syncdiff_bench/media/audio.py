"""The audio track of a file as 16 kHz mono int16, aligned with the frames the way ffmpeg aligns it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from syncdiff_bench.arrays import Audio
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.containers import Track

# What `ffmpeg -async 1` stands for in ffmpeg 5.1 (docs/spec/lse.md#sound): the track starts at time 0 (`first` is
# counted in samples of the file), gaps of more than 0.1 s are filled with zeros, overlaps cut.
ALIGNED = "async=1:min_hard_comp=0.100000:first_pts={first}"


SLOWEST = 1_000  # samples per second; no recording has fewer
# Seconds: sound that starts later than this behind the last one that is wanted cannot reach into it.
_REACH = 1


class DecodedAudio(NamedTuple):
    """The audio of a track, at its own rate.

    frames: `av.AudioFrame`s in the order of the file.
    damaged: packets that do not decode cleanly.
    """

    frames: list[Any]
    damaged: int = 0


def decoded_audio(track: Track | None, path: Path) -> DecodedAudio:
    """The audio of a track, None for a file without one.

    Raises ClipError `undecodable` where it claims a rate that no recording has.
    """
    if track is None:
        return DecodedAudio([])
    packets, refused = track.decoded()
    frames = list(chain.from_iterable(packets))
    slowest = min((frame.sample_rate for frame in frames), default=SLOWEST)
    if slowest < SLOWEST:
        told = f"claims {slowest} samples of sound per second, which no recording has; re-encode its sound"
        raise ClipError("undecodable", f"{path}: {told}")
    damaged = max(refused + sum(any(frame.is_corrupt for frame in found) for found in packets), track.corrupt)
    return DecodedAudio(frames, damaged)


def resampled(
    frames: Sequence[Any], track: Track | None, file_start: Fraction, sample_rate: int, wanted: int
) -> tuple[Audio, tuple[str, ...]]:
    """(N,) int16 mono at `sample_rate`, N <= wanted, N == 0 without any; and what was converted, in words.

    frames: of `decoded_audio`. file_start: seconds, where the file's time begins.
    A start gap is filled with zeros; channels are mixed and resampled by libswresample, as `ffmpeg -async 1
    -ac 1 -ar 16000` does. Where a packet does not decode, its time is silent. Sound behind what is wanted is passed
    over: a broken clock would put hours of silence before it.
    """
    if track is None:
        return np.zeros(0, np.int16), ("no audio track",)
    origin, last = round(float(file_start / track.stream.time_base)), Fraction(wanted, sample_rate) + _REACH
    near = []
    for frame in frames:
        if frame.pts is not None:
            frame.pts -= origin
        if frame.pts is None or frame.pts * track.stream.time_base <= last:
            near.append(frame)
    pieces: list[Audio] = []
    for _, same in groupby(near, key=shape_of):
        start = Fraction(sum(map(len, pieces)), sample_rate)
        pieces += _aligned(list(same), track.stream.time_base, sample_rate, start)
    samples = np.concatenate(pieces)[:wanted] if pieces else np.zeros(0, np.int16)
    if not len(samples):
        return samples, ("empty audio track",)
    shapes = [shape for shape, _ in groupby(frames, key=shape_of)]
    return samples, tuple(_conversions(shapes, track.stream, file_start, sample_rate))


class _Shape(NamedTuple):
    sample_rate: int
    layout: str
    format: str
    channels: int


def shape_of(frame: Any) -> _Shape:
    return _Shape(frame.sample_rate, frame.layout.name, frame.format.name, frame.layout.nb_channels)


def _aligned(frames: list[Any], time_base: Fraction, sample_rate: int, start: Fraction) -> Iterator[Audio]:
    """The samples of frames of one shape from `start` on, in seconds: silence up to their first."""
    graph = aligning(frames[0], time_base, start, sample_rate)
    for frame in [*frames, None]:
        graph.push(frame)
    with suppress(EOFError):
        while True:
            heard: Any = graph.pull()
            yield np.frombuffer(heard.planes[0], np.int16, heard.samples)


def aligning(
    frame: Any, time_base: Fraction, start: Fraction, sample_rate: int, layout: str = "mono", samples: str = "s16"
) -> Any:
    """A filter graph for frames of the shape of this one, which gives `samples` from `start` on, in seconds.

    What lies before is cut off, gaps are silent. samples: FFmpeg's name of their format.
    """
    from av.filter import Graph

    shape = shape_of(frame)
    graph = Graph()
    graph.threads = 1  # a pool of threads costs more than decoding the audio of a clip
    source = graph.add_abuffer(
        sample_rate=shape.sample_rate, format=shape.format, layout=shape.layout, time_base=time_base
    )
    resample = graph.add("aresample", ALIGNED.format(first=round(start * shape.sample_rate)))
    shaped = graph.add("aformat", f"sample_fmts={samples}:sample_rates={sample_rate}:channel_layouts={layout}")
    source.link_to(resample)
    resample.link_to(shaped)
    shaped.link_to(graph.add("abuffersink"))
    graph.configure()
    return graph


def _conversions(shapes: list[_Shape], stream: Any, file_start: Fraction, sample_rate: int) -> Iterator[str]:
    if any((shape.sample_rate, shape.channels) != (sample_rate, 1) for shape in shapes):
        words = {1: "mono", 2: "stereo"}
        found = [(s.sample_rate / 1000, words.get(s.channels, f"{s.channels} channels")) for s in shapes]
        given = ", then ".join(dict.fromkeys(f"{rate:g} kHz {channels}" for rate, channels in found))
        yield f"{given} -> {sample_rate / 1000:g} kHz mono"
    late = float((stream.start_time or 0) * stream.time_base - file_start)
    if late * sample_rate >= 1:
        yield f"audio starts {late * 1000:.0f} ms late: filled with silence"
