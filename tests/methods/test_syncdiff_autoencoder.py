"""The autoencoder: the nearest code of a latent, equal to trying all; a start as average pooling, against pooling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from syncdiff_bench.contracts import Clip, Media
from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import options_from_values
from syncdiff_bench.training.loader import read_plan
from syncdiff_methods.syncdiff.autoencoder_training import (
    AutoencoderOptions,
    TrainedAutoencoder,
    read_frames,
    start_as_average_pooling,
)
from syncdiff_methods.syncdiff.config import AutoencoderConfig
from syncdiff_methods.syncdiff.model import build_vq_model, quantised

SMALL = AutoencoderConfig(channels=(16, 32, 64), layers_per_block=1, codes=16, norm_groups=1, mid_attention=False)


def images() -> Tensor:
    """(3, 3, 32, 32) in -1..1: waves of different lengths, sharp ones too, and a flat picture."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    waves = torch.stack([torch.sin(x / 5), torch.cos(y / 3), torch.sin((x + y) / 8)])
    steps = torch.stack([(x > 13).float(), (y > 20).float(), (x + y > 30).float()]) * 2 - 1
    return torch.stack([waves, steps, torch.full_like(waves, 0.6)])


def enlarged(small: Tensor) -> Tensor:
    """Twice: nearest neighbour, then a binomial filter of 3 x 3."""
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line).expand(3, 1, 3, 3)
    for _ in range(2):
        small = F.conv2d(F.interpolate(small, scale_factor=2.0), kernel, padding=1, groups=3)
    return small


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_pools_and_enlarges(seed: int) -> None:
    """To a few percent of the range of 2: the channels beside the reserved ones move the norms a little."""
    torch.manual_seed(seed)
    vq = build_vq_model(SMALL).eval()
    start_as_average_pooling(vq)
    pooled = F.avg_pool2d(images(), 4)
    with torch.no_grad():
        latents = vq.encode(images()).latents
        decoded = vq.decode(pooled, force_not_quantize=True).sample
    assert float((latents - pooled).abs().max()) < 0.08
    assert float((latents - pooled).abs().mean()) < 0.03
    inside = (..., slice(4, -4), slice(4, -4))  # convolutions pad with zeros
    difference = (decoded - enlarged(pooled))[inside].abs()
    assert float(difference.max()) < 0.15
    assert float(difference.mean()) < 0.07


def test_without_it_nothing_of_the_picture_arrives() -> None:
    """The bounds above are far below what other weights reach."""
    torch.manual_seed(0)
    with torch.no_grad():
        latents = build_vq_model(SMALL).eval().encode(images()).latents
    assert float((latents - F.avg_pool2d(images(), 4)).abs().mean()) > 0.3


@pytest.mark.parametrize("change", [{"norm_groups": 4}, {"channels": (4, 16, 16)}])
def test_networks_that_cannot_carry_it_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="needs norm_groups = 1 and at least 8 channels"):
        start_as_average_pooling(build_vq_model(replace(SMALL, **change)))  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------- nearest code


def test_the_nearest_code_is_what_diffusers_quantises_to() -> None:
    torch.manual_seed(0)
    vq = build_vq_model(AutoencoderConfig((8, 8), 1, 512, 8, mid_attention=False))
    vq.quantize.embedding.weight.data.normal_()
    latents = torch.randn(3, 3, 8, 6)
    expected, *_ = vq.quantize(latents)
    torch.testing.assert_close(quantised(latents, vq.quantize.embedding.weight), expected, atol=1e-6, rtol=0)


def test_no_code_is_nearer_than_the_one_found() -> None:
    rng = torch.Generator().manual_seed(1)
    latents, codes = torch.randn(2, 3, 5, 5, generator=rng), torch.randn(200, 3, generator=rng)
    found = quantised(latents, codes)
    points = latents.movedim(1, -1).reshape(-1, 1, 3).double()
    nearest = (points - codes.double()).norm(dim=-1).min(dim=1).values
    distances = (latents.double() - found).movedim(1, -1).reshape(-1, 3).norm(dim=-1)
    torch.testing.assert_close(distances, nearest, atol=1e-7, rtol=0)
    assert found.is_contiguous()


def test_a_latent_that_diverged_leaves_the_others_alone() -> None:
    codes = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    latents = torch.full((3, 3, 1, 1), 0.9)
    latents[1] = torch.nan
    latents[2] = torch.inf
    assert quantised(latents, codes)[:, 0, 0, 0].tolist() == [1.0, 0.0, 1.0]


# ------------------------------------------------------------------------------------------- its frames


class Shades:
    """Seven clips of 5 frames; frame t of clip i has the one shade 10 i + t."""

    name = "shades"

    def clip_ids(self, split: str) -> list[str]:
        return [str(i) for i in range(7)]

    def clip(self, clip_id: str) -> Clip:
        frames = np.stack([np.full((32, 32, 3), 10 * int(clip_id) + t, np.uint8) for t in range(5)])
        return Clip(clip_id, self.name, boxes="centred", preloaded=Media(frames, np.zeros(3200, np.int16)))


@pytest.mark.parametrize(("max_clips", "chosen"), [(0, range(7)), (3, (0, 2, 4)), (7, range(7)), (50, range(7))])
def test_a_part_of_the_clips_is_spread_over_the_split(max_clips: int, chosen: list[int]) -> None:
    """The first clips of LRS2 are of few programmes."""
    frames, masks = read_frames(Shades(), "train", 32, 2, max_clips)  # type: ignore[arg-type]
    assert frames[:, 0, 0, 0].tolist() == [10 * i + t for i in chosen for t in (0, 2, 4)]
    assert masks.shape == (len(frames), 32, 32)


def test_the_config_at_full_size_describes_vq_f4() -> None:
    """Numbers of the published file: tensors of encoder, decoder, codes and the two 1x1 convolutions."""
    plan = read_plan("syncdiff-autoencoder/paper-autoencoder")
    options = options_from_values(AutoencoderOptions, plan.options, "options")
    with torch.device("meta"):
        trained = TrainedAutoencoder(options)
    assert trained.autoencoder.latent_size(options.frame_size) == 64
    assert sum(p.numel() for p in trained.autoencoder.parameters()) == 55_322_782
