"""The arrays that everything here moves around.

* frames: `(T, H, W, 3) uint8`, RGB, 0..255, at 25 frames per second;
* audio: `(N,) int16`, mono, 16 kHz, so that frame `t` sounds during samples `640 t .. 640 (t + 1)`;
* boxes: `(T, 4) int32`, pixels of the frame, `x1 y1 x2 y2`, `x2` and `y2` exclusive.
"""

from __future__ import annotations

import math
import stat
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.caveats import Caveat

Frames = NDArray[np.uint8]
Audio = NDArray[np.int16]
Boxes = NDArray[np.int32]

FPS = 25
SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS  # 640


Subsampling = Literal["420", "422", "444"]


@dataclass(frozen=True, eq=False)
class Planes:
    """The frames of a clip as its file holds them, before they become RGB: ITU-R BT.601 or 709 YCbCr, 8 bits.

    luma: (T, H, W) uint8.
    blue, red: (T, h, w) uint8, Cb and Cr; (h, w) is half of (H, W), rounded up, in both directions ("420"), across
        only ("422") or in none ("444").
    full_range: True for 0..255 in all three, False for 16..235 and 16..240.
    pixel_aspect: width over height of a pixel, None where the file does not say.
    """

    luma: NDArray[np.uint8]
    blue: NDArray[np.uint8]
    red: NDArray[np.uint8]
    subsampling: Subsampling
    full_range: bool
    pixel_aspect: Fraction | None = None


@dataclass(frozen=True, eq=False)
class Media:
    """One decoded clip.

    frames: (T, H, W, 3) uint8 RGB at 25 fps, T >= 1.
    audio: (N,) int16 mono 16 kHz; N <= 640 T (container padding is trimmed, a short track is never padded);
        N == 0 where the file has no audio track.
    notes: conversions that leave no doubt about a number, in words ("44.1 kHz stereo -> 16 kHz mono"); for run.json.
    planes: the same T frames as the file codes them; None for RGB files, more than 8 bits, and clips made in memory.
    caveats: what happened to the clip that a reader of its numbers should know; below every table.
    source_frames: (T,) int64, which frame of the file each one is, counted from 0 in the order of showing; None for
        clips made in memory, as the next two are 0 and None.
    source_count: how many frames the file holds.
    source_rate: the frames per second that it is labelled with.
    bits: per sample of the file's frames; `frames` have 8.
    """

    frames: Frames
    audio: Audio
    notes: tuple[str, ...] = ()
    planes: Planes | None = None
    caveats: tuple[Caveat, ...] = ()
    source_frames: NDArray[np.int64] | None = None
    source_count: int = 0
    source_rate: Fraction | None = None
    bits: int = 8


def load_array(path: Path) -> NDArray[Any]:
    """The array of a `.npy` of numbers. Raises OSError where it cannot be read, ValueError where it is none.

    A header that claims more than the file holds is refused before memory is asked for it.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("no regular file")
    try:
        return _loaded(path)
    except OSError:
        raise
    except Exception as error:  # numpy hands a header to Python's parser, which fails in whatever way it likes
        raise ValueError(" ".join(str(error).split())[:200]) from None


def _loaded(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        major, minor = np.lib.format.read_magic(file)
        header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}.get(major)
        if header is None:
            raise ValueError(f"is of format {major}.{minor}")
        shape, _, dtype = header(file)
        claimed, held = math.prod(shape) * dtype.itemsize, path.stat().st_size - file.tell()
        if claimed > held:
            raise ValueError(f"the header claims {claimed:,} bytes, the file holds {held:,}")
        file.seek(0)
        loaded: NDArray[Any] = np.load(file, allow_pickle=False)
        return loaded


def writable(array: NDArray[Any]) -> NDArray[Any]:
    """The array, or a copy of one that is read-only, as a clip's may be.

    For `torch.from_numpy`, whose tensor shares memory that whoever holds it may write to.
    """
    return np.require(array, requirements="W")
