"""Frames to latents and back: the VQ-f4 autoencoder, as CompVis' interface uses it (docs/spec/ldm.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from torch import Tensor, nn

from syncdiff_methods.syncdiff.config import AutoencoderConfig

if TYPE_CHECKING:
    from diffusers import VQModel


def build_vq_model(config: AutoencoderConfig) -> VQModel:
    """diffusers' VQModel with CompVis' shape; its parameters equal the official ones one to one."""
    from diffusers import VQModel

    levels = len(config.channels)
    return VQModel(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=config.channels,
        layers_per_block=config.layers_per_block,
        latent_channels=3,
        num_vq_embeddings=config.codes,
        vq_embed_dim=3,
        norm_num_groups=config.norm_groups,
        scaling_factor=1.0,
        mid_block_add_attention=config.mid_attention,
    )


class Autoencoder(nn.Module):
    """`encode` is continuous, `decode` quantises first: diffusion runs on latents that were never quantised."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.vq = build_vq_model(config)

    def latent_size(self, frame_size: int) -> int:
        """Side of the latent of a square frame."""
        return frame_size >> (len(self.config.channels) - 1)

    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) float32 RGB in [-1, 1] -> (B, 3, S / f, S / f), times the scaling factor."""
        return self.vq.encode(images).latents * self.config.scaling_factor  # type: ignore[no-any-return]

    def decode(self, latents: Tensor, *, quantise: bool = True) -> Tensor:
        """Latents as `encode` gives them -> (B, 3, S, S) RGB, not clamped."""
        unscaled = latents / self.config.scaling_factor
        if quantise:
            unscaled = quantised(unscaled, self.vq.quantize.embedding.weight)
        return self.vq.decode(unscaled, force_not_quantize=True).sample  # type: ignore[no-any-return]


def quantised(latents: Tensor, codes: Tensor) -> Tensor:
    """(B, C, h, w) latents -> the nearest of (K, C) codes at every place, same shape; no gradient.

    On a CPU a k-d tree finds them: exactly, whatever the batch, and many times faster than all K distances of each.
    What is not a number counts as 0: a clip that diverges takes none of its batch mates along.
    """
    vectors = latents.detach().movedim(1, -1)
    points = vectors.reshape(-1, vectors.shape[-1])
    if latents.device.type == "cpu":
        finite = torch.nan_to_num(points.double(), nan=0.0, posinf=1e6, neginf=-1e6)
        _, found = cKDTree(codes.detach().double().numpy()).query(finite.numpy())
        nearest = torch.from_numpy(found)
    else:
        nearest = torch.cdist(points, codes).argmin(dim=1)
    return codes.detach()[nearest].reshape(vectors.shape).movedim(-1, 1).contiguous()


def to_images(frames: Tensor, size: int) -> Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, size, size) float32 in [-1, 1]; bicubic, anti-aliased when shrinking."""
    images = frames.permute(0, 3, 1, 2).float() / 127.5 - 1
    if images.shape[-2:] != (size, size):
        images = F.interpolate(images, (size, size), mode="bicubic", antialias=True)
    return images.clamp(-1, 1)


def to_frames(images: Tensor, height: int, width: int) -> Tensor:
    """(B, 3, S, S) in [-1, 1] -> (B, height, width, 3) uint8 RGB; bicubic where the size differs."""
    if images.shape[-2:] != (height, width):
        images = F.interpolate(images, (height, width), mode="bicubic", antialias=True)
    scaled = ((images.clamp(-1, 1) + 1) * 127.5).round()
    return scaled.to(torch.uint8).permute(0, 2, 3, 1)
