"""PSNR, correct and as the paper's numbers were computed (docs/spec/image-quality.md#psnr)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import AdditiveMetric, Column, Frames, Pair
from syncdiff_bench.errors import UsageError
from syncdiff_metrics.regions import Region, cut_pair

Arithmetic = Literal["float", "talklip"]
PEAK = 255.0
TALKLIP_IDENTICAL = 100.0  # dB that TalkLip's script gives where its error is 0


@dataclass(frozen=True)
class PSNROptions:
    """Options of `psnr`.

    region: `face96` (face box at 96 x 96), `mouth` (its lower half) or `full` (the frame); `own-face96`, `own-mouth` of
        videos of another crop than their references, each by boxes of its own (`score --align faces`).
    protocol: `float` is PSNR; `talklip` is what TalkLip's script computes in wrapping 8-bit arithmetic on
        `face96`, the only one to compare with the paper's PSNR column.
    """

    region: Region = "face96"
    protocol: Arithmetic = "float"

    def __post_init__(self) -> None:
        if self.protocol == "talklip" and self.region not in ("face96", "own-face96"):
            raise UsageError(f"psnr: protocol talklip is defined on region face96; leave region={self.region} out")


@dataclass(frozen=True)
class PSNRStats:
    """One clip.

    total_db: sum of the PSNR of `frames` frames. identical: frames that equal their reference; `float` leaves
    them out of the sum, because they have no PSNR, `talklip` counts them as 100 dB.
    """

    total_db: float
    frames: int
    identical: int


class PSNR(AdditiveMetric[PSNRStats]):
    """Mean over all frames of all clips of 10 log10(255^2 / mean squared error)."""

    name = "psnr"
    title = "Peak signal-to-noise ratio"
    source = "TalkLip, evaluation/visual_quality.py; `talklip` with its 8-bit wrap-around, else in float64"
    columns = (Column("psnr", "PSNR", "up", "dB", 2, (0.0, None)),)
    Options = PSNROptions
    Stats = PSNRStats
    options: PSNROptions

    @property
    def protocol(self) -> str:
        if self.options.protocol == "float":
            return self.options.region
        return "talklip" if self.options.region == "face96" else f"talklip-{self.options.region}"

    def measure(self, pair: Pair) -> PSNRStats:
        """Sum over the frames of a pair. Raises ClipError `size`, `boxes`."""
        generated, reference = cut_pair(pair, self.options.region)
        identical = int(np.sum(np.all(generated == reference, axis=(1, 2, 3))))
        if self.options.protocol == "talklip":
            values = psnr_of_wrapped_bytes(generated, reference)
        else:
            values = psnr_per_frame(generated, reference)
            values = values[np.isfinite(values)]
        return PSNRStats(float(values.sum()), len(values), identical)

    def left_out(self, stats: PSNRStats) -> int:
        return 0 if self.options.protocol == "talklip" else stats.identical

    def with_left_out(self, stats: PSNRStats) -> PSNRStats:
        """At the 100 dB that TalkLip's script gives an identical frame."""
        lost = self.left_out(stats)
        return PSNRStats(stats.total_db + TALKLIP_IDENTICAL * lost, stats.frames + lost, stats.identical)

    def summands(self, stats: PSNRStats) -> tuple[float, ...]:
        return stats.total_db, stats.frames, stats.identical

    def of_sums(self, *sums: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        """Undefined where every frame equals its reference: ground truth has no PSNR (the script prints 100)."""
        total_db, frames, identical = sums
        scored = frames - identical if self.options.protocol == "talklip" else frames
        return {"psnr": np.where(scored, total_db / frames, np.nan)}


def psnr_per_frame(a: Frames, b: Frames) -> NDArray[np.float64]:
    """(T,) dB in float64 of frames (T, H, W, 3) uint8; infinite where two frames are equal.

    >>> black = np.zeros((1, 2, 2, 3), np.uint8)
    >>> round(float(psnr_per_frame(black, black + 255)[0]), 2)
    0.0
    """
    # Whole numbers: the sum is exact, as in float64, and twice as fast.
    mse = np.array([np.mean(np.square(np.subtract(x, y, dtype=np.int32))) for x, y in zip(a, b, strict=True)])
    with np.errstate(divide="ignore"):
        return np.asarray(20 * np.log10(PEAK / np.sqrt(mse)), dtype=np.float64)


def psnr_of_wrapped_bytes(a: Frames, b: Frames) -> NDArray[np.float64]:
    """(T,) dB as TalkLip computes them, for frames (T, H, W, 3) uint8; 100 where its error is 0.

    The script subtracts and squares uint8 arrays, so both wrap modulo 256: an error of 16 grey levels counts
    as 0, one of 20 as 144, and strong errors converge to 27.9 dB. The paper's PSNR column has no other
    explanation (docs/spec/image-quality.md#psnr), so comparing with it needs the same arithmetic.
    """
    errors = np.array([np.mean((x - y) ** 2) for x, y in zip(a, b, strict=True)])
    values = np.full(len(errors), TALKLIP_IDENTICAL)
    wrong = errors > 0
    values[wrong] = 20 * np.log10(PEAK / np.sqrt(errors[wrong]))
    return values
