"""What a program left behind: the one video, as many and as large frames as the clip has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Clip, Frames
from syncdiff_bench.errors import ClipError


def only_video(folder: Path, pattern: str, clip_id: str) -> Path | None:
    """The file that matches, None where none does. Raises ClipError `two-outputs` for several."""
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if len(found) > 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found[:4])
        raise ClipError("two-outputs", f"{clip_id}: {len(found)} videos came out ({names}), expected one {pattern}")
    return found[0] if found else None


def read_result(path: Path, clip: Clip) -> tuple[Frames, tuple[Caveat, ...]]:
    """Frames of the clip's shape, and what was done to them in words.

    Another frame rate is retimed to 25, a missing end filled with the last frame, a surplus cut, another size resized.
    Raises ClipError of the kinds of `read_media`.
    """
    from syncdiff_bench.media.reading import read_media

    try:
        media = read_media(path)
    except ClipError as error:
        # The file is gone once this is read.
        told = str(error).replace(str(path), path.name)
        raise ClipError(error.kind, f"{clip.id}: what came out cannot be read ({told})") from None
    noticed = [replace(caveat, detail=f"output: {caveat.detail}") for caveat in media.caveats]
    frames, mended = fitted(media.frames, len(clip.frames), clip.frames.shape[1], clip.frames.shape[2])
    return frames, (*noticed, *(Caveat("mended-output", "the program's output was made to fit", one) for one in mended))


def fitted(frames: Frames, n: int, height: int, width: int) -> tuple[Frames, tuple[str, ...]]:
    """(n, height, width, 3) uint8 RGB out of any (T, H, W, 3), and notes; unchanged and no notes where it fits.

    >>> fitted(np.zeros((3, 4, 4, 3), np.uint8), 5, 4, 4)[1]
    ('output 2 of 5 frames too short: last frame repeated',)
    """
    notes = []
    made = len(frames)
    if made < n:
        notes.append(f"output {n - made} of {n} frames too short: last frame repeated")
        frames = np.concatenate([frames, np.repeat(frames[-1:], n - made, axis=0)])
    elif made > n:
        notes.append(f"output longer than the clip: {made} -> {n} frames")
        frames = frames[:n]
    if frames.shape[1:3] != (height, width):
        notes.append(f"output resized {frames.shape[2]}x{frames.shape[1]} -> {width}x{height}")
        frames = _resized(frames, height, width)
    return frames, tuple(notes)


def _resized(frames: Frames, height: int, width: int) -> Frames:
    """Bicubic, with antialiasing where it shrinks."""
    from PIL import Image

    bicubic = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height), bicubic)) for frame in frames])
