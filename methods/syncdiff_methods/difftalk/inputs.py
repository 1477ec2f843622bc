"""What DiffTalk reads of a clip: landmarks, area to repaint, score windows (docs/spec/difftalk.md#data).

Landmarks are (T, 68, 2) float32 x y in the usual order of 68 points (300-W), as `detection.landmarks` gives them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syncdiff_methods.syncdiff.masking import NOSE_BASE

Landmarks = NDArray[np.float32]

KEPT = (*range(4), *range(13, 48))  # the 39 that the network sees: jaw ends, brows, nose, eyes
JAW = range(2, 15)


def kept_cells(landmarks: Landmarks, size: int, latent_size: int) -> NDArray[np.float32]:
    """0 in latent cells inside the polygon of jaw and nose base, 1 elsewhere (the cells that blending keeps).

    landmarks: (T, 68, 2) in pixels of the resized frame. Returns (T, latent_size, latent_size), resized bicubically
    from the full-size mask as 8-bit values, as the released script does.
    """
    from PIL import Image, ImageDraw

    masks = []
    for points in landmarks[:, [*JAW, NOSE_BASE]]:
        image = Image.new("L", (size, size), 1)
        ImageDraw.Draw(image).polygon([(float(x), float(y)) for x, y in points], fill=0)
        masks.append(np.asarray(image.resize((latent_size, latent_size), Image.Resampling.BICUBIC), np.float32))
    return np.stack(masks)


def neighbours(windows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """(T, 16, 29) score windows -> (T, count, 16, 29): those of frames t - count / 2 .. t + count / 2 - 1.

    Zeros beyond the ends of the clip.
    """
    before = count // 2
    padded = np.pad(windows, ((before, count - 1 - before), (0, 0), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(padded, count, axis=0)
    around: NDArray[np.float32] = view.transpose(0, 3, 1, 2).copy()
    return around
