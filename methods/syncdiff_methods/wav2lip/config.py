"""Size of Wav2Lip's networks, and how faces are cut for them."""

from __future__ import annotations

from dataclasses import dataclass

from syncdiff_bench.errors import UsageError

FACE_SIZE = 96


@dataclass(frozen=True)
class BoxConfig:
    """From detected boxes to crops (docs/spec/wav2lip.md#boxes); the defaults are those of the official `inference.py`.

    pads: pixels added to each box at its top, bottom, left and right, cut at the border of the frame.
    smooth: mean over 5 boxes in a row.
    """

    pads: tuple[int, int, int, int] = (0, 10, 0, 0)
    smooth: bool = True


@dataclass(frozen=True)
class Wav2LipConfig:
    """width: factor on every channel count; 1 is the published network (36,298,035 parameters)."""

    width: float = 1.0

    def __post_init__(self) -> None:
        if self.width <= 0:
            raise UsageError(f"wav2lip: width is {self.width}; give a factor above 0, 1 for the published size")

    def channels(self, published: int) -> int:
        """The channel count that stands for `published` of the original network."""
        return max(1, round(published * self.width))
