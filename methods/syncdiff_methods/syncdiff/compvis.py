"""Tensor names of CompVis' latent-diffusion networks.

The networks here are diffusers'; official checkpoints name the same tensors otherwise
(docs/spec/ldm.md#tensor-names). Names are mapped one way only, from ours to the official ones, and inverted over the
names that a network has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from syncdiff_methods.syncdiff.config import AutoencoderConfig, UNetConfig

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
    """Official name, without prefix, of a tensor of `denoiser.build_unet`.

    >>> from syncdiff_methods.syncdiff.config import UNetConfig
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
    """Official name, without prefix, of a tensor of `autoencoder.build_vq_model`.

    >>> from syncdiff_methods.syncdiff.config import AutoencoderConfig
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
