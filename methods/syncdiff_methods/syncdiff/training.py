"""Train SyncDiff on cached latents (paper 3.1 - 3.3, 4.3; methods.md C.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.training.task import TrainingTask
from syncdiff_methods.syncdiff.audio import AudioCondition
from syncdiff_methods.syncdiff.autoencoder import Autoencoder
from syncdiff_methods.syncdiff.config import SyncDiffConfig
from syncdiff_methods.syncdiff.denoiser import Denoiser
from syncdiff_methods.syncdiff.latents import ClipLatents, cached_latents
from syncdiff_methods.syncdiff.model import SyncDiffModel, load_part, read_autoencoder
from syncdiff_methods.syncdiff.sampling import build_scheduler

if TYPE_CHECKING:
    from diffusers import DDIMScheduler


VALIDATION_BATCHES = 8


@dataclass(frozen=True)
class SyncDiffTrainingOptions:
    """autoencoder: folder of a trained autoencoder (autoencoder.safetensors and .json), whose config replaces
    `model.autoencoder`. area_weight: weight of the error where the frame is blanked against 1 elsewhere (1 in the
    paper). previous_noise: largest standard deviation of noise added to the previous-frame latent, drawn uniformly,
    and previous_dropout: how often it is replaced by the identity frame; both teach the model to live with its own
    imperfect frames (0 in the paper). half: export float16.
    """

    model: SyncDiffConfig = field(default_factory=SyncDiffConfig)
    autoencoder: str = ""
    area_weight: float = 1.0
    previous_noise: float = 0.0
    previous_dropout: float = 0.0
    half: bool = False


class TrainedSyncDiff(nn.Module):
    """Denoiser and audio condition with the diffusion loss (paper Eq. 3)."""

    def __init__(self, options: SyncDiffTrainingOptions) -> None:
        super().__init__()
        self.options = options
        self.denoiser = Denoiser(options.model)
        self.denoiser.zero_output_layers()
        self.audio = AudioCondition(options.model.audio)
        self.scheduler: DDIMScheduler = build_scheduler(options.model.diffusion)

    def forward(
        self,
        clean: Tensor,
        masked: Tensor,
        identity: Tensor,
        previous: Tensor,
        area: Tensor,
        audio: Tensor,
        padding: Tensor,
        frame: Tensor,
        noise: Tensor,
        timestep: Tensor,
    ) -> dict[str, Tensor]:
        """clean, masked, identity, noise: (B, 3, h, w); previous: (B, NP, 3, h, w); area: (B, h, w) 0..1;
        audio: (B, T, 104) with padding (B, T) bool; frame, timestep: (B,) long.
        """
        token = self.audio.tokens_at(audio, padding, frame)
        visual = self.denoiser.visual_condition(masked, identity, previous.unbind(dim=1))
        noisy = self.scheduler.add_noise(clean, noise, timestep)
        prediction = self.denoiser(noisy, timestep, visual, token)
        error = (prediction - self._target(clean, noise, timestep)).square().mean(dim=1)
        weight = 1 + (self.options.area_weight - 1) * area
        inside = (error * area).sum() / area.sum().clamp(min=1)
        return {"loss": (error * weight).mean() / weight.mean().detach(), "mouth": inside}

    def _target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        prediction = self.options.model.diffusion.prediction
        if prediction == "epsilon":
            return noise
        if prediction == "sample":
            return clean
        return self.scheduler.get_velocity(clean, noise, timestep)  # type: ignore[no-any-return]


class SyncDiffTask(TrainingTask):
    """One random target frame of each of B random clips per step."""

    Options = SyncDiffTrainingOptions
    options: SyncDiffTrainingOptions

    def prepare(self) -> None:
        folder = Path(self.options.autoencoder)
        config, frame_size = read_autoencoder(folder)
        if frame_size != self.options.model.frame_size:
            raise UsageError(
                f"{folder}: trained on {frame_size} px frames, but options.model.frame_size is"
                f" {self.options.model.frame_size}; make them equal"
            )
        self.options = replace(self.options, model=replace(self.options.model, autoencoder=config))
        self.autoencoder = Autoencoder(config)
        load_part(self.autoencoder, folder / "autoencoder.safetensors")
        self.autoencoder.eval().requires_grad_(False).to(self.device)
        self.clips = self._latents(self.data.split)
        self.held_out = self._latents(self.data.validation_split)

    def build(self) -> nn.Module:
        return TrainedSyncDiff(self.options)

    def batch(self, seed: int, step: int, rank: int, size: int) -> Mapping[str, Tensor]:
        return self._draw(self.clips, np.random.default_rng([seed, step, rank]), size)

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """The losses on fixed draws of the held-out clips; `*_without_previous` with the identity frame in its place.

        The difference is what the previous frame tells beyond audio, masked frame and identity.
        """
        device = next(model.parameters()).device
        totals: dict[str, float] = {}
        for i in range(VALIDATION_BATCHES):
            batch = self._draw(self.held_out, np.random.default_rng([77, i]), 32)
            blind = {**batch, "previous": batch["identity"][:, None].expand_as(batch["previous"])}
            for given, suffix in ((batch, ""), (blind, "_without_previous")):
                for name, value in model(**{key: tensor.to(device) for key, tensor in given.items()}).items():
                    totals[name + suffix] = totals.get(name + suffix, 0.0) + value.item() / VALIDATION_BATCHES
        return totals

    def export(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, TrainedSyncDiff)
        whole = SyncDiffModel(self.options.model)
        whole.autoencoder.load_state_dict(self.autoencoder.state_dict())
        whole.denoiser.load_state_dict(model.denoiser.state_dict())
        whole.audio.load_state_dict(model.audio.state_dict())
        whole.save_pretrained(folder, dtype=torch.float16 if self.options.half else torch.float32)

    def _latents(self, split: str) -> list[ClipLatents]:
        cache = self.data.cache / "latents"
        clips = list(cached_latents(self.data.dataset, split, self.autoencoder, self.options.model, cache, self.device))
        if not clips:
            raise UsageError(f"split {split!r} has no clip of two frames or more with sound; nothing to train on")
        return clips

    def _draw(self, clips: list[ClipLatents], rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        chosen = [clips[i] for i in rng.integers(len(clips), size=size)]
        rows = [self._example(clip, rng) for clip in chosen]
        batch = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
        longest = max(len(clip) for clip in chosen)
        audio = torch.zeros(size, longest, chosen[0].audio.shape[1])
        padding = torch.ones(size, longest, dtype=torch.bool)
        for i, clip in enumerate(chosen):
            audio[i, : len(clip)] = clip.audio
            padding[i, : len(clip)] = False
        shape = batch["clean"].shape
        noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        timestep = torch.from_numpy(rng.integers(self.options.model.diffusion.train_steps, size=size))
        return {**batch, "audio": audio, "padding": padding, "noise": noise, "timestep": timestep}

    def _example(self, clip: ClipLatents, rng: np.random.Generator) -> dict[str, Tensor]:
        """Target t in 1..T-1, an identity frame other than t, and the NP frames before t (clamped to frame 0)."""
        t = int(rng.integers(1, len(clip)))
        other = int(rng.integers(len(clip) - 1))
        identity = clip.clean[other + (other >= t)].float()
        depth = max(1, self.options.model.condition.previous_frames)
        previous = torch.stack([clip.clean[max(0, t - 1 - k)].float() for k in range(depth)])
        if rng.random() < self.options.previous_dropout:
            previous = identity.expand_as(previous)
        spread = rng.uniform(0, self.options.previous_noise)
        previous = previous + spread * torch.from_numpy(rng.standard_normal(previous.shape, dtype=np.float32))
        if self.options.model.condition.previous == "none":
            previous = previous[:0]
        return {
            "clean": clip.clean[t].float(),
            "masked": clip.masked[t].float(),
            "identity": identity,
            "previous": previous,
            "area": clip.area[t].float(),
            "frame": torch.tensor(t),
        }
