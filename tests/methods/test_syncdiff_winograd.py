"""Winograd's convolution against the plain one, in double precision; where it is used; the same bits in any batch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from syncdiff_methods.syncdiff.packing import PackedConv2d, can_pack
from syncdiff_methods.syncdiff.winograd import WinogradConv2d, pays


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 10), (16, 16)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_convolution(height: int, width: int, bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 7, 3, padding=1, bias=bias).double()
    inputs = torch.randn(3, 5, height, width, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(WinogradConv2d(conv)(inputs), conv(inputs), rtol=1e-12, atol=1e-12)


def test_float32_rounds_about_as_much_as_the_plain_sum() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(512, 384, 3, padding=1)
    inputs = torch.randn(1, 512, 16, 16)
    with torch.inference_mode():
        exact = conv.double()(inputs.double())
        conv.float()
        errors = [float((made - exact).abs().max()) for made in (conv(inputs), WinogradConv2d(conv)(inputs))]
    assert errors[1] < 1e-5
    assert errors[1] < 10 * errors[0]


@pytest.mark.parametrize(
    ("conv", "side", "expected"),
    [
        (nn.Conv2d(768, 256, 3, padding=1, device="meta"), 64, True),
        (nn.Conv2d(512, 512, 3, padding=1, device="meta"), 16, True),
        (nn.Conv2d(1024, 1024, 3, padding=1, device="meta"), 8, False),  # a map of 64 pixels
        (nn.Conv2d(256, 256, 3, padding=1, device="meta"), 64, False),  # few channels
        (nn.Conv2d(512, 512, 3, padding=1, device="meta"), 17, False),  # an odd side
        (nn.Conv2d(512, 512, 3, padding=1, stride=2, device="meta"), 64, False),
        (nn.Conv2d(512, 512, 1, device="meta"), 64, False),
        (nn.Conv2d(512, 512, 3, padding=1, groups=2, device="meta"), 64, False),
        (nn.Conv2d(96, 96, 3, padding=1, device="meta"), 24, False),  # pocket's widest
    ],
)
def test_where_it_pays(conv: nn.Conv2d, side: int, expected: bool) -> None:
    assert pays(conv, side, side) is expected


@pytest.mark.skipif(not can_pack(torch.device("cpu")), reason="no packed kernels in this build")
def test_a_packed_layer_that_uses_it_gives_the_same_bits_in_any_batch_on_any_number_of_threads() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(512, 384, 3, padding=1)
    inputs = torch.randn(3, 512, 16, 16).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected, packed = conv(inputs), PackedConv2d(conv)
        made = packed(inputs)
        assert isinstance(packed._compute, WinogradConv2d)
        torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            for i in range(3):
                torch.testing.assert_close(packed(inputs[i : i + 1])[0], made[i], rtol=0, atol=0)
