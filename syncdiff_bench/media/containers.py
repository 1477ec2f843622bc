"""Opening a media file: what its header says, its tracks, compressed and decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from syncdiff_bench.arrays import FPS
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.errors import ClipError


@dataclass(frozen=True)
class MediaFacts:
    """What the header of a file says; nothing is decoded, so a damaged file may still have fine facts.

    width, height: pixels as coded, before rotation metadata is applied.
    fps: the constant rate at which the file is read (see `timing`), frames per second.
    frames: coded frames where the container counts them, else duration times fps, rounded.
    duration: seconds, of the longest stream.
    sample_rate: Hz, 0 without audio; channels: 0 without audio.
    """

    width: int
    height: int
    fps: float
    frames: int
    duration: float
    sample_rate: int
    channels: int


@contextmanager
def open_media(path: Path) -> Iterator[Any]:
    """An open PyAV input container.

    Raises ClipError `missing`, `empty`, `truncated` or `undecodable`; whatever FFmpeg raises inside the block
    becomes `undecodable` too.
    """
    import av

    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise ClipError("missing", f"{path}: {what}; check the data root and the split list")
    size = path.stat().st_size
    if size == 0:
        raise ClipError("empty", f"{path}: the file has no bytes; copy or download it again")
    try:
        # The `file:` prefix keeps a colon in a name from being read as a protocol, and the whitelist keeps a
        # playlist in disguise from opening anything but files.
        # Text in the header may be of any encoding, or damaged.
        options = {"protocol_whitelist": "file"}
        container = av.open(f"file:{path}", container_options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise _unopenable(path, size, error) from None
    with container:
        try:
            yield container
        except av.error.FFmpegError as error:
            raise ClipError(
                "undecodable",
                f"{path}: damaged or cut short, decoding stopped ({_reason(error)}); download it again",
            ) from None


def video_stream(container: Any, path: Path) -> Any:
    """The video stream that FFmpeg would pick.

    Raises ClipError `no-video`, `truncated` (no track), `undecodable` (no decoder for it).
    """
    if not container.streams:
        raise ClipError("truncated", f"{path}: cut short before its first track; copy or download it again")
    stream = container.streams.best("video")
    if stream is None:
        raise ClipError("no-video", f"{path}: has no video track; only clips with a picture can be used")
    return _decodable(stream, path)


def audio_stream(container: Any, path: Path) -> Any | None:
    """The audio track that FFmpeg would pick, None without any. Raises ClipError `undecodable` (no decoder for it)."""
    stream = container.streams.best("audio")
    return None if stream is None else _decodable(stream, path)


def other_tracks(container: Any) -> tuple[Caveat, ...]:
    """A caveat `several-tracks` where a file holds more video or audio tracks than one of each; covers do not count."""
    from av.stream import Disposition

    videos = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    held = f"{len(videos)} video and {len(container.streams.audio)} sound tracks"
    if len(videos) < 2 and len(container.streams.audio) < 2:
        return ()
    return (Caveat("several-tracks", "of several video or sound tracks the ones that FFmpeg picks were used", held),)


def header_rate(stream: Any) -> Fraction | None:
    """The rate of ffmpeg's constant-rate output: its guess from headers and timestamps."""
    rate = stream.guessed_rate or stream.average_rate
    return Fraction(rate) if rate else None


def _decodable(stream: Any, path: Path) -> Any:
    if stream.codec_context is None:
        raise ClipError(
            "undecodable",
            f"{path}: the header names no {stream.type} format that FFmpeg can decode, it may be damaged; "
            "copy or download the file again",
        )
    return stream


def probe(path: Path) -> MediaFacts:
    """Header facts of a file without decoding it.

    Raises ClipError (`missing`, `empty`, `truncated`, `undecodable`, `no-video`).
    """
    with open_media(path) as container:
        video = video_stream(container, path)
        audio = audio_stream(container, path)
        rate = header_rate(video) or Fraction(FPS)
        duration = (container.duration or 0) / 1_000_000
        seconds = float(video.duration * video.time_base) if video.duration else duration
        return MediaFacts(
            width=video.codec_context.width,
            height=video.codec_context.height,
            fps=float(rate),
            frames=video.frames or round(seconds * rate),
            duration=duration,
            sample_rate=audio.sample_rate if audio else 0,
            channels=audio.channels if audio else 0,
        )


def _unopenable(path: Path, size: int, error: Exception) -> ClipError:
    try:
        with path.open("rb") as file:
            is_mp4 = file.read(12)[4:8] == b"ftyp"
    except OSError as unreadable:
        reason = unreadable.strerror or unreadable
        return ClipError("unreadable", f"{path}: cannot be read ({reason}); check its permissions")
    if is_mp4:
        return ClipError(
            "truncated",
            f"{path}: an mp4 cut short ({size:,} bytes, its index is missing); copy or download it again",
        )
    return ClipError("undecodable", f"{path}: not a video file that FFmpeg can read ({_reason(error)}); replace it")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


# ------------------------------------------------------------------------------------------------ tracks


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
        """Seconds, of the first frame or sample that is shown."""
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

    def decoded(self) -> tuple[list[list[Any]], int]:
        """The frames of each packet, and how many packets the decoder refuses."""
        from av.error import FFmpegError

        frames: list[list[Any]] = []
        refused = 0
        for packet in self.packets:
            try:
                frames.append(packet.decode())
            except FFmpegError:
                refused += 1
        return frames, refused

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


def decoded_frames(container: Any, stream: Any) -> Iterator[Any]:
    """Frames of a track to the end of the file, or to where it cannot be read any more; refused packets are passed
    over, and what a broken-off file leaves in the decoder comes last.
    """
    from av.error import FFmpegError

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except FFmpegError:
            yield from stream.codec_context.decode(None)
            return
        try:
            frames = packet.decode()
        except FFmpegError:
            continue
        yield from frames
