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
from syncdiff_bench.errors import UsageError, one_line

Frames = NDArray[np.uint8]
Audio = NDArray[np.int16]
Boxes = NDArray[np.int32]

FPS = 25
SAMPLE_RATE = 16_000
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS  # 640
LONGEST_TAIL = 0.5  # seconds of sound after the last frame, which containers pad


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


def given_frames(value: Any, name: str = "frames") -> Frames:
    """Frames as a caller gave them. Raises UsageError for what is not (T, H, W, 3) uint8 with T, H, W >= 1."""
    frames = _given(value, name)
    if frames.ndim == 3 and frames.shape[-1] == 3:
        raise UsageError(f"{name} are {_told(frames)}, one picture; give several of them, or frames[None]")
    if frames.ndim != 4 or frames.shape[-1] != 3:
        mend = "; frames.transpose(0, 2, 3, 1) moves the colours last" if frames.shape[1:2] == (3,) else ""
        raise UsageError(f"{name} are {_told(frames)}; give (T, H, W, 3) uint8 RGB{mend if frames.ndim == 4 else ''}")
    if frames.dtype != np.uint8:
        raise UsageError(f"{name} are {_told(frames)}, {_range(frames)}; give uint8 from 0 to 255{_scaled(frames)}")
    if not frames.size:
        raise UsageError(f"{name} are {_told(frames)}; give one frame at least")
    return frames


def given_audio(value: Any, n_frames: int) -> Audio:
    """Audio as a caller gave it for so many frames; what is longer by up to half a second is cut off.

    Raises UsageError for what is not (N,) int16, or sounds longer.
    """
    audio = _given(value, "audio")
    if audio.ndim != 1:
        raise UsageError(f"audio is {_told(audio)}; give one channel, (N,) int16 at {SAMPLE_RATE} Hz")
    if audio.dtype != np.int16:
        mend = ": (32767 * audio).astype('int16')" if audio.dtype.kind == "f" else ""
        raise UsageError(f"audio is {_told(audio)}, {_range(audio)}; give int16{mend}")
    fitting = n_frames * SAMPLES_PER_FRAME
    if len(audio) > fitting + LONGEST_TAIL * SAMPLE_RATE:
        lengths = f"{len(audio) / SAMPLE_RATE:.2f} s at {SAMPLE_RATE} Hz", f"{n_frames / FPS:.2f} s at {FPS} per second"
        raise UsageError(f"audio has {lengths[0]}, its frames {lengths[1]}; resample it, or cut audio[:{fitting}]")
    return audio[:fitting]


def given_boxes(value: Any, n_frames: int) -> Boxes:
    """Face boxes as a caller gave them, one for all frames or one each. Raises UsageError for others."""
    boxes = _given(value, "boxes")
    if boxes.shape not in ((4,), (n_frames, 4)) or boxes.dtype.kind not in "iuf":
        raise UsageError(f"boxes are {_told(boxes)}; give ({n_frames}, 4) or (4,): x1 y1 x2 y2 in pixels")
    if not np.isfinite(boxes).all():
        raise UsageError("boxes are not all finite; give x1 y1 x2 y2 in pixels")
    whole: Boxes = np.broadcast_to(np.rint(boxes), (n_frames, 4)).astype(np.int32)
    return whole


def _given(value: Any, name: str) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except Exception as error:  # lists of unequal length; a tensor on a GPU
        raise UsageError(f"{name} are no array: {one_line(error)}") from None
    if array.dtype.kind in "OSUV":
        raise UsageError(f"{name} are no array of numbers but {type(value).__name__}; give a numpy array")
    return array


def _told(array: NDArray[Any]) -> str:
    return f"{array.shape} {array.dtype}"


def _range(array: NDArray[Any]) -> str:
    return f"from {array.min():g} to {array.max():g}" if array.size else "empty"


def _scaled(frames: NDArray[Any]) -> str:
    """How to bring frames of another range to 0..255, as far as the values say."""
    if frames.dtype.kind == "f" and frames.size:
        low, high = frames.min(), frames.max()
        if -1 <= low < 0 and high <= 1:
            return ": (127.5 * (frames + 1)).round().astype('uint8')"
        if low >= 0:
            return ": " + ("(255 * frames)" if high <= 1 else "frames") + ".round().astype('uint8')"
    return ""


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
