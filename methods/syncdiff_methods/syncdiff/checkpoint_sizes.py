"""Sizes of CompVis networks, read off the shapes of their tensors, and what differs where two do not fit.

Not in any tensor, and taken as published: 32 groups per norm, 32 channels per attention head.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from syncdiff_bench.errors import WeightsError
from syncdiff_methods.syncdiff.config import AutoencoderConfig, UNetConfig

if TYPE_CHECKING:
    from torch import Tensor


def autoencoder_config(official: Mapping[str, Tensor], source: str) -> AutoencoderConfig:
    """Config of a VQ autoencoder by its official tensors. Raises WeightsError where they are none."""
    try:
        levels = 1 + max(_indices(official, r"encoder\.down\.(\d+)\."))
        channels = tuple(official[f"encoder.down.{i}.block.0.conv2.weight"].shape[0] for i in range(levels))
        return AutoencoderConfig(
            channels=channels,
            layers_per_block=1 + max(_indices(official, r"encoder\.down\.0\.block\.(\d+)\.")),
            codes=official["quantize.embedding.weight"].shape[0],
            mid_attention="encoder.mid.attn_1.q.weight" in official,
        )
    except (KeyError, ValueError, IndexError):
        raise WeightsError(f"{source}: no VQ autoencoder inside; expected CompVis' tensors") from None


def unet_config(official: Mapping[str, Tensor], source: str) -> tuple[UNetConfig, int, int]:
    """Config, input channels and context width of a UNet by its official tensors.

    Raises WeightsError where they are none.
    """
    try:
        in_channels = official["input_blocks.0.0.weight"].shape[1]
        downs = _indices(official, r"input_blocks\.(\d+)\.0\.op\.")
        per_level = min(downs)
        levels = 1 + len(set(downs))
        firsts = [1 + level * per_level for level in range(levels)]
        config = UNetConfig(
            channels=tuple(official[f"input_blocks.{i}.0.out_layers.3.weight"].shape[0] for i in firsts),
            attention=tuple(f"input_blocks.{i}.1.norm.weight" in official for i in firsts),
            layers_per_block=per_level - 1,
        )
        context = official["middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1]
    except (KeyError, ValueError, IndexError):
        raise WeightsError(
            f"{source}: no latent-diffusion UNet inside; expected CompVis' tensors model.diffusion_model.*"
        ) from None
    return config, in_channels, context


def require_same(found: Any, wanted: Any, ignored: Iterable[str], source: str, model: str) -> None:
    """Compare two configs field by field. Raises WeightsError naming the first field that differs."""
    for field in fields(wanted):
        theirs, ours = getattr(found, field.name), getattr(wanted, field.name)
        if field.name not in ignored and theirs != ours:
            raise WeightsError(f"{source}: {field.name} {_words(theirs)}, but {model} has {_words(ours)}")


def _words(value: Any) -> str:
    return "-".join(str(item) for item in value) if isinstance(value, tuple) else str(value)


def _indices(names: Iterable[str], pattern: str) -> list[int]:
    return [int(match[1]) for match in (re.match(pattern, name) for name in names) if match]
