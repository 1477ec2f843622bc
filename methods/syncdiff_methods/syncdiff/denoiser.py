"""The denoising network: a UNet over the noisy latent and the concatenated visual conditions (paper 3.1, 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from syncdiff_methods.syncdiff.config import SyncDiffConfig, UNetConfig

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


def build_unet(config: UNetConfig, in_channels: int, context_dim: int, sample_size: int) -> UNet2DConditionModel:
    """diffusers' conditional UNet with the shape of CompVis' (docs/spec/ldm.md#diffusers)."""
    from diffusers import UNet2DConditionModel

    down = tuple("CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in config.attention)
    up = tuple("CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(config.attention))
    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=in_channels,
        out_channels=3,
        center_input_sample=False,
        flip_sin_to_cos=True,
        freq_shift=0,
        down_block_types=down,
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=up,
        block_out_channels=config.channels,
        layers_per_block=config.layers_per_block,
        downsample_padding=1,
        norm_num_groups=config.norm_groups,
        norm_eps=1e-5,
        act_fn="silu",
        cross_attention_dim=context_dim,
        transformer_layers_per_block=1,
        # In this argument diffusers counts heads, not the dimension of one.
        attention_head_dim=tuple(channels // config.head_dim for channels in config.channels),
        use_linear_projection=False,
        upcast_attention=False,
    )


def zero_output_layers(unet: nn.Module) -> None:
    """Start residual branches and the output at zero, as CompVis' code does and diffusers does not."""
    for name, module in unet.named_modules():
        if name == "conv_out" or (name.endswith((".conv2", ".proj_out")) and isinstance(module, nn.Conv2d)):
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Denoiser(nn.Module):
    """UNet and, for the bottlenecked variants, the 1x1 convolution that squeezes a previous frame to one channel.

    With the bottleneck, a previous frame passes 1 of its 3 latent channels' worth of information: enough for pose and
    lip state, too little to be copied to the output (paper 3.3).
    """

    def __init__(self, config: SyncDiffConfig) -> None:
        super().__init__()
        self.condition = config.condition
        self.unet = build_unet(config.unet, config.condition.channels, config.audio.dim, config.latent_size)
        self.bottleneck = nn.Conv2d(3, 1, kernel_size=1) if config.condition.previous == "bottleneck" else None

    def visual_condition(self, masked: Tensor, identity: Tensor | None, previous: Sequence[Tensor]) -> Tensor:
        """Concatenate the conditions in the paper's order: masked, identity, previous frames (nearest first).

        Every latent is (B, 3, h, w). Constant over the steps of a frame, so it is computed once per frame.
        """
        parts = [masked]
        if self.condition.identity:
            assert identity is not None, "this variant needs an identity frame"
            parts.append(identity)
        parts += [latent if self.bottleneck is None else self.bottleneck(latent) for latent in previous]
        return torch.cat(parts, dim=1)

    def forward(self, noisy: Tensor, timestep: Tensor, visual: Tensor, token: Tensor) -> Tensor:
        """Predict epsilon, the sample or v.

        noisy: (B, 3, h, w); timestep: () or (B,) long in 0..999; visual: (B, channels - 3, h, w) of
        `visual_condition`; token: (B, dim) audio condition. Returns (B, 3, h, w).
        """
        stacked = torch.cat([noisy, visual], dim=1)
        return self.unet(stacked, timestep, encoder_hidden_states=token.unsqueeze(1)).sample  # type: ignore[no-any-return]
