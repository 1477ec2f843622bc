"""Decoding the frames of a video track to arrays: RGB, turned upright, and the YCbCr of the file beside it.

Some scripts of the field never leave YCbCr (`ffmpeg` from video to JPEG), and RGB cannot give it back: it cuts colours
off, and chroma is doubled on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import Frames, Planes, Subsampling
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.containers import Track

_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_FORMATS: dict[str, tuple[Subsampling, bool]] = {  # FFmpeg's name -> subsampling, full range by definition
    f"yuv{mark}{subsampling}p": (subsampling, mark == "j")
    for subsampling in ("420", "422", "444")
    for mark in ("", "j")
}


class DecodedFrames(NamedTuple):
    """The frames of a track.

    frames: `av.VideoFrame`s in the order of showing, as coded.
    damaged: how many are not what was encoded: flagged as corrupt by the decoder, or refused by it and missing here.
    """

    frames: list[Any]
    damaged: int


def decoded_frames(track: Track) -> DecodedFrames:
    """All frames of a track. One thread: starting more costs a clip of seconds more than it saves."""
    track.stream.codec_context.thread_count = 1
    packets, refused = track.decoded()
    frames = list(chain.from_iterable(packets))
    damaged = sum(frame.is_corrupt for frame in frames) + refused
    return DecodedFrames(frames, max(damaged, track.corrupt))


def one_size(frames: Sequence[Any], path: Path) -> tuple[int, int]:
    """(height, width) of all frames. Raises ClipError `undecodable` where they change."""
    sizes = dict.fromkeys((frame.height, frame.width) for frame in frames)
    if len(sizes) > 1:
        raise ClipError("undecodable", f"{path}: the frame size changes within the clip; re-encode it at one size")
    return next(iter(sizes))


def arrays(
    frames: list[Any], indices: NDArray[np.int64], turn: Orientation, pixel_aspect: Fraction | None, path: Path
) -> tuple[Frames, Planes | None]:
    """RGB, (T, H, W, 3) uint8, and planes of the frames of these indices, which never descend.

    frames: emptied on the way, so that a clip does not lie in memory twice.
    One scaler serves all: PyAV's `to_ndarray` would build one, and threads for it, for each frame.
    Raises ClipError `undecodable` for colours that swscale cannot turn into RGB.
    """
    from av.error import FFmpegError
    from av.video.reformatter import VideoReformatter

    coded_as = _coded_as(frames, turn)
    scaler = VideoReformatter()
    filled: list[NDArray[np.uint8]] = []  # RGB, then the planes
    last = -1
    for position, index in enumerate(indices.tolist()):
        if index == last:
            for array in filled:
                array[position] = array[position - 1]
            continue
        frame, frames[index] = frames[index], None
        try:
            shown = [rgb_of(scaler, frame), *(_planes(frame) if coded_as else ())]
        except FFmpegError as error:
            what = f"pictures of format {frame.format.name}, colour space {int(frame.colorspace)}"
            raise ClipError("undecodable", f"{path}: {what} have no RGB ({error}); re-encode it") from None
        shown = [turn.applied(one) for one in shown]
        filled = filled or [np.empty((len(indices), *one.shape), np.uint8) for one in shown]
        for array, one in zip(filled, shown, strict=True):
            array[position] = one
        last = index
    rgb, *planes = filled
    return rgb, Planes(planes[0], planes[1], planes[2], *coded_as, pixel_aspect) if coded_as else None


def rgb_of(scaler: Any, frame: Any) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, a view. Bicubic as in ffmpeg: so chroma is enlarged in odd sizes and of more than 8 bits."""
    plane = scaler.reformat(frame, format="rgb24", interpolation="BICUBIC", threads=1).planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : 3 * plane.width].reshape(plane.height, plane.width, 3)


def _planes(frame: Any) -> list[NDArray[np.uint8]]:
    """Luma, blue and red of an `av.VideoFrame`, as views."""
    return [np.frombuffer(one, np.uint8).reshape(-1, one.line_size)[:, : one.width] for one in frame.planes]


def _coded_as(frames: Sequence[Any], turn: Orientation) -> tuple[Subsampling, bool] | None:
    """Subsampling, and whether the range is full; None unless all frames are 8-bit planar YCbCr of one kind.

    4:2:2 on its side is no 4:2:2: None as well.
    """
    (name, color_range), *others = {(frame.format.name, frame.color_range) for frame in frames}
    known = _FORMATS.get(name)
    if others or known is None or (known[0] == "422" and turn.exchanged):
        return None
    return known[0], known[1] or color_range == _FULL_RANGE


# ------------------------------------------------------------------------------------------- orientation


class Orientation(NamedTuple):
    """Rows and columns exchanged first, then columns (`across`) and rows (`down`) reversed."""

    exchanged: bool = False
    across: bool = False
    down: bool = False

    def applied(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A view of an (H, W) or (H, W, 3) frame as it is shown."""
        if not any(self):
            return frame
        if self.exchanged:
            frame = frame.swapaxes(0, 1)
        return frame[:: -1 if self.down else 1, :: -1 if self.across else 1]

    def __str__(self) -> str:
        """ "rotated by 90 degrees" (counter-clockwise), "mirrored left to right", "" for neither."""
        return _WORDS[self]


_WORDS = {
    Orientation(): "",
    Orientation(exchanged=True, down=True): "rotated by 90 degrees",
    Orientation(across=True, down=True): "rotated by 180 degrees",
    Orientation(exchanged=True, across=True): "rotated by 270 degrees",
    Orientation(across=True): "mirrored left to right",
    Orientation(down=True): "mirrored top to bottom",
    Orientation(exchanged=True): "mirrored along the diagonal",
    Orientation(exchanged=True, across=True, down=True): "mirrored along the other diagonal",
}


def turn_of(notes: Iterable[str]) -> str:
    """What the notes of a decoded clip say of its orientation, "" where it is shown as it is coded."""
    return next((note for note in notes if note in _WORDS.values()), "")


def orientation(frame: Any, path: Path) -> Orientation:
    """Of an `av.VideoFrame`, by its display matrix. Raises ClipError `rotation` where that is no quarter turn."""
    from av.sidedata.sidedata import Type

    side_data = frame.side_data
    if not len(side_data) or (matrix := side_data.get(Type.DISPLAYMATRIX)) is None:
        return Orientation()
    # Nine native 32-bit numbers (libavutil/display.h): the point (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d, *_ = np.frombuffer(matrix, dtype=np.int32).tolist()
    if a and d and not b and not c:
        return Orientation(across=a < 0, down=d < 0)
    if b and c and not a and not d:
        return Orientation(exchanged=True, across=c < 0, down=b < 0)
    raise ClipError("rotation", f"{path}: is to be shown turned by no quarter of a turn; re-encode it upright")
