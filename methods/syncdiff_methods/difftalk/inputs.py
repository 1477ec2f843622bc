"""What DiffTalk reads of a clip: landmarks, mask below the nose, area to repaint, score windows (methods.md A.4).

Landmarks are not computed here: `<clip id>.npy`, (T, 68, 2) float x y in pixels of the clip's frames, in the usual
order of 68 points (300-W; face-alignment gives it).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.errors import ClipError

Landmarks = NDArray[np.float32]

POINTS = 68
KEPT = (*range(4), *range(13, 48))  # the 39 that the network sees: jaw ends, brows, nose, eyes
NOSE_BASE = 33
JAW = range(2, 15)


def read_landmarks(folder: str, clip_id: str, n_frames: int) -> Landmarks:
    """(n_frames, 68, 2) float32. Surplus rows are cut; missing ones repeat the last.

    Raises ClipError (`landmarks`) where the file is missing or not of that shape.
    """
    path = Path(folder) / f"{clip_id}.npy"
    try:
        points = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ClipError(
            "landmarks", f"{path}: no readable landmarks ({error}); detect 68 points per frame and give landmarks=DIR"
        ) from None
    if points.ndim != 3 or points.shape[1:] != (POINTS, 2) or not len(points) or points.dtype.kind not in "iuf":
        raise ClipError("landmarks", f"{path}: landmarks have shape {points.shape}, expected (frames, 68, 2)")
    if not np.isfinite(points).all():
        raise ClipError("landmarks", f"{path}: some landmarks are not finite; detect them again")
    rows: Landmarks = points[np.minimum(np.arange(n_frames), len(points) - 1)].astype(np.float32)
    return rows


def scaled(landmarks: Landmarks, frame_hw: tuple[int, int], size: int) -> Landmarks:
    """Landmarks of frames of (height, width), in pixels of the frame resized to a square of `size`."""
    height, width = frame_hw
    return landmarks * np.array([size / width, size / height], np.float32)


def below_nose(landmarks: Landmarks, size: int) -> NDArray[np.bool_]:
    """True where a pixel is blanked: every row from the base of the nose down, over the full width.

    landmarks: (T, 68, 2) in pixels of the resized frame. Returns (T, size, size).
    """
    top = landmarks[:, NOSE_BASE, 1].astype(int)
    rows = np.arange(size)[None] >= top[:, None]
    return np.repeat(rows[:, :, None], size, axis=2)


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
