"""What is constant over a training, computed once per clip: latents, and what enters the first trained audio layer.

    CACHE/latents/<dataset>-<split>[-<mask>]/  clean, masked (T, 3, h, w) float16; area (T, h, w) uint8: how much of
                                               each latent cell is blanked, 255 for all of it
    CACHE/audio/<dataset>-<split>-<kind>/      activations (T, ...) float32 of `AudioCondition.frozen_activations`

The two are apart because variants that freeze other layers (kind "nf9", "nf0", "deepspeech") share the latents, by far
the larger part. What each was made from and with is written beside it, and another autoencoder, mask, audio encoder or
list of clips is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncdiff_bench.training.cache import TensorCache
from syncdiff_bench.views import boxes_fact
from syncdiff_methods.syncdiff.audio import AudioCondition
from syncdiff_methods.syncdiff.audio_features import clip_features
from syncdiff_methods.syncdiff.autoencoder import Autoencoder, to_images
from syncdiff_methods.syncdiff.config import AudioConfig, ConditionConfig
from syncdiff_methods.syncdiff.masking import blank, clip_mask

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Clip, Dataset

CHUNK = 32  # frames that the autoencoder encodes together
DEEPSPEECH_SHAPE = (16, 29)
LOG_MEL = 104


@dataclass(frozen=True, eq=False)
class ClipLatents:
    """clean, masked: (T, 3, h, w) float16; area: (T, h, w) uint8; audio: (T, ...) float32."""

    clip_id: str
    clean: Tensor
    masked: Tensor
    area: Tensor
    audio: Tensor

    def __len__(self) -> int:
        return len(self.clean)


def latents_cache(
    dataset: Dataset,
    split: str,
    autoencoder: Autoencoder,
    frame_size: int,
    condition: ConditionConfig,
    cache: Path,
    device: str,
) -> TensorCache:
    """Latents of every frame of a split. The autoencoder moves to `device` for as long as it encodes."""

    def encode(clip_id: str) -> dict[str, Tensor]:
        # half as fast again on a CPU
        autoencoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return encode_frames(dataset.clip(clip_id), autoencoder, frame_size, condition, device)

    mask = {name: value for name, value in asdict(condition).items() if name.startswith("mask")}
    kind = "" if condition.mask_mode == ConditionConfig.mask_mode else f"-{condition.mask_mode}"
    cells = autoencoder.latent_size(frame_size) ** 2
    return TensorCache(
        folder=cache / "latents" / f"{dataset.name}-{split}{kind}",
        title=f"latents of {dataset.name} {split}, full and masked",
        split=split,
        facts={
            "autoencoder": _digest(autoencoder.vq, ("encoder.", "quant_conv."), autoencoder.config.scaling_factor),
            "frame size": str(frame_size),
            "mask": json.dumps(mask),
            "list of clips": dataset.fingerprint(split)[:16],
            **({} if condition.mask_mode == "nose_to_bottom" else boxes_fact(dataset, split)),
        },
        clip_ids=dataset.clip_ids(split),
        encode=encode,
        bytes_per_frame=cells * (2 * 3 * 2 + 1),
    )


def audio_cache(dataset: Dataset, split: str, condition: AudioCondition, cache: Path, device: str) -> TensorCache:
    """What `condition` computes of every clip below its first trained layer."""
    config = condition.config

    def encode(clip_id: str) -> dict[str, Tensor]:
        features = torch.from_numpy(clip_features(dataset.clip(clip_id), config))
        activations = condition.to(device).frozen_activations(features[None].to(device))[0]
        return {"activations": activations.cpu().contiguous()}

    kind = "deepspeech" if config.features == "deepspeech" else f"nf{config.frozen_layers}"
    return TensorCache(
        folder=cache / "audio" / f"{dataset.name}-{split}-{kind}",
        title=f"audio of {dataset.name} {split}, as it enters the first trained layer ({kind})",
        split=split,
        facts={
            "audio encoder": _digest(condition.encoder, _frozen_names(config)),
            "character scores": config.logits,
            "list of clips": dataset.fingerprint(split)[:16],
        },
        clip_ids=dataset.clip_ids(split),
        encode=encode,
        bytes_per_frame=4 * torch.Size(activation_shape(config)).numel(),
    )


def read_clips(latents: TensorCache, audio: TensorCache) -> list[ClipLatents]:
    """The clips that are in both caches and have two frames or more, mapped from disk."""
    sounds = audio.read()
    return [
        ClipLatents(clip_id, **tensors, audio=sounds[clip_id]["activations"])
        for clip_id, tensors in latents.read().items()
        if clip_id in sounds and len(tensors["clean"]) >= 2
    ]


@torch.no_grad()
def encode_frames(
    clip: Clip, autoencoder: Autoencoder, frame_size: int, condition: ConditionConfig, device: str
) -> dict[str, Tensor]:
    """clean, masked and area of one clip. Raises ClipError where it cannot be read."""
    images = to_images(torch.from_numpy(clip.frames), frame_size)
    mask = clip_mask(clip, condition, frame_size)

    def encode(batch: Tensor) -> Tensor:
        return torch.cat([autoencoder.encode(chunk.to(device)).cpu() for chunk in torch.split(batch, CHUNK)])

    area = F.adaptive_avg_pool2d(mask.float()[:, None], autoencoder.latent_size(frame_size))[:, 0]
    return {
        "clean": encode(images).half().contiguous(),
        "masked": encode(blank(images, mask)).half().contiguous(),
        "area": (area * 255).round().to(torch.uint8),
    }


def activation_shape(config: AudioConfig) -> tuple[int, ...]:
    """Of one frame of what the audio cache holds."""
    if config.features == "deepspeech":
        return DEEPSPEECH_SHAPE
    return (config.dim,) if config.frozen_layers else (LOG_MEL,)


def _frozen_names(config: AudioConfig) -> tuple[str, ...]:
    """Beginnings of the names of the encoder's parameters below the first trained layer."""
    if config.features == "deepspeech" or config.frozen_layers == 0:
        return ()
    layers = tuple(f"encoder.layers.{i}." for i in range(config.frozen_layers))
    return ("feature_extractor_audio.", "layer_norm.", "post_extract_proj.", "encoder.pos_conv.", *layers)


def _digest(module: nn.Module, beginnings: tuple[str, ...], *numbers: float) -> str:
    """Of the parameters whose names begin so, and of the numbers."""
    digest = hashlib.sha256(json.dumps(numbers).encode())
    chosen: Mapping[str, Tensor] = {
        name: tensor for name, tensor in sorted(module.state_dict().items()) if name.startswith(beginnings)
    }
    for name, tensor in chosen.items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
