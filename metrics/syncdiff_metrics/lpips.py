"""Learned perceptual image patch similarity (docs/spec/image-quality.md#lpips)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import FRAMES_TOGETHER, AdditiveMetric, Column, Frames, Pair, WeightsUsed, attempt
from syncdiff_bench.errors import ClipError
from syncdiff_bench.weights.finding import locate_weights
from syncdiff_metrics.regions import FrameSum, Region, cut_pair

if TYPE_CHECKING:
    from torch import Tensor

    from syncdiff_bench.networks.lpips import LPIPSNetwork

Net = Literal["alex", "vgg"]
Frame = NDArray[np.uint8]  # (H, W, 3)
BATCH_PIXELS = 1 << 18  # of one video: 28 faces of 96 x 96; the largest VGG feature map then takes 64 MiB


@dataclass(frozen=True)
class LPIPSOptions:
    """Options of `lpips`.

    net: `alex`, the authors' choice for evaluation, or `vgg`.
    region: `face96` (face box at 96 x 96), `mouth` (its lower half) or `full` (the frame); `own-face96`, `own-mouth` of
        videos of another crop than their references, each by boxes of its own (`score --align faces`).
    """

    net: Net = "alex"
    region: Region = "face96"


class LPIPS(AdditiveMetric[FrameSum]):
    """Mean over all frames of all clips of the LPIPS v0.1 distance, in float32."""

    name = "lpips"
    title = "Learned perceptual image patch similarity"
    source = "Zhang et al. 2018, version 0.1 (lpips 0.1.4); the paper states neither network nor region"
    columns = (Column("lpips", "LPIPS", "down", "", 3, (0, None)),)
    Options = LPIPSOptions
    Stats = FrameSum
    options: LPIPSOptions

    @property
    def protocol(self) -> str:
        return f"{self.options.net}-{self.options.region}"

    def prepare(self) -> None:
        """Load the network, fetching its weights on first use. Raises WeightsError."""
        _ = self._network

    @property
    def batch_frames(self) -> int:
        # the frames of a clip alone keep a CPU as busy as those of several
        return 0 if self.runtime.device == "cpu" else FRAMES_TOGETHER

    def measure(self, pair: Pair) -> FrameSum:
        """Sum over the frames of a pair. Raises ClipError `size`, `boxes`."""
        return self._summed([self._cut(pair)])[0]

    def measure_many(self, pairs: Sequence[Pair]) -> Sequence[FrameSum | Exception]:
        """The frames of several pairs fill the batches of the network together."""
        cut = [attempt(self._cut, pair) for pair in pairs]
        stats = iter(self._summed([regions for regions in cut if not isinstance(regions, Exception)]))
        return [regions if isinstance(regions, Exception) else next(stats) for regions in cut]

    def _cut(self, pair: Pair) -> tuple[Frames, Frames]:
        from syncdiff_bench.networks.lpips import MIN_SIDE

        generated, reference = cut_pair(pair, self.options.region)
        height, width = generated.shape[1:3]
        smallest = MIN_SIDE[self.options.net]
        if min(height, width) < smallest:
            raise ClipError(
                "size",
                f"{pair.generated.id}: {width}x{height} is below the {smallest} pixels that lpips "
                f"with {self.options.net} needs",
            )
        return generated, reference

    def _summed(self, pairs: Sequence[tuple[Frames, Frames]]) -> list[FrameSum]:
        """Pairs in a row of one size share batches."""
        stats: list[FrameSum] = []
        for _, same_size in groupby(pairs, key=lambda pair: pair[0].shape[1:]):
            group = list(same_size)
            ours, theirs = ([frame for pair in group for frame in pair[side]] for side in range(2))
            values = self.distances(ours, theirs)
            ends = np.cumsum([len(generated) for generated, _ in group])[:-1]
            stats += [FrameSum(float(part.sum()), len(part)) for part in np.split(values, ends)]
        return stats

    def summands(self, stats: FrameSum) -> tuple[float, ...]:
        return stats.total, stats.frames

    def of_sums(self, *sums: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        total, frames = sums
        return {"lpips": total / frames}

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (self._weights[1],)

    def distances(self, a: Sequence[Frame], b: Sequence[Frame]) -> NDArray[np.float64]:
        """(T,) distances of frames (T, H, W, 3) uint8 RGB, a bounded number of pixels at a time."""
        import torch

        step = max(1, BATCH_PIXELS // (a[0].shape[0] * a[0].shape[1]))
        # TensorFloat-32 would make the score depend on the GPU in the third digit
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            parts = [
                self._network(self._to_tensor(a[i : i + step]), self._to_tensor(b[i : i + step])).cpu().numpy()
                for i in range(0, len(a), step)
            ]
        return np.concatenate(parts).astype(np.float64)

    def _to_tensor(self, frames: Sequence[Frame]) -> Tensor:
        """(N, 3, H, W) float32 in [-1, 1] on the device, of N frames (H, W, 3) uint8."""
        import torch

        stacked = torch.from_numpy(np.stack(list(frames))).to(self.runtime.device)
        return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1

    @cached_property
    def _weights(self) -> tuple[Path, WeightsUsed]:
        return locate_weights(f"lpips-{self.options.net}", self.runtime.weights, owner="lpips")

    @cached_property
    def _network(self) -> LPIPSNetwork:
        from syncdiff_bench.networks.lpips import load_lpips

        return load_lpips(self.options.net, self._weights[0]).to(self.runtime.device)
