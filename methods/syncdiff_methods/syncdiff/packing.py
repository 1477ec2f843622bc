"""Weights laid out once as the CPU's convolution library (oneDNN) reads them, instead of at every call.

It saves the rearranging, and it makes a clip's values, to the last bit, independent of its batch mates and of the
number of threads: plain layers add up in another order then, and one such bit can flip an entry of the codebook.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from syncdiff_methods.syncdiff.winograd import WinogradConv2d, pays

if TYPE_CHECKING:
    from torch._ops import OpOverloadPacket


# Pixels from which PyTorch's group norm of channels-last maps may share them out (2048 in torch 2.13).
SHARED_FROM = 1024


def can_pack(device: torch.device) -> bool:
    """Whether this build of PyTorch has oneDNN's packed kernels for the device."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return device.type == "cpu" and there and hasattr(_ops(), "_linear_pointwise")


def pack(network: nn.Module) -> None:
    """Replace the layers of a float32 network on the CPU, in place; for inference only.

    The state dict lacks convolutions and linear layers afterwards, and the network can move to no other device.
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and child.padding_mode == "zeros" and not isinstance(child.padding, str):
                setattr(parent, name, PackedConv2d(child))
            elif isinstance(child, nn.Linear):
                setattr(parent, name, PackedLinear(child))
            elif isinstance(child, nn.GroupNorm):
                child.__class__ = SteadyGroupNorm


class PackedConv2d(nn.Module):
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


class PackedLinear(nn.Module):
    """(..., in) float32 -> (..., out), as the linear layer it was made of."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._weight = _ops()._reorder_linear_weight(linear.weight.detach(), None)
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, inputs: Tensor) -> Tensor:
        return cast(Tensor, _ops()._linear_pointwise(inputs, self._weight, self._bias, "none", [], ""))


class SteadyGroupNorm(nn.GroupNorm):
    """Group norm whose result hangs on neither the batch nor the number of threads.

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


def _ops() -> OpOverloadPacket:
    return cast("OpOverloadPacket", torch.ops.mkldnn)
