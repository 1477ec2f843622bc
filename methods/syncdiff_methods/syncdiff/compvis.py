"""CompVis' latent-diffusion networks: names of their tensors, and sizes read off the shapes.

The networks here are diffusers'; official checkpoints name the same tensors otherwise
(docs/spec/ldm.md#tensor-names). Names are mapped one way only, from ours to the official ones, and inverted over the
names that a network has. Not in any tensor, and taken as published: 32 groups per norm, 32 channels per attention head.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from syncdiff_bench.errors import WeightsError
from syncdiff_methods.syncdiff.config import AutoencoderConfig, UNetConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_VQ_PARTS = (
    ("mid_block.resnets.0.", "mid.block_1."),
    ("mid_block.resnets.1.", "mid.block_2."),
    ("mid_block.attentions.0.group_norm.", "mid.attn_1.norm."),
    ("mid_block.attentions.0.to_out.0.", "mid.attn_1.proj_out."),
    ("mid_block.attentions.0.to_", "mid.attn_1."),
    ("samplers.0.conv.", "sample.conv."),
    ("conv_shortcut.", "nin_shortcut."),
    ("conv_norm_out.", "norm_out."),
)


def unet_name(ours: str, config: UNetConfig) -> str:
    """Official name, without prefix, of a tensor of `model.build_unet`.

    >>> unet_name("down_blocks.1.resnets.0.conv1.weight", UNetConfig())
    'input_blocks.4.0.in_layers.2.weight'
    """
    for end, official in _UNET_ENDS.items():
        if ours.startswith(end + "."):
            return f"{official}.{_inside(ours[len(end) + 1 :])}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", ours)
    assert match, f"{ours} is no tensor of this UNet"
    side, level, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    # An up block has one residual block more than a down block; each level ends with its resampling.
    per_level = config.layers_per_block + 1
    if side == "down":
        position = 1 + level * per_level + (index if kind != "downsamplers" else config.layers_per_block)
        names = {"resnets": "0", "attentions": "1", "downsamplers": "0.op"}
        rest = rest.removeprefix("conv.") if kind == "downsamplers" else rest
        return f"input_blocks.{position}.{names[kind]}.{_inside(rest)}"
    position = level * per_level + (index if kind != "upsamplers" else config.layers_per_block)
    attention = config.attention[len(config.channels) - 1 - level]
    names = {"resnets": "0", "attentions": "1", "upsamplers": "2" if attention else "1"}
    return f"output_blocks.{position}.{names[kind]}.{_inside(rest)}"


def _inside(rest: str) -> str:
    """The part of a name below its block: renamed in residual blocks, the same in transformers."""
    head, dot, tail = rest.partition(".")
    return f"{_RESNET.get(head, head)}{dot}{tail}"


def vq_name(ours: str, config: AutoencoderConfig) -> str:
    """Official name, without prefix, of a tensor of `model.build_vq_model`.

    >>> vq_name("decoder.up_blocks.0.resnets.2.norm1.bias", AutoencoderConfig())
    'decoder.up.2.block.2.norm1.bias'
    """
    for old, new in _VQ_PARTS:
        ours = ours.replace(old, new)
    levels = len(config.channels)
    ours = re.sub(r"down_blocks\.(\d+)\.", r"down.\1.", ours)
    # Decoder levels are numbered by resolution there, in the order of execution here.
    ours = re.sub(r"up_blocks\.(\d+)\.", lambda match: f"up.{levels - 1 - int(match[1])}.", ours)
    return ours.replace(".resnets.", ".block.")


def to_official(tensors: Mapping[str, Tensor], name_of: Callable[[str], str]) -> dict[str, Tensor]:
    """Tensors under their official names; the VQ attention's matrices become 1x1 convolutions again."""
    official = {name_of(name): tensor for name, tensor in tensors.items()}
    return {
        name: tensor[:, :, None, None] if _is_vq_attention(name) and tensor.ndim == 2 else tensor
        for name, tensor in official.items()
    }


def from_official(
    official: Mapping[str, Tensor], module: nn.Module, name_of: Callable[[str], str]
) -> dict[str, Tensor]:
    """Official tensors (without prefix) under our names, float32, in the shapes of `module`.

    Names that the mapping does not know are kept as they are, so that a strict load reports them.
    """
    ours = {name_of(name): name for name in module.state_dict()}
    return {
        ours.get(name, name): (tensor[:, :, 0, 0] if _is_vq_attention(name) and tensor.ndim == 4 else tensor).float()
        for name, tensor in official.items()
    }


def _is_vq_attention(name: str) -> bool:
    return ".attn_1." in name and not name.endswith((".bias", ".norm.weight"))


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
