"""What is wrong with a file that can still be decoded: counted, because a few bad frames are a wrong number.

What is missing is told by what the container declares: the length of each stream, and the bytes of the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from syncdiff_bench.media.audio import DecodedAudio
from syncdiff_bench.media.containers import Track, header_rate
from syncdiff_bench.media.frames import DecodedFrames

AUDIO_SLACK = 0.05  # seconds: less than a packet of any codec's
_UNKNOWN_RIFF = 0xFFFFFF00  # a size from here on was never filled in


def damage(
    path: Path, container: Any, tracks: Sequence[Track], frames: DecodedFrames, audio: DecodedAudio, rate: Fraction
) -> Iterator[str]:
    """What is wrong with a file, with counts; nothing for a whole one.

    container: the file, opened by `av`.
    tracks: the video track and, where there is one, the audio track.
    rate: frames per second.
    """
    video, *audio_tracks = tracks
    there = len(frames.frames)
    # A stream without durations may end a frame earlier than declared; rounded clocks take a part of one more.
    missing = math.floor(seconds_short(container, video, audio_tracks) * float(rate) + 0.1)
    if frames.damaged:
        yield f"{frames.damaged} of {max(there, video.count)} pictures are damaged"
    if missing > 0:
        yield f"{missing} of {there + missing} pictures are missing"
    for track in audio_tracks:
        if audio.damaged:
            yield f"{audio.damaged} of {track.count} packets of sound are damaged"
        if (short := seconds_short(container, track, [video])) > AUDIO_SLACK:
            yield f"{short:.2f} s of sound are missing"
    if video.broken:
        yield f"reading stops ({video.broken})"
    if early := bytes_short(path):
        yield f"the file ends {early:,} bytes early"


# ------------------------------------------------------------------------------------------------ length


def seconds_short(container: Any, track: Track, others: Sequence[Track]) -> float:
    """By how much a stream ends before what its container declares, 0.0 where it declares nothing.

    others: the other tracks of the file, of which the longest decides where only the whole is declared.
    """
    stream, name = track.stream, container.format.name
    if "matroska" in name:
        tag = _seconds_of_tag(stream.metadata.get("DURATION", ""))
        if tag is not None:
            return max(0.0, tag - track.end + min(0.0, track.first))  # the tag counts what a codec begins before 0
        whole = (container.duration or 0) / 1_000_000 + (container.start_time or 0) / 1_000_000
        return max(0.0, whole - max(one.end for one in (track, *others)))
    if "mp4" in name:
        # By times, not by counts: an edit list leaves packets out, and a fragmented file counts none in its header.
        return max(0.0, _declared(stream, stream.duration) - (track.end - track.start))
    if name == "avi":  # its header counts chunks of one tick each, empty ones (a repeated frame) included
        short = _declared(stream, max(stream.duration or 0, stream.frames)) - track.slots_seconds
        return max(0.0, short if stream.type == "video" else short - max(map(_reordering, others), default=0.0))
    return 0.0


def _reordering(track: Track) -> float:
    """Seconds by which B-frames put frames late. FFmpeg delays the audio as much, by empty chunks: AVI's header
    counts them, and reading passes over them.
    """
    rate = header_rate(track.stream)
    return float(track.stream.codec_context.has_b_frames / rate) if rate else 0.0


def _declared(stream: Any, ticks: int | None) -> float:
    return float((ticks or 0) * stream.time_base)


def _seconds_of_tag(text: str) -> float | None:
    """Of mkv's "00:00:01.144000000"."""
    try:
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None


# ----------------------------------------------------------------------------------------------- bytes


def bytes_short(path: Path) -> int:
    """By how much the file ends before its last box, chunk, element or packet does; 0 where that cannot be told."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in (b"ftyp", b"styp", b"moov"):
            end = _end_of_pieces(file, size, 8, _box)
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            end = _end_of_elements(file, size)
        elif head[:4] == b"RIFF":
            end = _end_of_pieces(file, size, 8, _chunk)
        elif head[:4] == b"\x00\x00\x01\xba":
            end = _end_of_pieces(file, size, 4, _pack)
        else:
            end = size
    return max(0, end - size)


def _end_of_pieces(file: BinaryIO, size: int, header: int, length_of: Callable[[bytes], int]) -> int:
    """Where the last of pieces in a row ends; `size` where one tells no length.

    header: the fewest bytes of a piece. length_of: its first 16 bytes -> its length, 0 where they tell none.
    """
    at = 0
    while at + header <= size:
        file.seek(at)
        length = length_of(file.read(16))
        if not length:
            return size
        at += length
    return at


def _box(head: bytes) -> int:
    """ISO 14496-12: size and type, 8 bytes; size 1 means that 8 more bytes hold it, 0 that the box is the last."""
    length = int.from_bytes(head[:4], "big")
    if length == 1:
        length = int.from_bytes(head[8:], "big")
    return length if length >= 8 and head[4:8].isascii() else 0


def _chunk(head: bytes) -> int:
    length = int.from_bytes(head[4:8], "little")
    return 8 + length if head[:4] == b"RIFF" and 0 < length < _UNKNOWN_RIFF else 0


def _pack(head: bytes) -> int:
    """MPEG program streams (ISO 13818-1, 2.5.3): pack headers, and packets that give their length."""
    if head[:3] != b"\x00\x00\x01" or head[3] < 0xB9:
        return 0
    if head[3] == 0xB9:
        return 4
    if head[3] == 0xBA:
        return 12 if len(head) > 4 and head[4] >> 4 == 2 else 14 + (head[13] & 7 if len(head) > 13 else 0)
    return 6 + int.from_bytes(head[4:6], "big")


_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675  # RFC 9559; their size may be unknown, and they hold what matters


def _end_of_elements(file: BinaryIO, size: int) -> int:
    """Matroska (RFC 8794): every element after the other, down to the blocks of a cluster."""
    at = end = 0
    while at < size:
        file.seek(at)
        header = file.read(12)
        identity, n = _number(header, keep_marker=True)
        length, m = _number(header[n:])
        if not n or not m:
            return max(end, size)
        unknown = length == (1 << 7 * m) - 1
        if not unknown:
            end = max(end, at + n + m + length)
        inside = identity in (_SEGMENT, _CLUSTER)
        if unknown and not inside:
            return max(end, size)
        at += n + m + (0 if inside else length)
    return end


def _number(data: bytes, *, keep_marker: bool = False) -> tuple[int, int]:
    """An EBML number and how many bytes it has (0: none): as many as zeros lead its first byte, and one."""
    length = 9 - data[0].bit_length() if data and data[0] else 0
    if not 0 < length <= len(data):
        return 0, 0
    value = int.from_bytes(data[:length], "big")
    return value if keep_marker else value & ((1 << 7 * length) - 1), length
