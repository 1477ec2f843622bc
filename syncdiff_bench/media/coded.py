"""Decoded pictures in the YCbCr of their file, kept beside the RGB that is made of them.

Some scripts of the field never leave YCbCr (`ffmpeg` from video to JPEG), and RGB cannot give it back: it cuts colours
off, and chroma is doubled on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Planes, Subsampling

_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_FORMATS: dict[str, tuple[Subsampling, bool]] = {  # FFmpeg's name -> subsampling, full range by definition
    f"yuv{mark}{subsampling}p": (subsampling, mark == "j")
    for subsampling in ("420", "422", "444")
    for mark in ("", "j")
}


class CodedPicture(NamedTuple):
    """One picture: planes Y, Cb and Cr, each (H, W) uint8, and what `Planes` says of them."""

    planes: tuple[NDArray[np.uint8], ...]
    subsampling: Subsampling
    full_range: bool


def coded_picture(frame: Any, quarter_turns: int) -> CodedPicture | None:
    """The planes of a `av.VideoFrame`, turned counter-clockwise; None where they are not 8-bit planar YCbCr.

    4:2:2 on its side is no 4:2:2: None as well.
    """
    known = _FORMATS.get(frame.format.name)
    if known is None or (known[0] == "422" and quarter_turns % 2):
        return None
    subsampling, full_range = known
    planes = tuple(np.rot90(_plane(plane), quarter_turns) for plane in frame.planes)
    return CodedPicture(planes, subsampling, full_range or frame.color_range == _FULL_RANGE)


def _plane(plane: Any) -> NDArray[np.uint8]:
    """(H, W) uint8, a copy: the decoder uses its buffer again."""
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width].copy()


def gathered_planes(
    pictures: Sequence[CodedPicture | None], indices: NDArray[np.int64], pixel_aspect: Fraction | None
) -> Planes | None:
    """The pictures of these indices as `Planes`; None unless all are coded alike."""
    first = pictures[0]
    known = [picture for picture in pictures if picture is not None and first is not None and picture[1:] == first[1:]]
    if first is None or len(known) < len(pictures):
        return None
    luma, blue, red = (np.stack([known[index].planes[number] for index in indices]) for number in range(3))
    return Planes(luma, blue, red, first.subsampling, first.full_range, pixel_aspect)
