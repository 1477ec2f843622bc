"""Distil a finished SyncDiff to one, two or four steps: consistency distillation, LCM's (Luo et al. 2023).

A step draws an example as SyncDiff's training does, noises it to one of 50 timesteps, lets the teacher take one DDIM
step of 20 timesteps towards the image, and asks that the student say at the first point what its own moving average,
the target, says at the second (docs/spec/syncdiff.md#few-steps). There is no classifier-free guidance, for SyncDiff
has none. Audio condition and autoencoder are the teacher's and stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import options_from_values
from syncdiff_bench.training.loader import read_plan
from syncdiff_methods.syncdiff.audio import AudioCondition
from syncdiff_methods.syncdiff.beyond.consistency import (
    SKIP,
    check_consistency,
    consistency_scheduler,
    consistent,
    ddim_step,
)
from syncdiff_methods.syncdiff.config import DiffusionConfig, SyncDiffConfig
from syncdiff_methods.syncdiff.model import Denoiser, SyncDiffModel
from syncdiff_methods.syncdiff.sampling import FAST_STEPS, FrameNoise, build_sampler, denoise
from syncdiff_methods.syncdiff.training import SyncDiffTask, SyncDiffTrainingOptions

if TYPE_CHECKING:
    from syncdiff_bench.training.cache import TensorCache
    from syncdiff_bench.training.task import TrainingData

HUBER = 0.001  # c of sqrt(d^2 + c^2) - c, as in LCM's training code
VARIANT = "few-step"


@dataclass(frozen=True)
class DistillationOptions(SyncDiffTrainingOptions):
    """Options of a training; `model` is the teacher's; neither it, nor `scheduled` or `sync_weight` can be given.

    teacher: a SyncDiff model (a directory, a shipped name), whichever its prediction.
    autoencoder, encoder: the teacher's own where not given; as its training named them, its caches serve here too where
        it was exported as float16.
    steps: of the exported model's sampler, 1 to 8; one training serves all.
    target_decay: of the target's moving average, at every step.
    """

    teacher: str = ""
    steps: int = 4
    target_decay: float = 0.95


class Seen(NamedTuple):
    """What the three networks see beside the noisy latents, as `TrainedSyncDiff.forward` has it. token: (B, dim)."""

    masked: Tensor
    identity: Tensor
    previous: Tensor
    mask: Tensor
    token: Tensor
    level: Tensor | float

    def by(self, network: Denoiser, noisy: Tensor, timestep: Tensor) -> Tensor:
        """What a network says of noisy latents: (B, 3, h, w) float32."""
        previous = self.previous.unbind(dim=1)
        visual = network.visual_condition(self.masked, self.identity, previous)
        context = network.context(self.token, previous, self.mask)
        return network(noisy, timestep, visual, context, self.level).float()  # type: ignore[no-any-return]


class DistilledSyncDiff(nn.Module):
    """Student (`denoiser`), its moving average (`target`) and teacher, alike at first; with the consistency loss."""

    alpha_bar: Tensor

    def __init__(self, options: DistillationOptions) -> None:
        super().__init__()
        self.options = options
        self.denoiser = Denoiser(options.model)
        self.target = Denoiser(options.model).requires_grad_(False)
        self.teacher = Denoiser(options.model).requires_grad_(False)
        self.audio = AudioCondition(options.model.audio).requires_grad_(False)
        self.scheduler = consistency_scheduler(options.model.diffusion)
        self.register_buffer("alpha_bar", self.scheduler.alphas_cumprod.clone(), persistent=False)

    def start(self, teacher: SyncDiffModel) -> None:
        """Take the teacher's weights."""
        for network in (self.denoiser, self.target, self.teacher):
            network.load_state_dict(teacher.denoiser.state_dict())
        self.audio.load_state_dict(teacher.audio.state_dict())

    def follow(self) -> None:
        """Move the target a step towards the student."""
        averaged, current = list(self.target.parameters()), list(self.denoiser.parameters())
        get_ema_multi_avg_fn(self.options.target_decay)(averaged, current, 0)  # type: ignore[no-untyped-call]

    def forward(
        self,
        clean: Tensor,
        masked: Tensor,
        identity: Tensor,
        previous: Tensor,
        mask: Tensor,
        audio: Tensor,
        padding: Tensor,
        frame: Tensor,
        noise: Tensor,
        timestep: Tensor,
        level: Tensor | float = 0.0,
    ) -> dict[str, Tensor]:
        """The consistency loss of a batch, shaped as `TrainedSyncDiff.forward` takes it; and `mouth`, that of the mask.

        timestep: (B,) long in 0..999; the timesteps of each 20 stand for the last of them.
        """
        first = timestep - timestep % SKIP + SKIP - 1
        second = (first - SKIP).clamp(min=0)  # below 19 there are 19 timesteps left
        kept, kept_next = (self.alpha_bar[t].reshape(-1, 1, 1, 1) for t in (first, second))
        with torch.no_grad():
            seen = Seen(masked, identity, previous, mask, self.audio.tokens_at(audio, padding, frame), level)
            noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
            slope = seen.by(self.teacher, noisy, first)
            nearer = ddim_step(self.options.model.diffusion.prediction, slope, noisy, kept, kept_next)
            said = self._end(self.target, nearer, second, kept_next, seen)
        answer = self._end(self.denoiser, noisy, first, kept, seen)
        error = ((answer - said).square() + HUBER**2).sqrt().mean(dim=1) - HUBER
        weight = 1 + (self.options.area_weight - 1) * mask
        inside = (error * mask).sum() / mask.sum().clamp(min=1)
        return {"loss": (error * weight).mean() / weight.mean().detach(), "mouth": inside}

    def _end(self, network: Denoiser, noisy: Tensor, timestep: Tensor, kept: Tensor, seen: Seen) -> Tensor:
        prediction = seen.by(network, noisy, timestep)
        return consistent(self.scheduler, prediction, noisy, timestep.reshape(-1, 1, 1, 1), kept)


class DistillationTask(SyncDiffTask):
    """SyncDiff's examples and caches; see the module.

    Raises UsageError where there is no teacher, or it is distilled itself. A teacher that `train` will make under that
    name may still be missing while a task is only asked what it costs: `caches` raises then.
    """

    Options = DistillationOptions
    options: DistillationOptions
    incidental = frozenset(("validation_batches", "steps"))

    def __init__(self, options: DistillationOptions, data: TrainingData, device: str = "cpu") -> None:
        for name in ("model", "scheduled", "sync_weight"):
            if getattr(options, name) != getattr(DistillationOptions(), name):
                raise UsageError(f"options.{name}: a student is as its teacher is; leave it out, set options.teacher")
        self.missing = ""
        autoencoder = encoder = options.teacher
        try:
            model = teacher_config(options.teacher)
        except UsageError as error:
            made_by = training_of(options.teacher)
            if made_by is None or Path(options.teacher).exists():
                raise
            self.missing = str(error)
            model, autoencoder, encoder = made_by.model, made_by.autoencoder, made_by.encoder
        check_consistency(few_steps(model.diffusion, options.steps))
        autoencoder, encoder = options.autoencoder or autoencoder, options.encoder or encoder
        try:
            options = replace(options, model=model, autoencoder=autoencoder, encoder=encoder)
        except ValueError as error:
            raise UsageError(f"{options.teacher} as teacher: {error}") from None
        super().__init__(options, data, device)
        if self.options.model.autoencoder != model.autoencoder:
            raise UsageError(
                f"{self.options.autoencoder}: not the autoencoder of the teacher {options.teacher}; leave"
                " options.autoencoder out, or name the one that the teacher was trained with"
            )

    def caches(self) -> Sequence[TensorCache]:
        if self.missing:
            raise UsageError(self.missing)
        return super().caches()

    def build(self) -> nn.Module:
        module = DistilledSyncDiff(self.options)
        if not isinstance(next(module.parameters()), FakeTensor):  # an estimate needs no weights
            module.start(SyncDiffModel.from_pretrained(self.options.teacher))
        return module

    def between(self, model: nn.Module, step: int) -> None:
        assert isinstance(model, DistilledSyncDiff)
        model.follow()

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """The loss, `*_from_noise` at the last timestep; and how far one step is from the teacher's answer.

        `one_step`: root mean square distance in the masked cells of 32 examples, both begun with the same noise.
        """
        assert isinstance(model, DistilledSyncDiff)
        last = self.options.model.diffusion.train_steps - 1
        figures = self.losses(
            model, "_from_noise", lambda batch: {"timestep": torch.full_like(batch["timestep"], last)}
        )
        return {**figures, "one_step": self._distance(model)}

    def whole(self, model: nn.Module) -> Any:
        """As a model that says how it is sampled."""
        whole = super().whole(model)
        diffusion = few_steps(self.options.model.diffusion, self.options.steps)
        whole.config = replace(self.options.model, variant=VARIANT, diffusion=diffusion)
        return whole

    def _distance(self, model: DistilledSyncDiff) -> float:
        batch = self.draw(self.held_out, np.random.default_rng([77, 0]), 32)[1]
        batch = {name: tensor.to(next(model.parameters()).device) for name, tensor in batch.items()}
        token = model.audio.tokens_at(batch["audio"], batch["padding"], batch["frame"])
        masked, identity, previous, mask = (batch[name] for name in ("masked", "identity", "previous", "mask"))
        seen = Seen(masked, identity, previous, mask, token, batch.get("level", 0.0))

        def sampled(network: Denoiser, diffusion: DiffusionConfig) -> Tensor:
            return denoise(
                partial(seen.by, network),
                build_sampler(diffusion),
                [FrameNoise(0, "validation", i) for i in range(len(token))],
                batch["clean"].shape[1:],
                steps=diffusion.steps,
                device=token.device,
            )

        diffusion = replace(self.options.model.diffusion, sampler="dpmsolver++", steps=FAST_STEPS, eta=0.0)
        distance = sampled(model.teacher, diffusion) - sampled(model.denoiser, few_steps(diffusion, 1))
        error = distance.square().mean(dim=1)
        return float(((error * mask).sum() / mask.sum().clamp(min=1)).sqrt())


def few_steps(diffusion: DiffusionConfig, steps: int) -> DiffusionConfig:
    """The sampler of a student."""
    return replace(diffusion, sampler="consistency", steps=steps, eta=0.0)


def teacher_config(teacher: str) -> SyncDiffConfig:
    """Raises UsageError where there is no such model, or it is a student itself."""
    try:
        SyncDiffModel.locate(teacher)
    except UsageError:
        folder = Path(teacher)
        size = folder.parent.name if folder.name == "model" else "paper"  # as `train` names its folders
        raise UsageError(
            f"there is no teacher {teacher!r}; train one (`syncdiff-bench train syncdiff/{size}`), or name another"
            " SyncDiff model as options.teacher"
        ) from None
    config: SyncDiffConfig = SyncDiffModel.read_config(teacher)
    if config.diffusion.sampler == "consistency":
        raise UsageError(f"options.teacher: {teacher} is distilled already; name the model that it was made of")
    return config


def training_of(teacher: str) -> SyncDiffTrainingOptions | None:
    """Options of the shipped config that makes the teacher, where it is called as `train` calls its folders."""
    folder = Path(teacher)
    try:
        plan = read_plan(f"syncdiff/{folder.parent.name}") if folder.name == "model" else None
    except UsageError:
        return None
    return None if plan is None else options_from_values(SyncDiffTrainingOptions, plan.options, plan.name)
