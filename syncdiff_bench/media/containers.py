"""Opening a media file, and what its header says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import FPS
from syncdiff_bench.errors import ClipError


@dataclass(frozen=True)
class MediaFacts:
    """What the header of a file says; nothing is decoded, so a damaged file may still have fine facts.

    width, height: pixels as coded, before rotation metadata is applied.
    fps: the constant rate at which the file is read (see `retiming`), frames per second.
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
    has_audio: bool


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
        container = av.open(f"file:{path}", container_options={"protocol_whitelist": "file"})
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
    """The sound track that FFmpeg would pick, None without any. Raises ClipError `undecodable` (no decoder for it)."""
    stream = container.streams.best("audio")
    return None if stream is None else _decodable(stream, path)


def other_tracks(container: Any) -> tuple[Caveat, ...]:
    """A caveat `several-tracks` where a file holds more pictures or sounds than one of each; covers do not count."""
    from av.stream import Disposition

    pictures = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    held = f"{len(pictures)} video and {len(container.streams.audio)} sound tracks"
    if len(pictures) < 2 and len(container.streams.audio) < 2:
        return ()
    return (Caveat("several-tracks", "of several video or sound tracks the ones that FFmpeg picks were used", held),)


def labelled_rate(stream: Any) -> Fraction | None:
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
        rate = labelled_rate(video) or Fraction(FPS)
        duration = (container.duration or 0) / 1_000_000
        return MediaFacts(
            width=video.codec_context.width,
            height=video.codec_context.height,
            fps=float(rate),
            frames=video.frames or round(_seconds(video, duration) * rate),
            duration=duration,
            sample_rate=audio.sample_rate if audio else 0,
            channels=audio.channels if audio else 0,
            has_audio=audio is not None,
        )


def _seconds(stream: Any, default: float) -> float:
    return float(stream.duration * stream.time_base) if stream.duration else default


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
