"""The pictures of FACE, a photo or a video of any size, rate and orientation, as a stream that can run backwards.

A video is counted at the constant rate of its label: picture i is what a player shows at i / rate seconds. It is
decoded as often as it is read and never held whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from syncdiff_bench.arrays import FPS, Frames
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.containers import decoded_frames, header_rate, open_media, video_stream
from syncdiff_bench.media.frames import Orientation, orientation, rgb_of
from syncdiff_bench.media.timing import FASTEST_LABEL, HAIR, frames_until, label_rate, rate_label, refuse_label

PHOTOS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "AVIF")  # of the many formats of Pillow
LONGEST_PHOTO = 4096  # pixels of a side, what players decode
BACKWARDS = 256 * 1024**2  # bytes of frames that are held to show them backwards
MANY = 20  # times as many pictures as were coded: a broken clock


@dataclass(frozen=True, eq=False)
class Pictures:
    """What FACE shows.

    width, height: pixels, upright. rate: pictures per second. count: of them.
    pixel_aspect: width over height of a pixel.
    photo: the one picture of a photo, (H, W, 3) uint8; None for a video.
    notes: what was done to it that is worth a line.
    """

    path: Path
    width: int
    height: int
    rate: Fraction
    count: int
    pixel_aspect: Fraction = Fraction(1)
    photo: Frames | None = None
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return float(self.count / self.rate)

    def forward(self, first: int = 0) -> Iterator[Frames]:
        """Every picture from one on, (H, W, 3) uint8 RGB, to be copied where it is kept."""
        if self.photo is not None:
            for _ in range(first, self.count):
                yield self.photo
            return
        at = first
        for slot, shown in self._slots(first):
            while at < min(slot, self.count):
                yield shown
                at += 1
        if at == first:
            raise ClipError("undecodable", f"{self.path}: no picture decodes at {at / self.rate:.1f} s; re-encode it")

    def in_order(self, order: Sequence[int]) -> Iterator[Frames]:
        """The pictures of these numbers, whose neighbours differ by at most 1; backwards some are held at once."""
        if self.photo is not None:
            yield from repeat(self.photo, len(order))
            return
        held = max(8, BACKWARDS // (3 * self.width * self.height))
        last_shown: tuple[int, Frames] | None = None
        for first, last in _runs(order):
            if last_shown is not None and first == last == last_shown[0]:
                yield last_shown[1]
                continue
            for index, frame in self._run(first, last, held):
                last_shown = index, frame
                yield frame

    def _run(self, first: int, last: int, held: int) -> Iterator[tuple[int, Frames]]:
        if last >= first:
            yield from enumerate(islice(self.forward(first), last - first + 1), first)
            return
        for high in range(first, last - 1, -held):
            low = max(last, high - held + 1)
            block = [frame.copy() for frame in islice(self.forward(low), high - low + 1)]
            while block:
                index = low + len(block) - 1
                yield index, block.pop()

    def _slots(self, first: int) -> Iterator[tuple[int, Frames]]:
        """(slot at which the next picture takes over, picture), ascending; the last one is shown to the end."""
        before: Any = None
        scaler, turn = _scaler(), Orientation()
        for time, frame in _timed(self.path, self.rate, first / self.rate):
            slot = math.floor((float(time) + HAIR) * float(self.rate) + 0.5)
            if before is None:
                turn = orientation(frame, self.path)
            elif slot > first:
                yield slot, self._upright(scaler, before, turn)
            before = frame
        if before is not None:
            yield self.count, self._upright(scaler, before, turn)

    def _upright(self, scaler: Any, frame: Any, turn: Orientation) -> Frames:
        shown = turn.applied(rgb_of(scaler, frame))
        if shown.shape != (self.height, self.width, 3):
            raise ClipError("undecodable", f"{self.path}: the frame size changes within the video; re-encode it")
        return shown


def open_pictures(path: Path) -> Pictures:
    """Look at FACE: of a video all packets, of which one is decoded.

    Raises ClipError `no-video`, `timestamps`, `rotation`, and those of `open_media`.
    """
    return _photo(path) or _video(path)


def _photo(path: Path) -> Pictures | None:
    """The photo, upright by its EXIF data, transparency on white; None for a file that is none."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not path.is_file():
        return None  # told by `open_media`
    notes: tuple[str, ...] = ()
    try:
        Image.init()
        known = [name for name in PHOTOS if name in Image.OPEN]
        with Image.open(path, formats=known) as opened:
            if getattr(opened, "n_frames", 1) > 1 and opened.format != "MPO":
                return None
            opened.load()
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I;16"):
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            if upright.has_transparency_data:
                coloured = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)
            picture = upright.convert("RGB")
    except UnidentifiedImageError:
        return None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        told = " ".join(str(error).split())[:200]
        raise ClipError("undecodable", f"{path}: not a picture that can be read ({told}); save it again") from None
    if max(picture.size) > LONGEST_PHOTO:
        width, height = picture.size
        picture.thumbnail((LONGEST_PHOTO, LONGEST_PHOTO), Image.Resampling.LANCZOS)
        notes = (f"reduced from {width}x{height} to {picture.width}x{picture.height}: players show no larger ones",)
    return Pictures(path, *picture.size, Fraction(FPS), 1, photo=np.asarray(picture), notes=notes)


def _video(path: Path) -> Pictures:
    with open_media(path) as container:
        stream = video_stream(container, path)
        refuse_label(header_rate(stream), path)
        origin = Fraction(container.start_time or 0, 1_000_000)
        frame = next((frame for frame in decoded_frames(container, stream)), None)
        if frame is None:
            raise ClipError("undecodable", f"{path}: the video track holds no picture; copy or download it again")
        turn, height, width = orientation(frame, path), frame.height, frame.width
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        base, label = stream.time_base, header_rate(stream)
    starts, ends = _packet_times(path, base, origin)
    n, first, end = len(starts), starts[0], max(ends)
    measured = (n - 1) / (starts[-1] - first) if n > 1 and starts[-1] > first else None
    rate = label_rate(label, measured)
    if rate > FASTEST_LABEL:
        raise ClipError("timestamps", f"{path}: its clock shows {float(rate):.0f} pictures per second; re-encode it")
    count = max(1, frames_until(float(end if end > starts[-1] else starts[-1] + 1 / rate), rate))
    if count > MANY * n + 250:
        told = f"its clock spreads {n} pictures over the time of {count}"
        raise ClipError("timestamps", f"{path}: {told}; re-encode it")
    notes = []
    steps = np.diff([float(start) for start in starts])
    if len(steps) and np.abs(steps - np.median(steps)).max() > np.median(steps) / 4:
        notes.append(f"its frame rate varies: made constant, {rate_label(rate)} fps")
    if turn.exchanged:
        height, width, aspect = width, height, 1 / aspect
    if str(turn):
        notes.append(str(turn))
    return Pictures(path, width, height, rate, count, aspect, notes=tuple(notes))


def _packet_times(path: Path, base: Fraction, origin: Fraction) -> tuple[list[Fraction], list[Fraction]]:
    """When each coded picture is shown and how long, in seconds, in the order of showing; nothing is decoded."""
    from av.error import FFmpegError

    times: list[tuple[int, int]] = []
    with open_media(path) as container:
        stream = video_stream(container, path)
        try:
            for packet in container.demux(stream):
                time = packet.pts if packet.pts is not None else packet.dts
                if packet.size and not packet.is_discard and time is not None:
                    times.append((time, packet.duration or 0))
        except FFmpegError:  # cut short: what is there counts
            pass
    times = sorted(times) or [(0, 0)]
    starts = [time * base - origin for time, _ in times]
    return starts, [start + lasts * base for start, (_, lasts) in zip(starts, times, strict=True)]


def _timed(path: Path, rate: Fraction, wanted: Fraction) -> Iterator[tuple[Fraction, Any]]:
    """(seconds, frame) in the order of showing, from the one that is shown at `wanted` on, or from an earlier one."""
    # A second earlier: the times of a file with B-frames are those of decoding.
    for begin in (wanted - 1, Fraction(0)) if wanted > 1 else (Fraction(0),):
        with open_media(path) as container:
            stream = video_stream(container, path)
            stream.thread_type = "AUTO"
            origin = Fraction(container.start_time or 0, 1_000_000)
            # Nobody knows the times of an AVI but from its start (`timing`).
            if begin and (container.format.name == "avi" or not _sought(container, stream, begin + origin)):
                continue
            time: Fraction | None = None
            for frame in decoded_frames(container, stream):
                if frame.pts is not None:
                    here = frame.pts * stream.time_base - origin
                else:
                    here = Fraction(0) if time is None else time + 1 / rate
                if time is None and begin and (frame.pts is None or here > wanted):
                    break  # a file in which nobody can jump: from its start
                time = here
                yield here, frame
            else:
                if time is not None:
                    return


def _sought(container: Any, stream: Any, time: Fraction) -> bool:
    from av.error import FFmpegError

    try:
        container.seek(int(time / stream.time_base), stream=stream)
    except FFmpegError:
        return False
    return True


def _scaler() -> Any:
    from av.video.reformatter import VideoReformatter

    return VideoReformatter()


def _runs(order: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ascending and descending runs of numbers by their first and last one.

    >>> list(_runs([0, 1, 2, 1, 0, 1])), list(_runs([3, 3, 3]))
    ([(0, 2), (1, 0), (1, 1)], [(3, 3), (3, 3), (3, 3)])
    """
    at = 0
    while at < len(order):
        end, step = at, 0
        while end + 1 < len(order):
            next_step = order[end + 1] - order[end]
            if next_step == 0 or (step and next_step != step):
                break
            step, end = next_step, end + 1
        yield order[at], order[end]
        at = end + 1
