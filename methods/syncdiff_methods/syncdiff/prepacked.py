"""Convolutions and linear layers with weights prepacked for a CPU, and 3 x 3 convolutions by Winograd's algorithm.

Weights are laid out once as the CPU's library (oneDNN) reads them, instead of at every call. It saves the rearranging,
and it makes a clip's values, to the last bit, independent of its batch mates and of the number of threads: plain layers
add up in another order then, and one such bit can flip an entry of the codebook.

oneDNN's operators are private to PyTorch, so they are tried on a tiny example first; where a newer PyTorch lacks one,
or one computes something else, the plain layers stay.

Winograd's F(2 x 2, 3 x 3) takes 16 multiplications where the plain sum takes 36 (Lavin & Gray 2016, "Fast algorithms
for convolutional neural networks"); PyTorch's CPU kernels do without. Of the layers at the paper's size it pays for
those with many channels on maps that are not tiny (`pays`). Sums of transformed values round otherwise than plain ones,
by about 1e-6 of a map's spread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

logger = logging.getLogger(__name__)

# Pixels from which PyTorch's group norm of channels-last maps may share them out (2048 in torch 2.13).
SHARED_FROM = 1024
# Winograd's kernel, rows: the points 0, 1, -1 and infinity.
KERNEL = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
FEWEST_PAIRS = 768 * 256  # of input and output channels: the transforms cost for each, the products for each pair
SMALLEST_MAP = 256  # pixels


def can_prepack(device: torch.device) -> bool:
    """Whether this PyTorch has oneDNN's operators for the device, and they compute what they should."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return device.type == "cpu" and there and _operators_work()


@cache
def _operators_work() -> bool:
    """A small convolution and a small linear layer against the plain ones; logs where they differ."""
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode():
            torch.manual_seed(0)
            convolution, images = nn.Conv2d(4, 8, 3, stride=2, padding=1), torch.randn(2, 4, 6, 6)
            torch.testing.assert_close(PrepackedConv2d(convolution)(images), convolution(images), rtol=1e-4, atol=1e-5)
            linear, rows = nn.Linear(4, 8), torch.randn(5, 4)
            torch.testing.assert_close(PrepackedLinear(linear)(rows), linear(rows), rtol=1e-4, atol=1e-5)
    except Exception as error:  # private operators may be gone, take other arguments or compute something else
        logger.warning(
            "oneDNN's operators of PyTorch %s are not those known here (%s); plain layers are used, which are slower,"
            " and a clip's last bits may depend on its batch",
            torch.__version__,
            str(error).partition("\n")[0],
        )
        return False
    return True


def prepack(network: nn.Module) -> None:
    """Replace the layers of a float32 network on the CPU, in place; for inference only.

    The state dict lacks convolutions and linear layers afterwards, and the network can move to no other device.
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and child.padding_mode == "zeros" and not isinstance(child.padding, str):
                setattr(parent, name, PrepackedConv2d(child))
            elif isinstance(child, nn.Linear):
                setattr(parent, name, PrepackedLinear(child))
            elif isinstance(child, nn.GroupNorm):
                child.__class__ = SteadyGroupNorm


class PrepackedConv2d(nn.Module):
    """(B, in, H, W) float32 -> (B, out, H', W'), as the convolution it was made of.

    The first input's H and W choose the layout: without them oneDNN may choose one that is many times slower. They also
    decide whether the layer is computed by Winograd's algorithm.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.kernel_size = conv.in_channels, conv.out_channels, conv.kernel_size
        self._arguments = (
            list(cast(tuple[int, ...], conv.padding)),
            list(conv.stride),
            list(conv.dilation),
            conv.groups,
        )
        self._plain = [conv]  # until the first input; in a list it is no submodule
        self._compute: Callable[[Tensor], Tensor]

    def forward(self, inputs: Tensor) -> Tensor:
        if self._plain:
            conv, (height, width) = self._plain.pop(), inputs.shape[2:]
            wins = pays(conv, height, width)
            self._compute = WinogradConv2d(conv) if wins else self._reordered(conv, height, width)
        return self._compute(inputs)

    def _reordered(self, conv: nn.Conv2d, height: int, width: int) -> Callable[[Tensor], Tensor]:
        bias = None if conv.bias is None else conv.bias.detach()
        one = [1, self.in_channels, height, width]  # whatever the first batch is, the layout is the same
        weight = _ops()._reorder_convolution_weight(conv.weight.detach(), *self._arguments, one)

        def compute(inputs: Tensor) -> Tensor:
            made = _ops()._convolution_pointwise(inputs, weight, bias, *self._arguments, "none", [], "")
            return cast(Tensor, made)

        return compute


class PrepackedLinear(nn.Module):
    """(..., in) float32 -> (..., out), as the linear layer it was made of."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._weight = _ops()._reorder_linear_weight(linear.weight.detach(), None)
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, inputs: Tensor) -> Tensor:
        return cast(Tensor, _ops()._linear_pointwise(inputs, self._weight, self._bias, "none", [], ""))


class SteadyGroupNorm(nn.GroupNorm):
    """GroupNorm that is bit-identical for any batch size and thread count.

    Over large channels-last maps PyTorch shares out the pixels of the whole batch to its threads and adds up their
    parts. Here the sums of a channel are one thread's; as fast as going sample by sample, and no less exact.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.dim() != 4 or inputs.shape[2] * inputs.shape[3] < SHARED_FROM:  # attention's are (B, C, H W)
            return super().forward(inputs)
        batch, channels, height, width = inputs.shape
        pixels = inputs.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
        grouped = (batch, self.num_groups, channels // self.num_groups)
        mean = pixels.mean(dim=1).view(grouped).mean(dim=2, keepdim=True)
        squares = torch.linalg.vector_norm(pixels, dim=1).square().view(grouped).mean(dim=2, keepdim=True)
        variance = (squares / (height * width) - mean.square()).clamp(min=0)
        scale = self.weight.view(grouped[1:]) * torch.rsqrt(variance + self.eps)
        shift = self.bias.view(grouped[1:]) - mean * scale
        return torch.addcmul(shift.reshape(batch, channels, 1, 1), inputs, scale.reshape(batch, channels, 1, 1))


def _ops() -> Any:
    return torch.ops.mkldnn


def pays(conv: nn.Conv2d, height: int, width: int) -> bool:
    """Whether a layer can be computed so, and is faster then."""
    plain = conv.kernel_size == (3, 3) and conv.stride == conv.padding == conv.dilation == (1, 1)
    wide = conv.groups == 1 and conv.in_channels * conv.out_channels >= FEWEST_PAIRS
    return plain and wide and height * width >= SMALLEST_MAP and height % 2 == width % 2 == 0


class WinogradConv2d:
    """(B, in, H, W) float32, H and W even -> (B, out, H, W), channels last; as the convolution it was made of."""

    def __init__(self, conv: nn.Conv2d) -> None:
        points = torch.tensor(KERNEL, dtype=torch.float64)
        kernel = conv.weight.detach().double()
        transformed = torch.einsum("yi,ocij,xj->yxco", points, kernel, points)
        self._kernel = transformed.flatten(0, 1).to(conv.weight.dtype).contiguous()  # (16, in, out)
        self._bias = None if conv.bias is None else conv.bias.detach()

    def __call__(self, inputs: Tensor) -> Tensor:
        # One image after the other: what a matrix product rounds may hang on the number of its rows.
        made = torch.stack([self._one(image) for image in inputs.permute(0, 2, 3, 1)])
        if self._bias is not None:
            made += self._bias
        return made.permute(0, 3, 1, 2)

    def _one(self, image: Tensor) -> Tensor:
        """(H, W, in) -> (H, W, out)."""
        height, width, channels = image.shape
        rows, columns = height // 2, width // 2
        padded = F.pad(image, (0, 0, 1, 1, 1, 1))
        down = _points([padded[i : i + 2 * rows - 1 : 2] for i in range(4)])
        across = _points([down[:, :, j : j + 2 * columns - 1 : 2] for j in range(4)], dim=1)
        products = torch.bmm(across.view(16, rows * columns, channels), self._kernel)
        points = products.view(4, 4, rows, columns, -1)
        made = image.new_empty(rows, 2, columns, 2, points.shape[-1])
        for j, column in enumerate(_outputs(points.unbind(dim=1))):
            for i, pixel in enumerate(_outputs(column.unbind(dim=0))):
                made[:, i, :, j] = pixel
        return made.view(height, width, -1)


def _points(four: list[Tensor], dim: int = 0) -> Tensor:
    """Four neighbouring inputs to their values at the four points, stacked along a new dimension."""
    a, b, c, d = four
    made = a.new_empty((*a.shape[:dim], 4, *a.shape[dim:]))
    torch.sub(a, c, out=made.select(dim, 0))
    torch.add(b, c, out=made.select(dim, 1))
    torch.sub(c, b, out=made.select(dim, 2))
    torch.sub(b, d, out=made.select(dim, 3))
    return made


def _outputs(points: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Products at the four points to two neighbouring outputs."""
    a, b, c, d = points
    return a + b + c, b - c - d
