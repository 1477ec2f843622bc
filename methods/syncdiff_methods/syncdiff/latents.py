"""Latents of a training split, encoded once: the autoencoder is frozen, so a training step need not run it.

    CACHE/<fingerprint>/<clip id>.safetensors      clean and masked (T, 3, h, w) float16, audio (T, 104) float32,
                                                   area (T, h, w) float16: share of each latent cell that is blanked

The fingerprint covers the encoder's weights, frame size, mask and the split: a cache of other settings is simply
another folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from syncdiff_methods.syncdiff.autoencoder import Autoencoder, to_images
from syncdiff_methods.syncdiff.config import SyncDiffConfig
from syncdiff_methods.syncdiff.masking import blank, lower_half_mask

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Clip, Dataset


@dataclass(frozen=True, eq=False)
class ClipLatents:
    """clean, masked: (T, 3, h, w) float16; audio: (T, 104) float32; area: (T, h, w) float16 in 0..1."""

    clip_id: str
    clean: Tensor
    masked: Tensor
    audio: Tensor
    area: Tensor

    def __len__(self) -> int:
        return len(self.clean)


def cached_latents(
    dataset: Dataset, split: str, autoencoder: Autoencoder, config: SyncDiffConfig, cache: Path, device: str
) -> Iterator[ClipLatents]:
    """Latents of every clip of a split that has at least two frames and sound, encoding what is not cached yet."""
    from safetensors.torch import load_file, save_file

    folder = cache / _fingerprint(dataset, split, autoencoder, config)
    for clip_id in dataset.clip_ids(split):
        path = folder / f"{clip_id}.safetensors"
        if not path.is_file():
            tensors = encode_clip(dataset.clip(clip_id), autoencoder, config, device)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".part")
            save_file(tensors, partial)
            partial.replace(path)
        tensors = load_file(path)
        if len(tensors["clean"]) >= 2:
            yield ClipLatents(clip_id, **tensors)


@torch.no_grad()
def encode_clip(clip: Clip, autoencoder: Autoencoder, config: SyncDiffConfig, device: str) -> dict[str, Tensor]:
    """The four tensors of one clip. Raises ClipError where it cannot be read or has no sound."""
    from syncdiff_bench.networks.avhubert.features import audio_features

    n, height, width = clip.frames.shape[:3]
    images = to_images(torch.from_numpy(clip.frames), config.frame_size)
    boxes = torch.from_numpy(clip.face_boxes.boxes)
    mask = lower_half_mask(boxes, (height, width), config.frame_size, config.condition.mask_pad)

    def encode(batch: Tensor) -> Tensor:
        return torch.cat([autoencoder.encode(chunk.to(device)).cpu() for chunk in torch.split(batch, 32)])

    area = F.adaptive_avg_pool2d(mask.float()[:, None], config.latent_size)[:, 0]
    return {
        "clean": encode(images).half().contiguous(),
        "masked": encode(blank(images, mask)).half().contiguous(),
        "audio": torch.from_numpy(audio_features(clip.audio, n)),
        "area": area.half(),
    }


def _fingerprint(dataset: Dataset, split: str, autoencoder: Autoencoder, config: SyncDiffConfig) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(autoencoder.state_dict().items()):
        if not name.startswith(("vq.encoder.", "vq.quant_conv.")):
            continue
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    settings = [config.frame_size, config.condition.mask_pad, config.autoencoder.scaling_factor]
    digest.update(json.dumps(settings).encode())
    digest.update(dataset.fingerprint(split).encode())
    return digest.hexdigest()[:16]
