"""The sound track of any file, as a stream: what is heard of it is never held whole."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import SAMPLE_RATE, Audio
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.audio import SLOWEST, aligning, shape_of
from syncdiff_bench.media.containers import audio_stream, decoded_frames, open_media

LONGEST_GAP = 600  # seconds of silence between two packets; more is a broken clock


class SoundFacts(NamedTuple):
    """What a file says of its sound. sample_rate: Hz. channels: one or more."""

    sample_rate: int
    channels: int


def sound_facts(path: Path) -> SoundFacts:
    """Raises ClipError `no-audio`, and those of `open_media`."""
    with open_media(path) as container:
        coded = _sound_stream(container, path).codec_context
        return SoundFacts(coded.sample_rate, coded.layout.nb_channels)


def heard(path: Path, sample_rate: int, layout: str = "mono", samples: str = "s16") -> Iterator[NDArray[Any]]:
    """The sound of a file from the start of its time on, in blocks (channels, n), of another rate where that is asked.

    layout: FFmpeg's name: "mono", "stereo", "5.1". samples: "s16" gives int16 (of mono alone), "fltp" float32, -1..1.
    A track that starts late, a gap and a packet that does not decode are silent, as `read_media` has them.
    Raises ClipError `no-audio`, `undecodable`, `timestamps` (hours between two packets), and those of `open_media`.
    """
    with open_media(path) as container:
        stream = _sound_stream(container, path)
        base = stream.time_base
        origin = round(Fraction(container.start_time or 0, 1_000_000) / base)
        graph: Any = None
        shape, made, end = None, 0, Fraction(0)
        for frame in decoded_frames(container, stream):
            if frame.sample_rate < SLOWEST:
                told = f"claims {frame.sample_rate} samples of sound per second, which no recording has"
                raise ClipError("undecodable", f"{path}: {told}; re-encode its sound")
            if frame.pts is not None:
                frame.pts -= origin
                start = frame.pts * base
                if start - end > LONGEST_GAP:
                    told = f"its clock leaves {float(start - end):.0f} s between two packets of sound"
                    raise ClipError("timestamps", f"{path}: {told}; re-encode its sound")
                end = start + Fraction(frame.samples, frame.sample_rate)
            if shape_of(frame) != shape:
                for block in _flushed(graph):
                    made += block.shape[1]
                    yield block
                graph = aligning(frame, base, Fraction(made, sample_rate), sample_rate, layout, samples)
                shape = shape_of(frame)
            graph.push(frame)
            for block in _pulled(graph):
                made += block.shape[1]
                yield block
        yield from _flushed(graph)


def heard_by_methods(path: Path) -> Audio:
    """All of a file's sound, 2 MB a minute. Raises as `heard`, and `no-audio` for an empty track too."""
    blocks = [block[0] for block in heard(path, SAMPLE_RATE)]
    audio: Audio = np.concatenate(blocks) if blocks else np.zeros(0, np.int16)
    if not len(audio):
        raise ClipError("no-audio", f"{path}: its sound track is empty; give a file that sounds")
    return audio


def between(blocks: Iterator[NDArray[Any]], first: int, count: int | None) -> Iterator[NDArray[Any]]:
    """Of (channels, n) blocks the samples from `first` on, `count` of them, None for all."""
    at, last = 0, None if count is None else first + count
    for block in blocks:
        low, high = max(first - at, 0), block.shape[1] if last is None else min(last - at, block.shape[1])
        at += block.shape[1]
        if high > low:
            yield block[:, low:high]
        if last is not None and at >= last:
            return


def _sound_stream(container: Any, path: Path) -> Any:
    stream = audio_stream(container, path)
    if stream is None:
        raise ClipError("no-audio", f"{path}: has no sound; give a file that has")
    return stream


def _pulled(graph: Any) -> Iterator[NDArray[Any]]:
    from av.error import BlockingIOError as Later
    from av.error import EOFError as End

    while True:
        try:
            frame = graph.pull()
        except (Later, End):
            return
        yield frame.to_ndarray()


def _flushed(graph: Any) -> Iterator[NDArray[Any]]:
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph)
