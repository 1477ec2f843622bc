"""Checkpoints of CompVis' code: the VQ autoencoder alone, and Lightning files of SyncDiff (and of DiffTalk).

A Lightning file is one flat state dict of several networks:

    model.diffusion_model.*   model.bottleneck.*         denoiser, online weights
    model_ema.*                                          its EMA, names without dots
    first_stage_model.*                                  autoencoder
    cond_stage_model_for_*                               condition encoders
    betas, alphas_cumprod, ...                           noise schedule

Source: docs/spec/difftalk.md#checkpoints. Loss networks (`loss.*`) are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from syncdiff_bench.conversion import Converter
from syncdiff_bench.errors import WeightsError
from syncdiff_bench.files import replacing
from syncdiff_bench.weights.loading import check_state_dict, load_tensors
from syncdiff_methods.syncdiff import compvis
from syncdiff_methods.syncdiff.config import DiffusionConfig, SyncDiffConfig, UNetConfig, shipped_config
from syncdiff_methods.syncdiff.model import Autoencoder, SyncDiffModel, load_autoencoder, save_autoencoder

DENOISER = "model."
UNET = "model.diffusion_model."
BOTTLENECK = "model.bottleneck."
TEMPORAL = "model.temporal."  # no official place: beyond the paper
FIRST_STAGE = "first_stage_model."
AUDIO = "cond_stage_model_for_audio."
AUDIO_FILTER = "cond_stage_model_for_audio_smooth."
LANDMARKS = "cond_stage_model_for_ldm."
EMA = "model_ema."
SCALE = "scale_factor"  # of latents, where it is not 1
EMA_COUNTERS = (EMA + "decay", EMA + "num_updates")
UNREAD = ("loss.", FIRST_STAGE + "loss.", "logvar", "lvlb_weights", SCALE)


def unchanged(name: str) -> str:
    """The naming of a network that is called the same here and there."""
    return name


def filter_name(name: str) -> str:
    """Official name of a tensor of `audio.TemporalFilter`."""
    return name.replace("attention_conv.", "attentionConvNet.").replace("attention_net.", "attentionNet.")


@dataclass(frozen=True, eq=False)
class Part:
    """One network of a checkpoint. name_of: our tensor name -> the official one, both without prefix."""

    prefix: str
    module: nn.Module
    name_of: Callable[[str], str] = unchanged


def fill(parts: Sequence[Part], tensors: Mapping[str, Tensor], source: str) -> None:
    """Load every part strictly, the denoiser with its online weights (give those of `with_ema` for the others).

    Raises WeightsError for tensors that are missing, of another shape, or that belong to no part.
    """
    prefixes = tuple(part.prefix for part in parts)
    known, schedule = (*prefixes, *UNREAD, EMA), schedule_buffers(DiffusionConfig()).keys()
    strangers = [name for name in tensors if not name.startswith(known) and name not in schedule]
    if strangers:
        more = f" (and {len(strangers) - 1} more)" if len(strangers) > 1 else ""
        raise WeightsError(
            f"{source}: {strangers[0]}{more} belongs to no network of this model; import it as what it is"
        )
    for part in parts:
        mine = {name: value for name, value in below(tensors, part.prefix).items() if not name.startswith("loss.")}
        check_state_dict(part.module, compvis.from_official(mine, part.module, part.name_of), source)


def gather(parts: Sequence[Part]) -> dict[str, Tensor]:
    """The inverse of `fill`: every tensor under its official name."""
    return {
        part.prefix + name: tensor
        for part in parts
        for name, tensor in compvis.to_official(part.module.state_dict(), part.name_of).items()
    }


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix`, named without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def ema_name(parameter: str) -> str:
    """Where Lightning's state keeps the EMA of `model.<parameter>`: the same name without dots.

    >>> ema_name("diffusion_model.time_embed.0.weight")
    'model_ema.diffusion_modeltime_embed0weight'
    """
    return EMA + parameter.replace(".", "")


def with_ema(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """All tensors, those of the denoiser (`model.*`) replaced by their EMA; as they are where the file has none.

    The names without dots are never inverted: they are built from the names of the online weights.
    Raises WeightsError where an average is missing, or belongs to no weight.
    """
    if not any(name.startswith(EMA) for name in tensors):
        return dict(tensors)
    online = below(tensors, DENOISER)
    expected = {ema_name(name): name for name in online}
    found = {name for name in tensors if name.startswith(EMA)} - set(EMA_COUNTERS)
    for name in sorted(found ^ expected.keys()):
        what = "has no average in it" if name in expected else "averages no weight in it"
        raise WeightsError(f"{source}: {expected.get(name, name)} {what}; the file is cut or edited, copy it again")
    return {**tensors, **{DENOISER + plain: tensors[name] for name, plain in expected.items()}}


def schedule_buffers(config: DiffusionConfig) -> dict[str, Tensor]:
    """The twelve DDPM buffers that Lightning saves beside the networks (docs/spec/ldm.md#schedule), float32.

    beta_t is scaled linear; the posterior ones belong to q(x_{t-1} | x_t, x_0) with v_posterior = 0.
    """
    betas = torch.linspace(config.beta_start**0.5, config.beta_end**0.5, config.train_steps, dtype=torch.float64) ** 2
    alphas = 1 - betas
    cumulative = alphas.cumprod(0)
    previous = torch.cat([torch.ones(1, dtype=torch.float64), cumulative[:-1]])
    posterior = betas * (1 - previous) / (1 - cumulative)
    buffers = {
        "betas": betas,
        "alphas_cumprod": cumulative,
        "alphas_cumprod_prev": previous,
        "sqrt_alphas_cumprod": cumulative.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - cumulative).sqrt(),
        "log_one_minus_alphas_cumprod": (1 - cumulative).log(),
        "sqrt_recip_alphas_cumprod": cumulative.rsqrt(),
        "sqrt_recipm1_alphas_cumprod": (1 / cumulative - 1).sqrt(),
        "posterior_variance": posterior,
        "posterior_log_variance_clipped": posterior.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * previous.sqrt() / (1 - cumulative),
        "posterior_mean_coef2": (1 - previous) * alphas.sqrt() / (1 - cumulative),
    }
    return {name: value.float() for name, value in buffers.items()}


def check_schedule(tensors: Mapping[str, Tensor], config: DiffusionConfig, source: str) -> None:
    """Raises WeightsError where a file was trained with another noise schedule."""
    for name, expected in schedule_buffers(config).items():
        known = tensors.get(name)
        if known is not None and not (
            known.shape == expected.shape and torch.allclose(known.float(), expected, rtol=1e-4, atol=1e-6)
        ):
            raise WeightsError(
                f"{source}: {name} is not that of {config.train_steps} steps from {config.beta_start} to"
                f" {config.beta_end}; it was trained with another noise schedule, which is not supported"
            )


def read_parts(
    parts: Sequence[Part], tensors: Mapping[str, Tensor], schedule: DiffusionConfig, source: str, *, ema: bool
) -> None:
    """Load every part, the denoiser with its EMA weights where wanted. Raises WeightsError for another schedule."""
    check_schedule(tensors, schedule, source)
    fill(parts, with_ema(tensors, source) if ema else tensors, source)


def write_lightning(tensors: Mapping[str, Tensor], file: Path, schedule: DiffusionConfig | None = None) -> None:
    """Write a checkpoint that CompVis' code loads: official tensors, their EMA and the schedule.

    The EMA equals the online weights; with schedule None (an autoencoder alone) there are none.
    """
    state = {name: tensor.contiguous() for name, tensor in tensors.items()}
    if schedule is not None:
        online = below(state, DENOISER)
        counters = {EMA_COUNTERS[0]: torch.tensor(0.9999), EMA_COUNTERS[1]: torch.tensor(0, dtype=torch.int32)}
        state |= schedule_buffers(schedule) | counters | {ema_name(name): value for name, value in online.items()}
    with replacing(file) as partial:
        torch.save({"state_dict": state, "epoch": 0, "global_step": 0}, partial)


# -------------------------------------------------------------------------------------- converters


@dataclass(frozen=True)
class AutoencoderOptions:
    """What the file cannot tell.

    frame_size: side of the frames that the autoencoder is for.
    norm_groups: of its norms.
    """

    frame_size: int = 256
    norm_groups: int = 32


class AutoencoderConverter(Converter):
    """A VQ autoencoder <-> the folder that `options.autoencoder` of a training config names."""

    title = "CompVis' VQ autoencoder: vq-f4, vq-f4-noattn, or the first stage of a latent-diffusion checkpoint"
    Options = AutoencoderOptions
    options: AutoencoderOptions

    def import_checkpoint(self, file: Path, folder: Path) -> None:
        """See `Converter`. Of a latent-diffusion file only the first stage is taken; loss networks are left out."""
        tensors = load_tensors(file)
        tensors = below(tensors, FIRST_STAGE) or tensors
        config = replace(compvis.autoencoder_config(tensors, str(file)), norm_groups=self.options.norm_groups)
        model = Autoencoder(config)
        fill([first_stage("", model)], {n: t for n, t in tensors.items() if not n.startswith("loss.")}, str(file))
        save_autoencoder(model, config, self.options.frame_size, folder)

    def export_checkpoint(self, folder: Path, file: Path) -> None:
        """See `Converter`."""
        write_lightning(gather([first_stage("", load_autoencoder(folder)[0])]), file)


def first_stage(prefix: str, autoencoder: Autoencoder) -> Part:
    """The autoencoder of a checkpoint below `prefix`."""
    config = autoencoder.config
    return Part(prefix, autoencoder.vq, lambda name: compvis.vq_name(name, config))


def unet_part(unet: nn.Module, config: UNetConfig) -> Part:
    """The denoising UNet of a Lightning checkpoint."""
    return Part(UNET, unet, lambda name: compvis.unet_name(name, config))


@dataclass(frozen=True)
class SyncDiffLayoutOptions:
    """What the file cannot tell.

    like: a shipped size (paper, pocket) or a SyncDiff directory of the same sizes.
    variant: of a shipped size ("rnd", "prv-", "np5", ...).
    norm_groups: of the autoencoder.
    average: take the EMA weights where the file has them.
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
        tensors, source = load_tensors(file), str(file)
        config = self._config(tensors, source)
        model = SyncDiffModel(config)
        read_parts(syncdiff_parts(model), tensors, config.diffusion, source, ema=self.options.average)
        model.save_pretrained(folder)

    def export_checkpoint(self, folder: Path, file: Path) -> None:
        """See `Converter`. Online weights and their EMA are the same in the file."""
        model = SyncDiffModel.from_pretrained(folder)
        tensors = gather(syncdiff_parts(model))
        scale = torch.tensor(model.config.autoencoder.scaling_factor)
        write_lightning({**tensors, SCALE: scale}, file, model.config.diffusion)

    def _config(self, tensors: dict[str, Tensor], source: str) -> SyncDiffConfig:
        options = self.options
        wanted: SyncDiffConfig
        if (Path(options.like) / "config.json").is_file():
            wanted, label = SyncDiffModel.read_config(Path(options.like).absolute()), options.like
        else:
            wanted = shipped_config(options.like, options.variant)
            label = f"SyncDiff {options.like} {options.variant}"
        unet, channels, context = compvis.unet_config(below(tensors, UNET), source)
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
        compvis.require_same(unet, wanted.unet, ("norm_groups", "head_dim"), source, label)
        found = compvis.autoencoder_config(below(tensors, FIRST_STAGE), source)
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
    if model.denoiser.temporal is not None:
        parts.append(Part(TEMPORAL, model.denoiser.temporal))
    if model.audio.filter is not None:
        parts.append(Part(AUDIO_FILTER, model.audio.filter, filter_name))
    return parts


def _channels_in_words(config: SyncDiffConfig) -> str:
    condition = config.condition
    parts = ["noisy 3", "masked 3"]
    if condition.identity:
        parts.append("identity 3")
    if condition.concatenated:
        parts.append(f"previous {3 if condition.previous == 'full' else 1} x {condition.concatenated}")
    return ", ".join(parts)
