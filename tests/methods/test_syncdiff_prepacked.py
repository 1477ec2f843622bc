"""Prepacked layers and Winograd's convolution against the plain ones; oneDNN's private operators, gone or changed."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from syncdiff_methods.syncdiff import prepacked
from syncdiff_methods.syncdiff.config import AutoencoderConfig
from syncdiff_methods.syncdiff.model import Autoencoder
from syncdiff_methods.syncdiff.prepacked import PrepackedConv2d, WinogradConv2d, can_prepack, pays, prepack

CPU = torch.device("cpu")
prepacks = pytest.mark.skipif(not can_prepack(CPU), reason="weights are prepacked for oneDNN")
OPERATORS = ("_reorder_convolution_weight", "_convolution_pointwise", "_reorder_linear_weight", "_linear_pointwise")


@prepacks
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(10, 64, 3, padding=1), (10, 24, 24)),
        (nn.Conv2d(16, 24, 3, stride=2), (16, 9, 9)),
        (nn.Conv2d(16, 24, 1, bias=False), (16, 8, 8)),
        (nn.Conv2d(16, 16, 3, dilation=2, groups=4), (16, 12, 12)),
        (nn.Linear(64, 100), (36, 64)),
        (nn.Linear(64, 100, bias=False), (64,)),
    ],
)
def test_a_packed_layer_is_the_layer_at_any_batch_size(layer: nn.Module, shape: tuple[int, ...]) -> None:
    inputs = torch.randn(12, *shape, generator=torch.Generator().manual_seed(0))
    network = nn.Sequential(layer)
    with torch.inference_mode():
        expected = network(inputs)
        prepack(network)
        assert list(network.state_dict()) == []
        together = network(inputs)
        torch.testing.assert_close(together, expected, atol=1e-5, rtol=1e-5)
        for n in (1, 2, 5):
            torch.testing.assert_close(network(inputs[:n]), together[:n], atol=0, rtol=0)


@prepacks
def test_a_string_of_padding_stays_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(2, 2, 3, padding="same"), nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"))
    prepack(network)
    assert [type(layer) for layer in network] == [nn.Conv2d, nn.Conv2d]


@prepacks
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_group_norm_over_a_large_map_is_the_plain_one(layout: torch.memory_format) -> None:
    rng = torch.Generator().manual_seed(0)
    norm = nn.GroupNorm(4, 8)
    nn.init.normal_(norm.weight, generator=rng)
    nn.init.normal_(norm.bias, generator=rng)
    inputs = (3 + torch.randn(3, 8, 40, 50, generator=rng)).to(memory_format=layout)
    network = nn.Sequential(norm)
    with torch.inference_mode():
        expected = torch.nn.functional.group_norm(
            inputs.double(), 4, norm.weight.double(), norm.bias.double(), norm.eps
        )
        prepack(network)
        made = network(inputs)
    torch.testing.assert_close(made.double(), expected, atol=1e-4, rtol=0)
    assert made.is_contiguous(memory_format=layout)


@prepacks
def test_a_packed_autoencoder_with_attention_is_the_plain_one() -> None:
    """CompVis' vq-f4 has attention in the middle, whose norm sees rows instead of maps."""
    torch.manual_seed(0)
    autoencoder = Autoencoder(AutoencoderConfig((8, 8, 8), 1, 16, 8, mid_attention=True)).eval()
    images = torch.rand(2, 3, 128, 128) * 2 - 1
    with torch.inference_mode():
        latents = autoencoder.encode(images)
        decoded = autoencoder.decode(latents, quantise=False)
        autoencoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        prepack(autoencoder)
        torch.testing.assert_close(autoencoder.encode(images), latents, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(autoencoder.decode(latents, quantise=False), decoded, atol=1e-4, rtol=1e-4)


# --------------------------------------------------------------------------------- private operators, probed


@pytest.fixture
def unprobed() -> Iterator[None]:
    prepacked._operators_work.cache_clear()
    yield
    prepacked._operators_work.cache_clear()


@pytest.fixture
def operators(unprobed: None, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """oneDNN's, to be broken."""
    found = SimpleNamespace(**{name: getattr(torch.ops.mkldnn, name, None) for name in OPERATORS})
    monkeypatch.setattr(prepacked, "_ops", lambda: found)
    return found


def another_order(inputs: Tensor, weight: Tensor, bias: Tensor, stride: Any, padding: Any, *rest: Any) -> Tensor:
    return torch.ops.mkldnn._convolution_pointwise(inputs, weight, bias, padding, stride, *rest)  # type: ignore[no-any-return]


def without_bias(rows: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, weight, None, *rest)  # type: ignore[no-any-return]


@prepacks
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("change", ["missing", "another signature"])
def test_without_an_operator_the_plain_layers_stay(
    name: str, change: str, operators: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    assert can_prepack(CPU)
    prepacked._operators_work.cache_clear()
    if change == "missing":
        delattr(operators, name)
    else:
        setattr(operators, name, lambda only: only)
    assert not can_prepack(CPU)
    assert not can_prepack(CPU)
    (warning,) = caplog.messages
    assert "plain layers are used" in warning and torch.__version__ in warning


@prepacks
@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("_linear_pointwise", lambda rows, *_: rows.new_zeros(len(rows), 8)),
        (
            "_linear_pointwise",
            lambda rows, weight, bias, *_: torch.ops.mkldnn._linear_pointwise(rows, weight, None, *_),
        ),
        ("_convolution_pointwise", another_order),
        ("_convolution_pointwise", lambda *given: 1.01 * torch.ops.mkldnn._convolution_pointwise(*given)),
    ],
)
def test_an_operator_that_computes_something_else_is_not_used(
    name: str, operator: Any, operators: SimpleNamespace
) -> None:
    setattr(operators, name, operator)
    assert not can_prepack(CPU)


@pytest.mark.usefixtures("unprobed")
def test_the_probe_leaves_random_numbers_as_they_were() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    can_prepack(CPU)
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------------------------------------- Winograd


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


@prepacks
@pytest.mark.usefixtures("threads")
def test_a_packed_layer_that_uses_it_gives_the_same_bits_in_any_batch_on_any_number_of_threads() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(512, 384, 3, padding=1)
    inputs = torch.randn(3, 512, 16, 16).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected, packed = conv(inputs), PrepackedConv2d(conv)
        made = packed(inputs)
        assert isinstance(packed._compute, WinogradConv2d)
        torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            for i in range(3):
                torch.testing.assert_close(packed(inputs[i : i + 1])[0], made[i], rtol=0, atol=0)
