"""Train a small VQ autoencoder from scratch (the paper's is CompVis' published vq-f4).

The codebook is filled once from the encoder's own latents, after they have settled: started at random it would leave
most codes unused at this budget. Until then nothing is quantised.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.training.device import float32_products
from syncdiff_bench.training.task import TrainingTask
from syncdiff_methods.syncdiff.config import AutoencoderConfig
from syncdiff_methods.syncdiff.masking import apply_mask, lower_half_mask
from syncdiff_methods.syncdiff.model import Autoencoder, save_autoencoder, to_frames, to_images

if TYPE_CHECKING:
    from diffusers import VQModel

    from syncdiff_bench.contracts import Dataset

logger = logging.getLogger(__name__)

LEVEL = 8.0
RESERVED = 8  # channels of the table above
POOLING = torch.tensor([[0.25, 0.25, 0.0], [0.25, 0.25, 0.0], [0.0, 0.0, 0.0]])  # VQModel pads right and below
SMOOTHING = torch.outer(torch.tensor([0.25, 0.5, 0.25]), torch.tensor([0.25, 0.5, 0.25]))
IDENTITY = torch.ones(1, 1)


@dataclass(frozen=True)
class AutoencoderOptions:
    """Options of a training.

    frame_size: side of the training images.
    max_clips: train on so many clips, spread evenly over the split (0: all). Every process keeps the frames in memory:
        3 x frame_size^2 bytes each.
    every: take each n-th frame of a clip.
    masked_share: part of a batch whose face is masked as the diffusion model's masked frames are, so that they too are
        encoded well.
    quantise_from: step at which the codebook is filled and used.
    edge_weight: weight of the L1 of image gradients.
    mouth_weight: weight of masked pixels against 1 outside.
    commitment: weight of the commitment loss.
    validation_batches: of 32 held-out frames each (0: all).
    start: "average-pooling" (see `start_as_average_pooling`) or "random" (PyTorch's own).
    """

    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    frame_size: int = 256
    max_clips: int = 0
    every: int = 2
    masked_share: float = 0.2
    quantise_from: int = 1500
    edge_weight: float = 1.0
    mouth_weight: float = 3.0
    commitment: float = 0.25
    start: Literal["average-pooling", "random"] = "random"
    validation_batches: int = 0


class TrainedAutoencoder(nn.Module):
    """Reconstruction loss around `Autoencoder`; `quantising` switches the codebook on."""

    quantising: Tensor

    def __init__(self, options: AutoencoderOptions) -> None:
        super().__init__()
        self.options = options
        self.autoencoder = Autoencoder(options.autoencoder)
        if options.start == "average-pooling":
            start_as_average_pooling(self.autoencoder.vq)
        self.register_buffer("quantising", torch.zeros((), dtype=torch.bool))

    def forward(self, images: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """images: (B, 3, S, S) in [-1, 1]; weight: (B, 1, S, S) of each pixel's error."""
        latents = self.autoencoder.encode(images)
        vq: VQModel = self.autoencoder.vq
        commitment = latents.new_zeros(())
        if bool(self.quantising):
            with float32_products(latents.device, tf32=False):  # in TF32 close codes look the same
                quantised, commitment, _ = vq.quantize(latents)
            decoded = vq.decode(quantised, force_not_quantize=True).sample
        else:
            decoded = vq.decode(latents, force_not_quantize=True).sample
        error = (weight * (decoded - images).abs()).mean()
        edges = (weight[..., 1:, 1:] * _edge_error(decoded, images)).mean()
        spread = (latents.square().mean() - 1).square() * 0.01  # keeps the latents' scale from drifting
        loss = error + self.options.edge_weight * edges + self.options.commitment * commitment + spread
        return {"loss": loss, "l1": error, "edges": edges, "commitment": commitment}


def _edge_error(decoded: Tensor, images: Tensor) -> Tensor:
    """(B, 3, S - 1, S - 1) absolute error of the horizontal and vertical differences."""
    difference = decoded - images
    horizontal = (difference[..., 1:, 1:] - difference[..., 1:, :-1]).abs()
    vertical = (difference[..., 1:, 1:] - difference[..., :-1, 1:]).abs()
    return horizontal + vertical


class AutoencoderTask(TrainingTask):
    """Random frames of the training split, some with the face masked."""

    Options = AutoencoderOptions
    options: AutoencoderOptions
    unused_parameters: ClassVar[bool] = True  # the codebook, until it is filled
    incidental = frozenset(("validation_batches",))

    def prepare(self) -> None:
        data, options = self.data, self.options
        size, every = options.frame_size, options.every
        self.frames, self.masks = read_frames(data.dataset, data.split, size, every, options.max_clips)
        self.held_out, self.held_masks = read_frames(data.dataset, data.validation_split, size, 8 * every)

    def boxed_clips(self, part: int = 0, parts: int = 1) -> Mapping[str, Sequence[str]]:
        """All that `prepare` reads: nothing of them is kept."""
        data = self.data
        found = {data.split: spread(data.dataset.clip_ids(data.split), self.options.max_clips)}
        return {**found, data.validation_split: data.dataset.clip_ids(data.validation_split)}

    def build(self) -> nn.Module:
        return TrainedAutoencoder(self.options)

    def batch(self, seed: int, step: int, part: int, size: int) -> Mapping[str, Tensor]:
        rng = np.random.default_rng([seed, step, part])
        rows = torch.from_numpy(rng.integers(len(self.frames), size=size))
        masked = torch.from_numpy(rng.random(size) < self.options.masked_share)
        images = to_images(self.frames[rows], self.options.frame_size)
        mask = self.masks[rows]
        images = torch.where(masked[:, None, None, None], apply_mask(images, mask), images)
        weight = torch.where(mask, self.options.mouth_weight, 1.0)[:, None]
        return {"images": images, "weight": weight}

    def probe_batch(self, size: int) -> Mapping[str, Tensor]:
        side = self.options.frame_size
        return {"images": torch.zeros(size, 3, side, side), "weight": torch.ones(size, 1, side, side)}

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """PSNR in dB over the held-out pixels, and over the mouth area; codes in use."""
        assert isinstance(model, TrainedAutoencoder)
        squared, mouth_squared, mouth_pixels = 0.0, 0.0, 0
        used: set[int] = set()
        chunks = list(zip(torch.split(self.held_out, 32), torch.split(self.held_masks, 32), strict=True))
        chunks = chunks[: self.options.validation_batches or None]
        for i, (frames, mask) in enumerate(chunks):
            self.tell(f"validation {i + 1}/{len(chunks)}")
            images = to_images(frames, self.options.frame_size)
            latents = model.autoencoder.encode(images)
            decoded = model.autoencoder.decode(latents, quantise=bool(model.quantising)).clamp(-1, 1)
            error = (decoded - images).square().mean(dim=1) / 4
            squared += float(error.sum())
            mouth_squared += float(error[mask].sum())
            mouth_pixels += int(mask.sum())
            used.update(model.autoencoder.vq.quantize(latents)[2][2].tolist())
        pixels = sum(mask.numel() for _, mask in chunks)
        return {
            "psnr": -10 * float(np.log10(squared / pixels)),
            "psnr_mouth": -10 * float(np.log10(mouth_squared / mouth_pixels)),
            "codes_used": len(used),
        }

    def between(self, model: nn.Module, step: int) -> None:
        assert isinstance(model, TrainedAutoencoder)
        if step == self.options.quantise_from:
            model.eval()
            fill_codebook(model.autoencoder, self._some_images(512))
            model.quantising.fill_(True)
            model.train()

    def export(self, model: nn.Module, folder: Path) -> None:
        """autoencoder.safetensors and autoencoder.json, whose scaling factor gives latents unit variance."""
        assert isinstance(model, TrainedAutoencoder)
        with torch.no_grad():
            latents = torch.cat([model.autoencoder.encode(chunk) for chunk in torch.split(self._some_images(512), 32)])
        config = replace(self.options.autoencoder, scaling_factor=round(1 / float(latents.std()), 4))
        save_autoencoder(model.autoencoder, config, self.options.frame_size, folder)

    def _some_images(self, n: int) -> Tensor:
        rows = torch.from_numpy(np.random.default_rng(0).integers(len(self.frames), size=n))
        return to_images(self.frames[rows], self.options.frame_size)


def spread(clip_ids: Sequence[str], count: int) -> list[str]:
    """So many of the clips (0: all), spread evenly."""
    count = min(count or len(clip_ids), len(clip_ids))
    return [clip_ids[i * len(clip_ids) // count] for i in range(count)]


def read_frames(dataset: Dataset, split: str, size: int, every: int, max_clips: int = 0) -> tuple[Tensor, Tensor]:
    """Every n-th frame of `max_clips` clips (0: all), spread evenly over a split, already at the training size.

    Returns (N, size, size, 3) uint8 RGB frames and their (N, size, size) bool masks. A clip that cannot be read is left
    out and named in the log. Raises UsageError where none is left.
    """
    frames, masks = [], []
    for clip_id in spread(dataset.clip_ids(split), max_clips):
        try:
            clip = dataset.clip(clip_id)
            chosen = torch.from_numpy(clip.frames[::every].copy())
            boxes = torch.from_numpy(clip.face_boxes.boxes[::every].copy())
        except ClipError as error:
            logger.warning("left out: %s", error)
            continue
        frames.append(to_frames(to_images(chosen, size), size, size))
        height, width = chosen.shape[1:3]
        masks.append(lower_half_mask(boxes, (height, width), size))
    if not frames:
        raise UsageError(
            f"{dataset.name} {split}: no clip can be read; nothing to train on (syncdiff-bench data verify)"
        )
    return torch.cat(frames), torch.cat(masks)


@torch.no_grad()
def fill_codebook(autoencoder: Autoencoder, images: Tensor) -> None:
    """k-means over latent vectors of (N, 3, S, S) images, about 24 of them per code where there are as many."""
    from scipy.cluster.vq import kmeans2

    codes = autoencoder.config.codes
    latents = (
        torch.cat([autoencoder.encode(chunk) for chunk in torch.split(images, 32)]) / autoencoder.config.scaling_factor
    )
    vectors = latents.permute(0, 2, 3, 1).reshape(-1, 3)
    rows = np.random.default_rng(0).choice(len(vectors), size=min(len(vectors), 24 * codes), replace=False)
    sample = vectors[torch.from_numpy(rows)].cpu().numpy().astype(np.float64)
    found, _ = kmeans2(sample, codes, iter=8, minit="points", seed=0, missing="warn")
    autoencoder.vq.quantize.embedding.weight.data.copy_(torch.from_numpy(found).float())


# ------------------------------------------------------------------------ a start as average pooling


@torch.no_grad()
def start_as_average_pooling(vq: VQModel) -> None:
    """Start an autoencoder as one that already works: 4 x 4 average pooling, and smooth enlargement back.

    A VQ autoencoder learns absolute colours slowly, because each group norm takes them away. Here every residual block
    starts as the identity, and the colours travel past the norms in channels that keep a norm's mean and scale
    constant:

        channels 0-2   red, green, blue            channels 3-5   their negatives (the mean stays 0)
        channels 6, 7  +LEVEL and -LEVEL (the scale stays LEVEL sqrt(2 / channels))

    SiLU(x) - SiLU(-x) = x takes the colours through the last nonlinearity. The other channels start as usual, and
    training turns the pooling into a code for what pooling loses. Overwrites the fresh weights in place.

    Raises UsageError where a norm has several groups (the reserved channels must share one) or a level has fewer than
    eight channels.
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
