"""SyncDiff's networks: autoencoder, denoiser and audio condition, as one model and one folder.

DIR/config.json                 config.SyncDiffConfig
DIR/autoencoder.safetensors     frames <-> latents
DIR/denoiser.safetensors        UNet and bottleneck (EMA weights)
DIR/audio.safetensors           AV-HuBERT audio encoder and temporal filter
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from torch import Tensor, nn

from syncdiff_bench.documents import read_json
from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import options_from_values
from syncdiff_methods.model_folder import FolderModel, load_part, part_files, save_part
from syncdiff_methods.syncdiff.audio import AudioCondition
from syncdiff_methods.syncdiff.beyond.temporal import TemporalAttention
from syncdiff_methods.syncdiff.config import AutoencoderConfig, SyncDiffConfig, UNetConfig

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel, VQModel

LEVEL_SCALE = 1000.0  # a standard deviation of 1 is embedded as timestep 1000


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
        # Without `vq.decode`, which would bring a number to the device that nobody asked for, and wait.
        return self.vq.decoder(self.vq.post_quant_conv(unscaled))  # type: ignore[no-any-return]


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
        # Not by a matrix product, which in TF32 tells close codes apart no more.
        nearest = torch.cdist(points, codes, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
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


def build_unet(
    config: UNetConfig, in_channels: int, context_dim: int, sample_size: int, *, level: bool = False
) -> UNet2DConditionModel:
    """diffusers' conditional UNet with the shape of CompVis' (docs/spec/ldm.md#diffusers).

    level: whether it takes a second number beside the timestep, embedded as that one and added to it.
    """
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
        class_embed_type="timestep" if level else None,
    )


def zero_output_layers(unet: nn.Module) -> None:
    """Start residual branches and the output at zero, as CompVis' code does and diffusers does not."""
    for name, module in unet.named_modules():
        if name == "conv_out" or (name.endswith((".conv2", ".proj_out")) and isinstance(module, nn.Conv2d)):
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Denoiser(nn.Module):
    """UNet; for the bottlenecked variants, the 1x1 convolution that squeezes a previous frame to one channel; with
    tokens, the attention over previous frames.

    With the bottleneck, a previous frame passes 1 of its 3 latent channels' worth of information: enough for pose and
    lip state, too little to be copied to the output (paper 3.3).
    """

    def __init__(self, config: SyncDiffConfig) -> None:
        super().__init__()
        self.condition = condition = config.condition
        self.unet = build_unet(
            config.unet, condition.channels, config.audio.dim, config.latent_size, level=condition.previous_level
        )
        tokens = condition.previous == "tokens"
        squeezed = condition.previous == "bottleneck" or (tokens and condition.nearest_channel)
        self.bottleneck = nn.Conv2d(3, 1, kernel_size=1) if squeezed else None
        self.temporal = TemporalAttention(condition.previous_frames, config.audio.dim) if tokens else None

    def visual_condition(self, masked: Tensor, identity: Tensor | None, previous: Sequence[Tensor]) -> Tensor:
        """Concatenate the conditions in the paper's order: masked, identity, previous frames (nearest first).

        Every latent is (B, 3, h, w). previous: NP of them, or none; with tokens all but the nearest one enter `context`
        alone. Constant over the steps of a frame, so it is computed once per frame.
        """
        parts = [masked]
        if self.condition.identity:
            assert identity is not None, "this variant needs an identity frame"
            parts.append(identity)
        nearest = previous[: self.condition.concatenated]
        parts += [latent if self.bottleneck is None else self.bottleneck(latent) for latent in nearest]
        return torch.cat(parts, dim=1)

    def context(self, token: Tensor, previous: Sequence[Tensor], area: Tensor) -> Tensor:
        """What cross-attention reads, (B, N, dim): the audio token and, with tokens, that of the previous frames.

        token: (B, dim). previous: as in `visual_condition`. area: (B, h, w) in 0..1, how much of a cell is masked.
        Constant over the steps of a frame.
        """
        if self.temporal is None:
            return token[:, None]
        return torch.stack([token, self.temporal(token, torch.stack(list(previous), dim=1), area)], dim=1)

    def forward(
        self, noisy: Tensor, timestep: Tensor, visual: Tensor, context: Tensor, level: Tensor | float = 0.0
    ) -> Tensor:
        """Predict epsilon, the sample or v.

        noisy: (B, 3, h, w); timestep: () or (B,) long in 0..999; visual: (B, channels - 3, h, w) of
        `visual_condition`; context: (B, N, dim) of `context`; level: (B,) or one for all, the standard deviation of the
        noise on previous frames, read where `condition.previous_level` says so. Returns (B, 3, h, w).
        """
        stacked, told = torch.cat([noisy, visual], dim=1), None
        if self.condition.previous_level:
            told = LEVEL_SCALE * (level if isinstance(level, Tensor) else torch.full((1,), level, device=noisy.device))
        made = self.unet(stacked, timestep, encoder_hidden_states=context, class_labels=told)
        return made.sample  # type: ignore[no-any-return]


class SyncDiffModel(FolderModel):
    """autoencoder, denoiser and audio condition, built from one config."""

    Config = SyncDiffConfig
    config: SyncDiffConfig
    parts = ("autoencoder", "denoiser", "audio")
    title = "SyncDiff"
    mend = "save the model again"
    shipped = Path(__file__).parent / "pretrained"

    def __init__(self, config: SyncDiffConfig) -> None:
        super().__init__(config)
        self.autoencoder = Autoencoder(config.autoencoder)
        self.denoiser = Denoiser(config)
        self.audio = AudioCondition(config.audio)


def with_variant(model: str, variant: str | None) -> tuple[str, str]:
    """The model to run, and the variant that it is.

    Where another variant is asked for than `model` is, MODEL-VARIANT beside it takes its place ("pocket-rnd").
    Raises UsageError where there is none, no such model at all, or none is named.
    """
    if not model:
        raise UsageError(
            "syncdiff needs --set model=DIR, what `syncdiff-bench train` made; model=pocket is for drawn faces"
        )
    known = SyncDiffModel.read_config(model).variant
    if variant in (None, known):
        return model, known
    sibling = f"{model}-{variant}"
    try:
        found = SyncDiffModel.read_config(sibling).variant
    except UsageError:
        found = ""
    if found != variant:
        raise UsageError(
            f"model {model!r} is variant {known}, not {variant}, and there is no {sibling!r}; train one"
            f" (`syncdiff-bench train syncdiff/pocket --variant {variant}`) and give its folder as model"
        )
    return sibling, found


# ------------------------------------------------------------------------------------ an autoencoder alone


def save_autoencoder(autoencoder: Autoencoder, config: AutoencoderConfig, frame_size: int, folder: Path) -> None:
    """Write autoencoder.safetensors and autoencoder.json.

    config: what the file shall say, whatever scaling factor the network was trained with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_part(autoencoder, folder / "autoencoder.safetensors")
    description = {"frame_size": frame_size, "autoencoder": asdict(config)}
    (folder / "autoencoder.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def autoencoder_folder(where: str | Path) -> Path:
    """The folder of an autoencoder alone (autoencoder.json), else that of a SyncDiff model, whose autoencoder is taken.

    Raises UsageError where there is neither.
    """
    folder = Path(where)
    if (folder / "autoencoder.json").is_file():
        return folder
    try:
        return SyncDiffModel.locate(where)
    except UsageError:
        raise UsageError(
            f"{folder / 'autoencoder.json'}: no such file; import the published autoencoder (`syncdiff-bench weights"
            " import vq-f4 model.ckpt training/vq-f4`), or train one (`syncdiff-bench train"
            " syncdiff-autoencoder/paper-autoencoder`) and name its folder, training/paper-autoencoder/model"
        ) from None


class _Described(TypedDict):
    autoencoder: Mapping[str, Any]
    frame_size: int


def read_autoencoder(where: str | Path) -> tuple[AutoencoderConfig, int]:
    """Config and frame size. Raises UsageError as `autoencoder_folder`."""
    folder = autoencoder_folder(where)
    path = folder / "autoencoder.json"
    if not path.is_file():
        whole = SyncDiffModel.read_config(folder)
        return whole.autoencoder, whole.frame_size
    known = read_json(path, "is no description of an autoencoder", "import or train it again", _Described)
    config: AutoencoderConfig = options_from_values(AutoencoderConfig, known["autoencoder"], str(path))
    return config, known["frame_size"]


def load_autoencoder(where: str | Path) -> tuple[Autoencoder, int, Path]:
    """The autoencoder in evaluation mode, the side of its frames, and its weights file.

    Raises UsageError as `autoencoder_folder`, WeightsError where the file does not fit.
    """
    config, frame_size = read_autoencoder(where)
    autoencoder, file = Autoencoder(config), part_files(autoencoder_folder(where), ["autoencoder"])["autoencoder"]
    load_part(autoencoder, file)
    return autoencoder.eval(), frame_size, file
