"""How a picture is to be turned and mirrored before it is shown: the display matrix that cameras write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.errors import ClipError


class Orientation(NamedTuple):
    """Rows and columns exchanged first, then columns (`across`) and rows (`down`) reversed."""

    exchanged: bool = False
    across: bool = False
    down: bool = False

    def applied(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A view of an (H, W) or (H, W, 3) picture as it is shown."""
        if not any(self):
            return picture
        if self.exchanged:
            picture = picture.swapaxes(0, 1)
        return picture[:: -1 if self.down else 1, :: -1 if self.across else 1]

    def __str__(self) -> str:
        """ "rotated by 90 degrees" (counter-clockwise), "mirrored left to right", "" for neither."""
        return _WORDS[self]


_WORDS = {
    Orientation(): "",
    Orientation(exchanged=True, down=True): "rotated by 90 degrees",
    Orientation(across=True, down=True): "rotated by 180 degrees",
    Orientation(exchanged=True, across=True): "rotated by 270 degrees",
    Orientation(across=True): "mirrored left to right",
    Orientation(down=True): "mirrored top to bottom",
    Orientation(exchanged=True): "mirrored along the diagonal",
    Orientation(exchanged=True, across=True, down=True): "mirrored along the other diagonal",
}


def turn_of(notes: Iterable[str]) -> str:
    """What the notes of a decoded clip say of its orientation, "" where it is shown as it is coded."""
    return next((note for note in notes if note in _WORDS.values()), "")


def orientation(frame: Any, path: Path) -> Orientation:
    """Of an `av.VideoFrame`, by its display matrix. Raises ClipError `rotation` where that is no quarter turn."""
    from av.sidedata.sidedata import Type

    side_data = frame.side_data
    if not len(side_data) or (matrix := side_data.get(Type.DISPLAYMATRIX)) is None:
        return Orientation()
    # Nine native 32-bit numbers (libavutil/display.h): the point (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d, *_ = np.frombuffer(matrix, dtype=np.int32).tolist()
    if a and d and not b and not c:
        return Orientation(across=a < 0, down=d < 0)
    if b and c and not a and not d:
        return Orientation(exchanged=True, across=c < 0, down=b < 0)
    raise ClipError("rotation", f"{path}: is to be shown turned by no quarter of a turn; re-encode it upright")
