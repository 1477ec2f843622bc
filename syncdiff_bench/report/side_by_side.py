"""One picture of several columns, each with its label above: where everything stands, and the frames of a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.characters import one_line
from syncdiff_bench.contracts import Frames
from syncdiff_bench.errors import ClipError
from syncdiff_bench.report.lettering import lettering, lines_of

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Upscaling = Literal["lanczos", "nearest"]
Picture = NDArray[np.uint8]  # (h, w, 3) RGB

SMALL = 256  # a shorter side below it is enlarged
LARGEST = (4096, 2304)  # width and height of H.264 level 5.1, which players stop at
IN_A_ROW = 6  # columns
GAP = 4  # pixels between columns, and around text
SMALLEST_TEXT = 16
TEXT_OF_PICTURE = 18  # a picture is so many times as high as its label's letters
NOTHING = "no video"
GROUND, EMPTY = "white", "#d8d8d8"


@dataclass(frozen=True)
class Column:
    """size: width and height of its frames, None where there are none."""

    name: str
    size: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Sheet:
    """What a side-by-side video looks like.

    ground: (H, W, 3) uint8 RGB, H and W even: all that does not move.
    places: left, top, width and height of the frames of each column.
    """

    ground: Picture
    places: tuple[tuple[int, int, int, int], ...]
    upscaling: Upscaling

    def picture(self, frames: Sequence[Picture | None]) -> Picture:
        """One frame of each column (h, w, 3) uint8 RGB, None for a column without, in its place."""
        shown = self.ground.copy()
        for (left, top, width, height), frame in zip(self.places, frames, strict=True):
            if frame is not None:
                shown[top : top + height, left : left + width] = resized(frame, (width, height), self.upscaling)
        return shown


def enlargement(size: tuple[int, int]) -> int:
    """The whole number that makes the shorter side of a small picture SMALL pixels or more.

    >>> enlargement((160, 160)), enlargement((224, 224)), enlargement((1920, 1080))
    (2, 2, 1)
    """
    return max(1, -(-SMALL // min(size)))


def resized(frame: Picture, size: tuple[int, int], upscaling: Upscaling) -> Picture:
    """frame: (h, w, 3) uint8 RGB. size: width and height; a smaller one is filtered by Lanczos in any case."""
    from PIL import Image

    height, width = frame.shape[:2]
    if (width, height) == size:
        return frame
    nearest = upscaling == "nearest" and size[0] >= width and size[1] >= height
    how = Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(frame).resize(size, how))


def scaled(frames: Frames, factor: int, upscaling: Upscaling) -> Iterator[Picture]:
    """frames: (T, h, w, 3) uint8 RGB; yields them `factor` times as large."""
    height, width = frames.shape[1:3]
    return (resized(frame, (factor * width, factor * height), upscaling) for frame in frames)


def arranged(columns: Sequence[Column], *, scale: int | None, upscaling: Upscaling, below: str = "") -> Sheet:
    """The sheet of columns, at least one of which has frames.

    Frames keep their shape and are brought to the height of the first column's that has some, `scale` times as large;
    None for `enlargement`, or smaller where the sheet would be larger than players show. Up to IN_A_ROW stand in a row.
    below: a text under all of it. Raises ClipError `size` where `scale` makes it too large.
    """
    model = next(column.size for column in columns if column.size is not None)
    known = tuple(column.size or model for column in columns)
    for factor in _factors(model) if scale is None else (Fraction(scale),):
        sheet = _Arrangement(columns, known, factor, one_line(below))
        if sheet.width <= LARGEST[0] and sheet.height <= LARGEST[1]:
            return Sheet(sheet.drawn(), sheet.places(), upscaling)
    least = "x".join(map(str, (sheet.width, sheet.height)))
    raise ClipError("size", f"side by side it is {least} pixels, more than players show; give a smaller --scale")


def _factors(model: tuple[int, int]) -> Iterator[Fraction]:
    largest = enlargement(model)
    yield from (Fraction(factor) for factor in range(largest, 0, -1))
    yield from (Fraction(1, part) for part in range(2, 33))


class _Arrangement:
    """Columns with frames of `sizes`, `factor` times as large as the first one's."""

    def __init__(
        self, columns: Sequence[Column], sizes: Sequence[tuple[int, int]], factor: Fraction, below: str
    ) -> None:
        first = next(size for column, size in zip(columns, sizes, strict=True) if column.size is not None)
        self.columns = columns
        self.pictures = max(1, round(first[1] * factor))  # their height
        self.widths = [max(1, round(width * self.pictures / height)) for width, height in sizes]
        self.pitch = max(self.widths) + GAP
        fitting = max(1, min(IN_A_ROW, (LARGEST[0] + GAP) // self.pitch))
        self.rows = -(-len(columns) // fitting)
        self.in_a_row = -(-len(columns) // self.rows)
        self.text = max(SMALLEST_TEXT, self.pictures // TEXT_OF_PICTURE)
        self.line = round(1.3 * self.text)
        self.width = _even(self.in_a_row * self.pitch - GAP)
        labels = [lettering(one_line(column.name), self.text) for column in columns]
        self.labels = [(lines_of(text, font, self.pitch - 2 * GAP), font) for text, font in labels]
        self.label = max(len(lines) for lines, _ in self.labels) * self.line + 2 * GAP  # the height of all
        text, self.font_below = lettering(below, self.text)
        self.below = lines_of(text, self.font_below, self.width - 2 * GAP)
        self.row = self.label + self.pictures
        self.height = _even(self.rows * self.row + (len(self.below) * self.line + 2 * GAP if self.below else 0))

    def places(self) -> tuple[tuple[int, int, int, int], ...]:
        """Each in the middle of its column."""
        return tuple(
            (
                index % self.in_a_row * self.pitch + (self.pitch - GAP - width) // 2,
                index // self.in_a_row * self.row + self.label,
                width,
                self.pictures,
            )
            for index, width in enumerate(self.widths)
        )

    def drawn(self) -> Picture:
        from PIL import Image, ImageDraw

        picture = Image.new("RGB", (self.width, self.height), GROUND)
        draw = ImageDraw.Draw(picture)
        for column, (lines, font), (left, top, width, height) in zip(
            self.columns, self.labels, self.places(), strict=True
        ):
            middle = left + width / 2
            self._write(draw, lines, font, middle, top - GAP - len(lines) * self.line)
            if column.size is None:
                draw.rectangle((left, top, left + width - 1, top + height - 1), fill=EMPTY)
                text, own = lettering(NOTHING, self.text)
                draw.text((middle, top + height / 2), text, fill="black", font=own, anchor="mm")
        self._write(draw, self.below, self.font_below, self.width / 2, self.rows * self.row + GAP)
        return np.asarray(picture)

    def _write(self, draw: ImageDraw, lines: Sequence[str], font: object, middle: float, top: float) -> None:
        for number, line in enumerate(lines):
            where = (middle, top + (number + 0.5) * self.line)
            draw.text(where, line, fill="black", font=font, anchor="mm")  # type: ignore[arg-type]


def _even(side: int) -> int:
    return side + side % 2
