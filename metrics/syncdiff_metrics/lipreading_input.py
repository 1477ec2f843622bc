"""Frames as TalkLip's lip reader sees them: grey, middle, no mouth alignment (docs/spec/lip-reading.md#input)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Frames
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.bilinear import resize_linear

if TYPE_CHECKING:
    from torch import Tensor

FrameSize = Literal["native", "160"]
LRS2_SIDE = 160  # pixels; the side of LRS2 frames, at which the reader was fine-tuned

# cv2.cvtColor(BGR2GRAY) on uint8: 0.299 R + 0.587 G + 0.114 B in 15-bit fixed point
GREY_SHIFT = 15
GREY_RGB = (9798, 19235, 3735)


def grey_frames(frames: Frames) -> NDArray[np.uint8]:
    """(T, H, W, 3) uint8 RGB to (T, H, W) uint8, rounded as OpenCV rounds."""
    red, green, blue = (frames[..., channel].astype(np.int32) * GREY_RGB[channel] for channel in range(3))
    rounded = (red + green + blue + (1 << (GREY_SHIFT - 1))) >> GREY_SHIFT
    return rounded.astype(np.uint8)


def centre_patches(grey: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(T, H, W) uint8 to its middle (T, side, side). Raises ClipError (`frame-size`) on smaller frames."""
    height, width = grey.shape[1:]
    if height < side or width < side:
        raise ClipError(
            "frame-size",
            f"frames are {width}x{height}, the lip reader needs {side}x{side} at least; score larger videos",
        )
    top, left = (height - side) // 2, (width - side) // 2
    return grey[:, top : top + side, left : left + side]


def lip_patches(frames: Frames, frame_size: FrameSize | int, side: int) -> Tensor:
    """What the lip reader crops out of a clip: (T, side, side) uint8 on the CPU.

    frames: (T, H, W, 3) uint8 RGB.
    frame_size: `160` stretches the whole frame to LRS2's size first (as `cv2.resize` does), so that the
        reader meets mouths of the size it knows; `native` does not (docs/spec/lip-reading.md#frame-size); a number of
        pixels stretches it to that size, for a reader of this project.
    Raises ClipError (`frame-size`) where the frame is smaller than the patch.
    """
    if frame_size != "native":
        stretched = LRS2_SIDE if frame_size == "160" else frame_size
        frames = np.stack([resize_linear(frame, stretched, stretched) for frame in frames])
    return middle_patches(frames, side)


def middle_patches(frames: Frames, side: int) -> Tensor:
    """(T, H, W, 3) uint8 RGB, grey and cut to the middle: (T, side, side) uint8 on the CPU.

    Raises ClipError (`frame-size`) where the frame is smaller than the patch.
    """
    import torch

    return torch.from_numpy(np.ascontiguousarray(centre_patches(grey_frames(frames), side)))
