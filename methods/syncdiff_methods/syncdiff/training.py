"""Train SyncDiff on cached latents (paper 3.1 - 3.3, 4.3; docs/spec/syncdiff.md#training).

A step runs the UNet and the trained layers of the audio condition; what is constant comes from `latents`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from syncdiff_bench.errors import UsageError
from syncdiff_methods.syncdiff.audio import AudioCondition
from syncdiff_methods.syncdiff.config import SyncDiffConfig
from syncdiff_methods.syncdiff.denoiser import Denoiser, zero_output_layers
from syncdiff_methods.syncdiff.encoder_weights import fill_encoder
from syncdiff_methods.syncdiff.latent_task import LatentTask
from syncdiff_methods.syncdiff.latents import ClipLatents, activation_shape, audio_cache, latents_cache, read_clips
from syncdiff_methods.syncdiff.loss import DiffusionLoss
from syncdiff_methods.syncdiff.model import SyncDiffModel

if TYPE_CHECKING:
    from syncdiff_bench.training.cache import TensorCache

VALIDATION_BATCHES = 8
PROBED_FRAMES = 75  # length of the clips that an estimate assumes


@dataclass(frozen=True)
class SyncDiffTrainingOptions:
    """autoencoder: folder of a trained autoencoder (autoencoder.safetensors and .json), or a SyncDiff model (a
        directory, a shipped name) whose autoencoder is taken; its config replaces `model.autoencoder`.
    encoder: audio encoder to start from, as `encoder_weights.fill_encoder` takes it; frozen layers need one.
    area_weight: weight of the error where the frame is blanked against 1 elsewhere (1 in the paper).
    previous_noise: largest standard deviation of noise added to the previous-frame latent, drawn uniformly, and
        previous_dropout: how often it is replaced by the identity frame; both teach the model to live with its own
        imperfect frames (0 in the paper).
    half: export float16.
    """

    model: SyncDiffConfig = field(default_factory=SyncDiffConfig)
    autoencoder: str = ""
    encoder: str = ""
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
        zero_output_layers(self.denoiser.unet)
        self.audio = AudioCondition(options.model.audio)
        self.diffusion_loss = DiffusionLoss(options.model.diffusion, options.area_weight)

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
        audio: (B, T, ...) of `AudioCondition.frozen_activations` with padding (B, T) bool; frame, timestep: (B,) long.
        """
        token = self.audio.tokens_at(audio, padding, frame)
        visual = self.denoiser.visual_condition(masked, identity, previous.unbind(dim=1))
        noisy = self.diffusion_loss.noisy(clean, noise, timestep)
        prediction = self.denoiser(noisy, timestep, visual, token)
        return self.diffusion_loss(prediction, clean, noise, timestep, area)


class SyncDiffTask(LatentTask):
    """One random target frame of each of B random clips per step."""

    Options = SyncDiffTrainingOptions
    options: SyncDiffTrainingOptions

    def build(self) -> nn.Module:
        module = TrainedSyncDiff(self.options)
        self._start(module.audio)
        return module

    def averaged(self, model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        """UNet and bottleneck, not the audio modules (docs/spec/syncdiff.md#training)."""
        return ((name, p) for name, p in super().averaged(model) if name.startswith("denoiser."))

    def batch(self, seed: int, step: int, rank: int, size: int) -> Mapping[str, Tensor]:
        return self._draw(self.clips, np.random.default_rng([seed, step, rank]), size)[1]

    def describe(self, seed: int, step: int, rank: int, size: int) -> Sequence[str]:
        chosen, batch = self._draw(self.clips, np.random.default_rng([seed, step, rank]), size)
        return [
            f"clip {clip.clip_id} frame {frame}" for clip, frame in zip(chosen, batch["frame"].tolist(), strict=True)
        ]

    def probe_batch(self, size: int) -> Mapping[str, Tensor]:
        config = self.options.model
        side, rng = config.latent_size, np.random.default_rng(0)
        latents = torch.from_numpy(rng.standard_normal((PROBED_FRAMES, 3, side, side), dtype=np.float32))
        sound = rng.standard_normal((PROBED_FRAMES, *activation_shape(config.audio)), dtype=np.float32)
        area = torch.full((PROBED_FRAMES, side, side), 128, dtype=torch.uint8)
        clip = ClipLatents("probe", latents, latents, area, torch.from_numpy(sound))
        return self._draw([clip], rng, size)[1]

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """The losses on fixed draws of the held-out clips; `*_without_previous` with the identity frame in its place.

        The difference is what the previous frame tells beyond audio, masked frame and identity.
        """
        device = next(model.parameters()).device
        totals: dict[str, float] = {}
        for i in range(VALIDATION_BATCHES):
            _, batch = self._draw(self.held_out, np.random.default_rng([77, i]), 32)
            blind = {**batch, "previous": batch["identity"][:, None].expand_as(batch["previous"])}
            for given, suffix in ((batch, ""), (blind, "_without_previous")):
                for name, value in model(**{key: tensor.to(device) for key, tensor in given.items()}).items():
                    totals[name + suffix] = totals.get(name + suffix, 0.0) + value.item() / VALIDATION_BATCHES
        return totals

    def samples(self, model: nn.Module) -> NDArray[Any]:
        from syncdiff_methods.syncdiff.previews import preview

        device = next(model.parameters()).device
        whole = self._whole(model).to(device)
        picture = preview(whole, self.data.dataset, self.held_out, str(device))
        self.autoencoder.to("cpu")
        return picture

    def export(self, model: nn.Module, folder: Path) -> None:
        dtype = torch.float16 if self.options.half else torch.float32
        self._whole(model).save_pretrained(folder, dtype=dtype)

    @cached_property
    def _frozen_audio(self) -> AudioCondition:
        """The audio condition that training starts from; of it the caches use what stays so."""
        condition = AudioCondition(self.options.model.audio).eval().requires_grad_(False)
        self._start(condition)
        return condition

    def _whole(self, model: nn.Module) -> SyncDiffModel:
        """The trained networks and the autoencoder as one model, without a copy of any."""
        assert isinstance(model, TrainedSyncDiff)
        with torch.device("meta"):
            whole = SyncDiffModel(self.options.model)
        whole.autoencoder, whole.denoiser, whole.audio = self.autoencoder, model.denoiser, model.audio
        return whole.eval()

    def _start(self, condition: AudioCondition) -> None:
        """Fill the audio encoder, unless its tensors have no storage: an estimate needs no weights."""
        audio = self.options.model.audio
        if isinstance(next(condition.parameters()), FakeTensor):
            return
        if self.options.encoder:
            fill_encoder(condition, self.options.encoder)
        elif audio.features == "avhubert" and audio.frozen_layers:
            raise UsageError(
                f"options.model.audio.frozen_layers is {audio.frozen_layers}, but options.encoder names no weights for"
                " them; set it to an AV-HuBERT checkpoint or model, or frozen_layers = 0"
            )

    def caches_of(self, split: str) -> tuple[TensorCache, TensorCache]:
        data, model = self.data, self.options.model
        return (
            latents_cache(
                data.dataset, split, self.autoencoder, model.frame_size, model.condition, data.cache, self.device
            ),
            audio_cache(data.dataset, split, self._frozen_audio, data.cache, self.device),
        )

    def read_clips(self, split: str) -> list[ClipLatents]:
        caches = self.caches_of(split)
        for cache in caches:
            cache.complete()
        for module in (self.autoencoder, self._frozen_audio):
            module.to("cpu")
        clips = read_clips(*caches)
        if not clips:
            raise UsageError(f"split {split!r} has no clip of two frames or more with sound; nothing to train on")
        return clips

    def _draw(
        self, clips: Sequence[ClipLatents], rng: np.random.Generator, size: int
    ) -> tuple[list[ClipLatents], dict[str, Tensor]]:
        """Clips of a batch, and the batch."""
        chosen = [clips[i] for i in rng.integers(len(clips), size=size)]
        rows = [self._example(clip, rng) for clip in chosen]
        batch = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
        longest = max(len(clip) for clip in chosen)
        audio = torch.zeros(size, longest, *chosen[0].audio.shape[1:])
        padding = torch.ones(size, longest, dtype=torch.bool)
        for i, clip in enumerate(chosen):
            audio[i, : len(clip)] = clip.audio
            padding[i, : len(clip)] = False
        shape = batch["clean"].shape
        noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        timestep = torch.from_numpy(rng.integers(self.options.model.diffusion.train_steps, size=size))
        return chosen, {**batch, "audio": audio, "padding": padding, "noise": noise, "timestep": timestep}

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
            "area": clip.area[t].float() / 255,
            "frame": torch.tensor(t),
        }
