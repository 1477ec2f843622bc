"""Several pictures side by side, each with its name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import Frames

WIDEST = 3840  # pixels of the whole; beyond, few players go
SHADE = 0.55  # of black behind a name


class Columns:
    """Pictures (H, W, 3) of one size in a row; reduced where they would be wider than WIDEST together.

    names: of the columns, drawn at their top left.
    """

    def __init__(self, names: Sequence[str], width: int, height: int) -> None:
        self.names, self.given = tuple(names), (width, height)
        scale = min(1.0, WIDEST / (len(self.names) * width))
        self.column = (width, height) if scale == 1 else (int(width * scale), int(height * scale))

    @property
    def width(self) -> int:
        return self.column[0] * len(self.names)

    @property
    def height(self) -> int:
        return self.column[1]

    def drawn(self, pictures: Sequence[Frames]) -> Frames:
        """(height, width, 3) uint8."""
        from PIL import Image

        shown = list(pictures)
        if self.column != self.given:
            shown = [np.asarray(Image.fromarray(one).resize(self.column, Image.Resampling.BICUBIC)) for one in shown]
        row = np.concatenate(shown, axis=1)
        for index, (shade, ink) in enumerate(self._labels):
            x, (h, w) = index * self.column[0], ink.shape
            there = row[:h, x : x + w]
            there[:] = (there * shade[..., None] + 255 * ink[..., None]).astype(np.uint8)
        return row

    @cached_property
    def _labels(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Of each column how much of the picture is left below its name, and how white the name is, (h, w) in 0..1."""
        from PIL import Image, ImageDraw, ImageFont

        size = max(11, self.height // 22)
        font = ImageFont.load_default(size=size)
        labels: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        for name in self.names:
            w = min(self.column[0], math.ceil(font.getlength(name)) + size)
            h = min(self.height, round(1.7 * size))
            image = Image.new("L", (w, h), 0)
            ImageDraw.Draw(image).text((size / 2, h / 2), name, fill=255, font=font, anchor="lm")
            ink = np.asarray(image, np.float32) / np.float32(255)
            labels.append(((np.float32(1 - SHADE) * (1 - ink)).astype(np.float32), ink))
        return labels
