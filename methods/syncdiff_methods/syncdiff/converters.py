"""CompVis' checkpoints: the VQ autoencoder alone, SyncDiff as a Lightning file (docs/spec/difftalk.md#checkpoints)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from syncdiff_bench.conversion import Converter
from syncdiff_bench.errors import WeightsError
from syncdiff_bench.weights.loading import load_state_dict
from syncdiff_methods.syncdiff.autoencoder import Autoencoder
from syncdiff_methods.syncdiff.checkpoint_sizes import autoencoder_config, require_same, unet_config
from syncdiff_methods.syncdiff.compvis import unet_name, vq_name
from syncdiff_methods.syncdiff.config import SyncDiffConfig, UNetConfig
from syncdiff_methods.syncdiff.lightning_layout import (
    AUDIO,
    AUDIO_FILTER,
    BOTTLENECK,
    FIRST_STAGE,
    SCALE,
    UNET,
    Part,
    averaged,
    below,
    check_schedule,
    fill,
    filter_name,
    gather,
    write_lightning,
)
from syncdiff_methods.syncdiff.model import SyncDiffModel, load_part, read_autoencoder, read_config, save_part
from syncdiff_methods.syncdiff.variants import shipped_model


@dataclass(frozen=True)
class AutoencoderOptions:
    """Not in the file: frame_size, the side of the frames that the autoencoder is for; norm_groups, of its norms."""

    frame_size: int = 256
    norm_groups: int = 32


class AutoencoderConverter(Converter):
    """A VQ autoencoder <-> the folder that `options.autoencoder` of a training config names."""

    title = "CompVis' VQ autoencoder: vq-f4, vq-f4-noattn, or the first stage of a latent-diffusion checkpoint"
    Options = AutoencoderOptions
    options: AutoencoderOptions

    def import_checkpoint(self, file: Path, folder: Path) -> None:
        """See `Converter`. Of a latent-diffusion file only the first stage is taken; loss networks are left out."""
        tensors = load_state_dict(file)
        tensors = below(tensors, FIRST_STAGE) or tensors
        config = replace(autoencoder_config(tensors, str(file)), norm_groups=self.options.norm_groups)
        model = Autoencoder(config)
        fill([first_stage("", model)], {n: t for n, t in tensors.items() if not n.startswith("loss.")}, str(file))
        folder.mkdir(parents=True, exist_ok=True)
        save_part(model, folder / "autoencoder.safetensors")
        values = {"autoencoder": asdict(config), "frame_size": self.options.frame_size}
        (folder / "autoencoder.json").write_text(json.dumps(values, indent=1) + "\n")

    def export_checkpoint(self, folder: Path, file: Path) -> None:
        """See `Converter`."""
        if not (folder / "autoencoder.json").is_file():
            model = SyncDiffModel.from_pretrained(folder).autoencoder
        else:
            model = Autoencoder(read_autoencoder(folder)[0])
            load_part(model, folder / "autoencoder.safetensors")
        write_lightning(gather([first_stage("", model)]), file)


def first_stage(prefix: str, autoencoder: Autoencoder) -> Part:
    """The autoencoder of a checkpoint below `prefix`."""
    config = autoencoder.config
    return Part(prefix, autoencoder.vq, lambda name: vq_name(name, config))


def unet_part(unet: nn.Module, config: UNetConfig) -> Part:
    """The denoising UNet of a Lightning checkpoint."""
    return Part(UNET, unet, lambda name: unet_name(name, config))


@dataclass(frozen=True)
class SyncDiffLayoutOptions:
    """What the file cannot tell: like, a shipped size (paper, pocket) or a SyncDiff directory of the same sizes;
    variant, of a shipped size ("rnd", "prv-", "np5", ...); norm_groups, of the autoencoder. average: take the moving
    averages where the file has them.
    """

    like: str = "paper"
    variant: str = "rnd+prv-"
    norm_groups: int = 32
    average: bool = True


class SyncDiffConverter(Converter):
    """SyncDiff trained in CompVis' code: bottleneck beside the UNet, AV-HuBERT as condition encoder."""

    title = "SyncDiff as a Lightning checkpoint of latent-diffusion code"
    Options = SyncDiffLayoutOptions
    options: SyncDiffLayoutOptions

    def import_checkpoint(self, file: Path, folder: Path) -> None:
        """See `Converter`. Raises WeightsError naming what differs from the variant, in one line."""
        tensors, source = load_state_dict(file), str(file)
        config = self._config(tensors, source)
        check_schedule(tensors, config.diffusion, source)
        if self.options.average and any(name.startswith("model_ema.") for name in tensors):
            tensors = averaged(tensors, source)
        model = SyncDiffModel(config)
        fill(syncdiff_parts(model), tensors, source)
        model.save_pretrained(folder)

    def export_checkpoint(self, folder: Path, file: Path) -> None:
        """See `Converter`. Online weights and moving averages are the same in the file."""
        model = SyncDiffModel.from_pretrained(folder)
        tensors = gather(syncdiff_parts(model))
        scale = torch.tensor(model.config.autoencoder.scaling_factor)
        write_lightning({**tensors, SCALE: scale}, file, model.config.diffusion)

    def _config(self, tensors: dict[str, Tensor], source: str) -> SyncDiffConfig:
        options = self.options
        if (Path(options.like) / "config.json").is_file():
            wanted, label = read_config(Path(options.like)), options.like
        else:
            wanted = shipped_model(options.like, options.variant)
            label = f"SyncDiff {options.like} {options.variant}"
        unet, channels, context = unet_config(below(tensors, UNET), source)
        if channels != wanted.condition.channels:
            raise WeightsError(
                f"{source}: the UNet takes {channels} input channels, but {label} takes {wanted.condition.channels}"
                f" ({_channels_in_words(wanted)}); name its variant with --set variant=..."
            )
        if context != wanted.audio.dim:
            raise WeightsError(
                f"{source}: the context is {context} wide, but {label} has {wanted.audio.dim} ({wanted.audio.features})"
                "; name its variant with --set variant=..."
            )
        require_same(unet, wanted.unet, ("norm_groups", "head_dim"), source, label)
        found = autoencoder_config(below(tensors, FIRST_STAGE), source)
        scale = tensors.get(SCALE)
        return replace(
            wanted,
            autoencoder=replace(
                found, norm_groups=options.norm_groups, scaling_factor=1.0 if scale is None else float(scale)
            ),
        )


def syncdiff_parts(model: SyncDiffModel) -> list[Part]:
    """Every network of SyncDiff with its official place."""
    parts = [
        unet_part(model.denoiser.unet, model.config.unet),
        first_stage(FIRST_STAGE, model.autoencoder),
        Part(AUDIO, model.audio.encoder),
    ]
    if model.denoiser.bottleneck is not None:
        parts.append(Part(BOTTLENECK, model.denoiser.bottleneck))
    if model.audio.filter is not None:
        parts.append(Part(AUDIO_FILTER, model.audio.filter, filter_name))
    return parts


def _channels_in_words(config: SyncDiffConfig) -> str:
    condition = config.condition
    parts = ["noisy 3", "masked 3"]
    if condition.identity:
        parts.append("identity 3")
    if condition.previous != "none":
        each = 1 if condition.previous == "bottleneck" else 3
        parts.append(f"previous {each} x {condition.previous_frames}")
    return ", ".join(parts)
