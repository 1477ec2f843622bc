"""The tracks of a file as they come out of it, still compressed: when they begin and end, before memory is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any


class Track:
    """One stream and its packets in the order of the file; the last one, which is empty, drains the decoder.

    broken: why reading the file stopped before its end, "" where it did not.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.packets: list[Any] = []
        self.broken = ""

    @cached_property
    def _filled(self) -> list[Any]:
        return [packet for packet in self.packets if packet.size]

    @property
    def count(self) -> int:
        """Packets that hold something."""
        return len(self._filled)

    @property
    def corrupt(self) -> int:
        """Packets that the file breaks off in."""
        return sum(packet.is_corrupt for packet in self._filled)

    @cached_property
    def first(self) -> float:
        """Seconds, of the first packet, shown or not: negative where a codec needs a start."""
        times = (packet.pts for packet in self._filled if packet.pts is not None)
        return float(min(times, default=0) * self.stream.time_base)

    @cached_property
    def start(self) -> float:
        """Seconds, of the first picture or sound that is shown."""
        return min((start for start, _ in self._shown), default=0.0)

    @cached_property
    def end(self) -> float:
        """Seconds, of the last one."""
        return max((end for _, end in self._shown), default=0.0)

    @cached_property
    def slots(self) -> list[int]:
        """The decoding times of the packets in ticks, ascending: which chunks of an AVI hold something."""
        return sorted(packet.dts for packet in self._filled if packet.dts is not None)

    @property
    def slots_seconds(self) -> float:
        """From time 0 to the end of the last slot."""
        ends = [packet.dts + (packet.duration or 1) for packet in self._filled if packet.dts is not None]
        return float(max(ends, default=0) * self.stream.time_base)

    @cached_property
    def _shown(self) -> list[tuple[float, float]]:
        tick = float(self.stream.time_base)
        return [
            (packet.pts * tick, (packet.pts + (packet.duration or 0)) * tick)
            for packet in self._filled
            if packet.pts is not None and not packet.is_discard
        ]


def demuxed(container: Any, streams: Sequence[Any], check: Callable[[Track], None]) -> list[Track]:
    """The tracks of these streams, read once.

    check: sees a track after each of its packets, and may raise.
    """
    from av.error import FFmpegError
    from av.packet import Packet

    tracks = {stream.index: Track(stream) for stream in streams}
    try:
        for packet in container.demux(*streams):
            track = tracks[packet.stream.index]
            track.packets.append(packet)
            check(track)
    except (FFmpegError, IndexError) as error:  # PyAV's for a packet of a track that appears on the way
        for track in tracks.values():
            track.broken = str(getattr(error, "strerror", "a track that no header names"))
            track.packets.append(last := Packet())
            last.stream = track.stream
    return list(tracks.values())
