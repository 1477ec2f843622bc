"""Start an autoencoder as one that already works: 4 x 4 average pooling, and smooth enlargement back.

A VQ autoencoder learns absolute colours slowly, because each group norm takes them away. Here every residual block
starts as the identity, and the colours travel past the norms in channels that keep a norm's mean and scale constant:

    channels 0-2   red, green, blue            channels 3-5   their negatives (the mean stays 0)
    channels 6, 7  +LEVEL and -LEVEL (the scale stays LEVEL sqrt(2 / channels))

SiLU(x) - SiLU(-x) = x takes the colours through the last nonlinearity. The other channels start as usual, and training
turns the pooling into a code for what pooling loses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    from diffusers import VQModel

LEVEL = 8.0
RESERVED = 8  # channels of the table above
POOLING = torch.tensor([[0.25, 0.25, 0.0], [0.25, 0.25, 0.0], [0.0, 0.0, 0.0]])  # VQModel pads right and below
SMOOTHING = torch.outer(torch.tensor([0.25, 0.5, 0.25]), torch.tensor([0.25, 0.5, 0.25]))
IDENTITY = torch.ones(1, 1)


@torch.no_grad()
def start_as_average_pooling(vq: VQModel) -> None:
    """Overwrite the fresh weights of a VQModel in place.

    Raises `UsageError` where a norm has several groups (the reserved channels must share one) or a level has fewer
    than eight channels.
    """
    if vq.config.norm_num_groups != 1 or min(vq.config.block_out_channels) < RESERVED:
        raise UsageError("start = 'average-pooling' needs norm_groups = 1 and at least 8 channels per level")
    for name, module in vq.named_modules():
        if name.endswith("conv2"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
        elif name.endswith("conv_shortcut"):
            _filter_each_channel(module, IDENTITY)
        elif name.endswith("downsamplers.0.conv"):
            _filter_each_channel(module, POOLING)
        elif name.endswith("upsamplers.0.conv"):
            _filter_each_channel(module, SMOOTHING)
    _filter_each_channel(vq.quant_conv, IDENTITY)
    _filter_each_channel(vq.post_quant_conv, IDENTITY)
    for part in (vq.encoder, vq.decoder):
        _spread(part.conv_in)
        _gather(part.conv_norm_out, part.conv_out)


def _filter_each_channel(conv: nn.Module, kernel: Tensor) -> None:
    """Channel c of the output is channel c of the input under `kernel`."""
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    for channel in range(min(conv.in_channels, conv.out_channels)):
        conv.weight[channel, channel] = kernel


def _spread(conv: nn.Conv2d) -> None:
    """Three channels into the eight reserved ones."""
    assert conv.bias is not None
    conv.weight[:RESERVED] = 0
    conv.bias[:RESERVED] = 0
    for channel in range(3):
        _centre(conv, channel, channel, 1.0)
        _centre(conv, channel + 3, channel, -1.0)
    conv.bias[6], conv.bias[7] = LEVEL, -LEVEL


def _gather(norm: nn.GroupNorm, conv: nn.Conv2d) -> None:
    """The eight reserved channels back into three."""
    assert conv.bias is not None
    norm.weight.fill_(LEVEL * (2 / norm.num_channels) ** 0.5)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    for channel in range(3):
        _centre(conv, channel, channel, 1.0)
        _centre(conv, channel, channel + 3, -1.0)


def _centre(conv: nn.Conv2d, output: int, source: int, value: float) -> None:
    rows, columns = conv.kernel_size
    conv.weight[output, source, rows // 2, columns // 2] = value
