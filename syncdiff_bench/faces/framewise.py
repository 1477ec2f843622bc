"""What other tools say of every frame of a file (face boxes, landmarks), brought to the frames that are read.

A tool that looked at a 30 fps file wrote 90 rows where 75 frames are read at 25 fps: each frame takes the row of the
picture that it is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import Media
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.errors import ClipError

FEW_ROWS = 3  # codecs drop or add a last picture or two, and tools count them or do not


def rows_of_frames(rows: int, media: Media, what: str, file: Path) -> tuple[NDArray[np.int64], tuple[Caveat, ...]]:
    """(T,) int64: the row of each frame of a clip; and what is doubtful about it.

    rows: of the file, one per frame of the clip or one per picture of its video; a few more or less at the end are
    cut, or the last one is repeated, and that is a caveat. what: "boxes" or "landmarks".
    Raises ClipError of the kind `what` for any other number of rows.
    """
    n_frames, n_pictures = len(media.frames), media.source_count
    frames = np.arange(n_frames, dtype=np.int64)
    if rows == n_frames:
        return frames, ()
    if media.source_frames is not None and rows == n_pictures:
        return media.source_frames.astype(np.int64), ()
    off_frames, off_pictures = abs(rows - n_frames), abs(rows - n_pictures)
    if rows and min(off_frames, off_pictures) <= FEW_ROWS:
        by_picture = media.source_frames is not None and off_pictures < off_frames
        source = media.source_frames if by_picture and media.source_frames is not None else frames
        wanted = n_pictures if by_picture else n_frames
        detail = f"{rows} rows of {what} for {wanted} {'pictures' if by_picture else 'frames'}"
        caveat = Caveat("rows", f"{what} of up to {{most}} frames more or fewer", detail, abs(rows - wanted))
        return np.minimum(source, rows - 1).astype(np.int64), (caveat,)
    pictures = f" ({n_pictures} pictures in the file)" if n_pictures not in (0, n_frames) else ""
    raise ClipError(
        what, f"{file}: {rows} rows of {what} for {n_frames} frames{pictures}; they are of another video: detect again"
    )
