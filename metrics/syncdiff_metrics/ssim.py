"""Structural similarity with the parameters of the field's scripts (docs/spec/image-quality.md#ssim)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import AdditiveMetric, Column, Frames, Pair
from syncdiff_bench.errors import ClipError
from syncdiff_metrics.regions import FrameSum, Region, cut_pair

WINDOW = 11  # pixels: sigma 1.5 cut at 3.5 sigma


@dataclass(frozen=True)
class SSIMOptions:
    """Options of `ssim`.

    region: `face96` (face box at 96 x 96), `mouth` (its lower half) or `full` (the frame); `own-face96`, `own-mouth` of
        videos of another crop than their references, each by boxes of its own (`score --align faces`).
    """

    region: Region = "face96"


class SSIM(AdditiveMetric[FrameSum]):
    """Mean over all frames of all clips of the SSIM of Wang et al. 2004."""

    name = "ssim"
    title = "Structural similarity"
    source = "TalkLip, evaluation/visual_quality.py (scikit-image, Gaussian window of sigma 1.5)"
    columns = (Column("ssim", "SSIM", "up", "", 3, (-1, 1)),)
    Options = SSIMOptions
    Stats = FrameSum
    options: SSIMOptions

    @property
    def protocol(self) -> str:
        return self.options.region

    def measure(self, pair: Pair) -> FrameSum:
        """Sum over the frames of a pair. Raises ClipError `size`, `boxes`."""
        generated, reference = cut_pair(pair, self.options.region)
        if min(generated.shape[1:3]) < WINDOW:
            height, width = generated.shape[1:3]
            raise ClipError("size", f"{pair.generated.id}: {width}x{height} is smaller than SSIM's 11x11 window")
        values = ssim_per_frame(reference, generated)
        return FrameSum(float(values.sum()), len(values))

    def summands(self, stats: FrameSum) -> tuple[float, ...]:
        return stats.total, stats.frames

    def of_sums(self, *sums: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        total, frames = sums
        return {"ssim": total / frames}


def ssim_per_frame(a: Frames, b: Frames) -> NDArray[np.float64]:
    """(T,) mean SSIM over pixels and channels in float64, of frames (T, H, W, 3) uint8."""
    return np.array([_ssim(x, y) for x, y in zip(a, b, strict=True)], dtype=np.float64)


def _ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Of two images (H, W, 3).

    The channels lie one below the other in one image, in a third of the calls that `channel_axis` makes: where the
    window reaches into another channel, scikit-image leaves the value out.
    """
    from skimage.metrics import structural_similarity

    height, width, channels = a.shape
    _, every = structural_similarity(
        *(image.transpose(2, 0, 1).reshape(-1, width) for image in (a, b)),
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    edge = WINDOW // 2
    whole = every.reshape(channels, height, width)[:, edge : height - edge, edge : width - edge]
    return float(np.mean([channel.mean() for channel in whole]))
