"""The nearest code of a latent: found by a tree, equal to trying all."""

from __future__ import annotations

import torch

from syncdiff_methods.syncdiff.autoencoder import build_vq_model, quantised
from syncdiff_methods.syncdiff.config import AutoencoderConfig


def test_it_is_what_diffusers_quantises_to() -> None:
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
