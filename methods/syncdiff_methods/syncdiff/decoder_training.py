"""Sharpen a trained autoencoder: its decoder learns on, under a perceptual loss, from quantised latents.

The second half of how VQGAN is trained (Esser et al. 2021 use LPIPS with VGG; the adversarial part is left out). The
encoder and the codebook stay as they are, so latents, and a diffusion model trained on them, stay valid.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from syncdiff_bench.networks.lpips import LPIPSNetwork, load_lpips
from syncdiff_bench.training.task import TrainingTask
from syncdiff_bench.weights.store import WeightsStore
from syncdiff_methods.syncdiff.autoencoder import Autoencoder, to_images
from syncdiff_methods.syncdiff.autoencoder_training import read_frames
from syncdiff_methods.syncdiff.model import load_part, read_autoencoder, save_part


@dataclass(frozen=True)
class DecoderOptions:
    """autoencoder: model folder of a finished autoencoder training. max_clips, every: as in `AutoencoderOptions`.
    crop: side of the square, centred in the masked area, on which LPIPS (VGG) looks. perceptual_weight: of LPIPS
    against the L1 of the whole image.
    """

    autoencoder: str = ""
    max_clips: int = 0
    every: int = 4
    crop: int = 48
    perceptual_weight: float = 1.0


class TrainedDecoder(nn.Module):
    """L1 and LPIPS of decoded images; only the decoder has gradients."""

    def __init__(self, autoencoder: Autoencoder, lpips: LPIPSNetwork, options: DecoderOptions) -> None:
        super().__init__()
        self.options = options
        self.autoencoder = autoencoder.requires_grad_(False)
        self.autoencoder.vq.decoder.requires_grad_(True)
        self.autoencoder.vq.post_quant_conv.requires_grad_(True)
        self.lpips = lpips

    def forward(self, images: Tensor, corner: Tensor) -> dict[str, Tensor]:
        """images: (B, 3, S, S) in [-1, 1]; corner: (B, 2) long, row and column of each crop's upper left pixel."""
        with torch.no_grad():
            latents = self.autoencoder.encode(images)
        decoded = self.autoencoder.decode(latents)
        error = (decoded - images).abs().mean()
        perceptual = self.lpips(self._crops(decoded, corner), self._crops(images, corner)).mean()
        return {"loss": error + self.options.perceptual_weight * perceptual, "l1": error, "lpips": perceptual}

    def _crops(self, images: Tensor, corner: Tensor) -> Tensor:
        side = self.options.crop
        cut = [image[:, y : y + side, x : x + side] for image, (y, x) in zip(images, corner.tolist(), strict=True)]
        return torch.stack(cut)


class DecoderTask(TrainingTask):
    """Random frames of the training split."""

    Options = DecoderOptions
    options: DecoderOptions

    def prepare(self) -> None:
        self.folder = Path(self.options.autoencoder)
        self.config, self.frame_size = read_autoencoder(self.folder)
        data, options = self.data, self.options
        self.frames, self.masks = read_frames(
            data.dataset, data.split, self.frame_size, options.every, options.max_clips
        )
        self.held_out, self.held_masks = read_frames(data.dataset, data.validation_split, self.frame_size, 16, 0)

    def build(self) -> nn.Module:
        autoencoder = Autoencoder(self.config)
        load_part(autoencoder, self.folder / "autoencoder.safetensors")
        lpips = load_lpips("vgg", WeightsStore().ensure("lpips-vgg"))
        return TrainedDecoder(autoencoder, lpips, self.options)

    def batch(self, seed: int, step: int, rank: int, size: int) -> Mapping[str, Tensor]:
        rng = np.random.default_rng([seed, step, rank])
        rows = torch.from_numpy(rng.integers(len(self.frames), size=size))
        return self._examples(self.frames[rows], self.masks[rows], rng)

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """The losses on held-out frames, always cropped alike."""
        rng = np.random.default_rng(0)
        totals: dict[str, float] = {}
        chunks = list(zip(torch.split(self.held_out, 16), torch.split(self.held_masks, 16), strict=True))
        for frames, masks in chunks:
            for name, value in model(**self._examples(frames, masks, rng)).items():
                totals[name] = totals.get(name, 0.0) + value.item() / len(chunks)
        return totals

    def export(self, model: nn.Module, folder: Path) -> None:
        """The autoencoder's files, with the new decoder."""
        folder.mkdir(parents=True, exist_ok=True)
        save_part(cast(TrainedDecoder, model).autoencoder, folder / "autoencoder.safetensors")
        shutil.copyfile(self.folder / "autoencoder.json", folder / "autoencoder.json")

    def _examples(self, frames: Tensor, masks: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
        """Crops are centred on a random blanked pixel, as far as the frame allows."""
        side, corners = self.options.crop, []
        for mask in masks:
            pixels = torch.nonzero(mask)
            centre = pixels[int(rng.integers(len(pixels)))] if len(pixels) else torch.tensor([self.frame_size // 2] * 2)
            corners.append((centre - side // 2).clamp(0, self.frame_size - side))
        return {"images": to_images(frames, self.frame_size), "corner": torch.stack(corners)}
