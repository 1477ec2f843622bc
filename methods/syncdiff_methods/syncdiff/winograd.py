"""3 x 3 convolutions by Winograd's F(2 x 2, 3 x 3): 16 multiplications where the plain sum takes 36.

Lavin & Gray 2016, "Fast algorithms for convolutional neural networks"; PyTorch's CPU kernels do without. Of the layers
at the paper's size it pays for those with many channels on maps that are not tiny (`pays`). Sums of transformed values
round otherwise than plain ones, by about 1e-6 of a map's spread.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Kernel, rows: the points 0, 1, -1 and infinity.
KERNEL = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
FEWEST_PAIRS = 768 * 256  # of input and output channels: the transforms cost for each, the products for each pair
SMALLEST_MAP = 256  # pixels


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
