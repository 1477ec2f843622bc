"""Decoded pictures in the YCbCr of their file, kept beside the RGB that is made of them.

Some scripts of the field never leave YCbCr (`ffmpeg` from video to JPEG), and RGB cannot give it back: it cuts colours
off, and chroma is doubled on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from syncdiff_bench.contracts import Planes, Subsampling
from syncdiff_bench.media.orientation import Orientation

_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_FORMATS: dict[str, tuple[Subsampling, bool]] = {  # FFmpeg's name -> subsampling, full range by definition
    f"yuv{mark}{subsampling}p": (subsampling, mark == "j")
    for subsampling in ("420", "422", "444")
    for mark in ("", "j")
}


def empty_planes(frames: Sequence[Any], n: int, turn: Orientation, pixel_aspect: Fraction | None) -> Planes | None:
    """Room for n pictures like these `av.VideoFrame`s; None unless all are 8-bit planar YCbCr of one kind.

    4:2:2 on its side is no 4:2:2: None as well.
    """
    kinds = {(frame.format.name, frame.color_range) for frame in frames}
    (name, color_range), *others = kinds
    known = _FORMATS.get(name)
    if others or known is None or (known[0] == "422" and turn.exchanged):
        return None
    subsampling, full_range = known
    luma, blue, red = (
        np.empty((n, *((width, height) if turn.exchanged else (height, width))), np.uint8)
        for height, width in ((plane.height, plane.width) for plane in frames[0].planes)
    )
    return Planes(luma, blue, red, subsampling, full_range or color_range == _FULL_RANGE, pixel_aspect)


def fill_planes(planes: Planes, position: int, frame: Any, turn: Orientation) -> None:
    """Copy the planes of a `av.VideoFrame`, turned, to where `planes` has that picture."""
    for target, plane in zip((planes.luma, planes.blue, planes.red), frame.planes, strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        target[position] = turn.applied(rows[:, : plane.width])
