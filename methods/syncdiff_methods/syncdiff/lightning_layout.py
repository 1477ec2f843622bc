"""The layout of CompVis' and DiffTalk's Lightning checkpoints: one flat state dict of several networks.

    model.diffusion_model.*   model.bottleneck.*         denoiser, online weights
    model_ema.*                                          its moving averages, names without dots
    first_stage_model.*                                  autoencoder
    cond_stage_model_for_*                               condition encoders
    betas, alphas_cumprod, ...                           noise schedule

Source: docs/spec/difftalk.md#checkpoints. Loss networks (`loss.*`) are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from syncdiff_bench.errors import WeightsError
from syncdiff_bench.files import replacing
from syncdiff_bench.weights.loading import check_state_dict
from syncdiff_methods.syncdiff.compvis import from_official, to_official
from syncdiff_methods.syncdiff.config import DiffusionConfig

DENOISER = "model."
UNET = "model.diffusion_model."
BOTTLENECK = "model.bottleneck."
FIRST_STAGE = "first_stage_model."
AUDIO = "cond_stage_model_for_audio."
AUDIO_FILTER = "cond_stage_model_for_audio_smooth."
LANDMARKS = "cond_stage_model_for_ldm."
EMA = "model_ema."
SCALE = "scale_factor"  # of latents, where it is not 1
EMA_COUNTERS = (EMA + "decay", EMA + "num_updates")
SCHEDULE = frozenset(
    {
        *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"),
        *("log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod"),
        *("posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2"),
    }
)
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
    """Load every part strictly, the denoiser with its online weights (give `averaged` tensors for the others).

    Raises WeightsError for tensors that are missing, of another shape, or that belong to no part.
    """
    prefixes = tuple(part.prefix for part in parts)
    known = (*prefixes, *UNREAD, EMA)
    strangers = [name for name in tensors if not name.startswith(known) and name not in SCHEDULE]
    if strangers:
        more = f" (and {len(strangers) - 1} more)" if len(strangers) > 1 else ""
        raise WeightsError(
            f"{source}: {strangers[0]}{more} belongs to no network of this model; import it as what it is"
        )
    for part in parts:
        mine = {name: value for name, value in below(tensors, part.prefix).items() if not name.startswith("loss.")}
        check_state_dict(part.module, from_official(mine, part.module, part.name_of), source)


def gather(parts: Sequence[Part]) -> dict[str, Tensor]:
    """The inverse of `fill`: every tensor under its official name."""
    return {
        part.prefix + name: tensor
        for part in parts
        for name, tensor in to_official(part.module.state_dict(), part.name_of).items()
    }


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix`, named without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def ema_name(parameter: str) -> str:
    """Where Lightning's state keeps the moving average of `model.<parameter>`: the same name without dots.

    >>> ema_name("diffusion_model.time_embed.0.weight")
    'model_ema.diffusion_modeltime_embed0weight'
    """
    return EMA + parameter.replace(".", "")


def averaged(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """All tensors, those of the denoiser (`model.*`) replaced by their moving averages.

    The names without dots are never inverted: they are built from the names of the online weights.
    Raises WeightsError where an average is missing, or belongs to no weight.
    """
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


def write_lightning(tensors: Mapping[str, Tensor], file: Path, schedule: DiffusionConfig | None = None) -> None:
    """Write a checkpoint that CompVis' code loads: official tensors, their averages and the schedule.

    Averages equal the online weights; with schedule None (an autoencoder alone) there are none.
    """
    state = {name: tensor.contiguous() for name, tensor in tensors.items()}
    if schedule is not None:
        online = below(state, DENOISER)
        counters = {EMA_COUNTERS[0]: torch.tensor(0.9999), EMA_COUNTERS[1]: torch.tensor(0, dtype=torch.int32)}
        state |= schedule_buffers(schedule) | counters | {ema_name(name): value for name, value in online.items()}
    with replacing(file) as partial:
        torch.save({"state_dict": state, "epoch": 0, "global_step": 0}, partial)
