"""Packets of a video track to pictures, and those of them that are wanted to arrays."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Frames, Planes
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.coded import empty_planes, fill_planes
from syncdiff_bench.media.orientation import Orientation
from syncdiff_bench.media.packets import Track


class Decoded(NamedTuple):
    """frames: `av.VideoFrame`s in the order of showing, as coded. damaged: how many are not what was encoded:
    flagged as corrupt by the decoder, or refused by it and missing here.
    """

    frames: list[Any]
    damaged: int


def decoded_pictures(track: Track) -> Decoded:
    """All pictures of a track. One thread: starting more costs a clip of seconds more than it saves."""
    from av.error import FFmpegError

    track.stream.codec_context.thread_count = 1
    frames: list[Any] = []
    refused = 0
    for packet in track.packets:
        try:
            frames += packet.decode()
        except FFmpegError:
            refused += 1
    damaged = sum(frame.is_corrupt for frame in frames) + refused
    return Decoded(frames, max(damaged, track.corrupt))


def one_size(frames: Sequence[Any], path: Path) -> tuple[int, int]:
    """(height, width) of all pictures. Raises ClipError `undecodable` where they change."""
    sizes = dict.fromkeys((frame.height, frame.width) for frame in frames)
    if len(sizes) > 1:
        raise ClipError("undecodable", f"{path}: the frame size changes within the clip; re-encode it at one size")
    return next(iter(sizes))


def arrays(
    frames: list[Any], indices: NDArray[np.int64], turn: Orientation, pixel_aspect: Fraction | None, path: Path
) -> tuple[Frames, Planes | None]:
    """RGB, (T, H, W, 3) uint8, and planes of the pictures of these indices, which never descend.

    frames: emptied on the way, so that a clip does not lie in memory twice.
    One scaler serves all: PyAV's `to_ndarray` would build one, and threads for it, for each picture.
    Raises ClipError `undecodable` for colours that swscale cannot turn into RGB.
    """
    from av.error import FFmpegError
    from av.video.reformatter import VideoReformatter

    height, width = frames[0].height, frames[0].width
    shown = np.empty((len(indices), *((width, height) if turn.exchanged else (height, width)), 3), np.uint8)
    planes = empty_planes(frames, len(indices), turn, pixel_aspect)
    scaler = VideoReformatter()
    last = -1
    for position, index in enumerate(indices.tolist()):
        if index == last:
            _repeat(shown, planes, position)
            continue
        frame, frames[index] = frames[index], None
        try:
            shown[position] = turn.applied(_rgb(scaler, frame))
        except FFmpegError as error:
            raise ClipError("undecodable", f"{path}: {_no_rgb(frame, error)}; re-encode it") from None
        if planes is not None:
            fill_planes(planes, position, frame, turn)
        last = index
    return shown, planes


def _rgb(scaler: Any, frame: Any) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, a view. Bicubic as in ffmpeg: so chroma is enlarged in odd sizes and deep pictures."""
    picture = scaler.reformat(frame, format="rgb24", interpolation="BICUBIC", threads=1)
    plane = picture.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : 3 * plane.width].reshape(plane.height, plane.width, 3)


def _no_rgb(frame: Any, error: Exception) -> str:
    return f"pictures of format {frame.format.name}, colour space {int(frame.colorspace)} have no RGB ({error})"


def _repeat(shown: Frames, planes: Planes | None, position: int) -> None:
    for array in (shown, *(() if planes is None else (planes.luma, planes.blue, planes.red))):
        array[position] = array[position - 1]
