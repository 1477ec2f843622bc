"""Train SyncDiff on cached latents (paper 3.1 - 3.3, 4.3; docs/spec/syncdiff.md#training).

A step runs the UNet and the trained layers of the audio condition; what is constant comes from `latents`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from syncdiff_bench.errors import UsageError
from syncdiff_bench.training.initialisation import initialise_by_name
from syncdiff_bench.weights.catalog import installed
from syncdiff_bench.weights.loading import check_state_dict, load_tensors
from syncdiff_methods.clip_task import stacked
from syncdiff_methods.syncdiff.audio import AudioCondition
from syncdiff_methods.syncdiff.beyond import scheduled, sync_loss
from syncdiff_methods.syncdiff.config import SyncDiffConfig
from syncdiff_methods.syncdiff.latents import ClipLatents, DiffusionLoss, LatentTask, activation_shape, audio_cache
from syncdiff_methods.syncdiff.model import Denoiser, SyncDiffModel, zero_output_layers
from syncdiff_methods.syncdiff.sampling import ClipConditions, sample_clips
from syncdiff_methods.wav2lip.expert import SyncExpertModel

if TYPE_CHECKING:
    from syncdiff_bench.training.cache import TensorCache

ENCODER = "encoder.safetensors"  # of the folder that `encoder_training` makes
# What AV-HuBERT's files hold beside the audio path: the video front-end, and what only pre-training reads.
UNREAD = ("feature_extractor_video.", "mask_emb", "label_embs_concat")


@dataclass(frozen=True)
class SyncDiffTrainingOptions(sync_loss.SyncOptions):
    """Options of a training; those of a sync loss are `SyncOptions`.

    autoencoder: folder of a trained autoencoder (autoencoder.safetensors and .json), or a SyncDiff model (a directory,
        a shipped name) whose autoencoder is taken; its config replaces `model.autoencoder`.
    encoder: audio encoder to start from, as `fill_encoder` takes it; frozen layers need one.
    area_weight: weight of the error where the frame is masked against 1 elsewhere (1 in the paper).
    previous_noise: largest standard deviation of noise added to the previous-frame latent, drawn uniformly (0 in the
        paper); it teaches the model to live with its own imperfect frames, as does
    previous_dropout: how often the previous frame is replaced by the identity frame (0 in the paper).
    scheduled: how often it is the model's own estimate (never in the paper).
    half: export float16.
    validation_batches: of 32 held-out examples each, of which a validation is the mean.
    """

    model: SyncDiffConfig = field(default_factory=SyncDiffConfig)
    autoencoder: str = ""
    encoder: str = ""
    area_weight: float = 1.0
    previous_noise: float = 0.0
    previous_dropout: float = 0.0
    scheduled: scheduled.ScheduledSampling = field(default_factory=scheduled.ScheduledSampling)
    half: bool = False
    validation_batches: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.scheduled.check(self.model.condition)
        if self.model.condition.previous_level and not self.previous_noise:
            raise ValueError(
                "model.condition.previous_level tells the level of noise, and previous_noise is 0; set previous_noise"
                " = 0.3, or previous_level = false"
            )
        if self.model.diffusion.sampler == "consistency":
            raise ValueError("model.diffusion.sampler=consistency needs a distillation (trainer syncdiff-distillation)")


class TrainedSyncDiff(nn.Module):
    """Denoiser and audio condition with the diffusion loss (paper Eq. 3)."""

    def __init__(self, options: SyncDiffTrainingOptions) -> None:
        super().__init__()
        self.options = options
        self.denoiser = Denoiser(options.model)
        self.audio = AudioCondition(options.model.audio)
        initialise_by_name(self)
        nn.init.zeros_(self.denoiser.unet.conv_in.bias)  # its spread would hang on the number of inputs
        if self.denoiser.unet.class_embedding is not None:
            for parameter in self.denoiser.unet.class_embedding.linear_2.parameters():
                nn.init.zeros_(parameter)  # starts as one that is told nothing
        zero_output_layers(self.denoiser.unet)
        self.diffusion_loss = DiffusionLoss(options.model.diffusion, options.area_weight)
        self.sync_loss = sync_loss.SyncLoss(options, options.model.autoencoder) if options.sync_weight else None

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
        **more: Tensor,
    ) -> dict[str, Tensor]:
        """The losses of a batch.

        clean, masked, identity, noise: (B, 3, h, w).
        previous: (B, NP, 3, h, w).
        mask: (B, h, w) in 0..1.
        audio: (B, T, ...) of `AudioCondition.frozen_activations`; padding: (B, T) bool.
        frame, timestep: (B,) long.
        level: (B,) standard deviation of the noise on `previous`, of a model that is told it.
        more: what own estimates of previous frames take, of `scheduled.of_rows`, without whose rows there are none; and
            `sync_loss.window_batch`, where there is a sync loss.
        """
        if scheduled.ROWS in more:
            rows, seen = more[scheduled.ROWS], (more["before_masked"], more["before_previous"])

            def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
                masked, previous = seen
                heard = audio[rows], padding[rows], frame[rows] - 1
                return self.predict(noisy, timestep, masked, identity[rows], previous, mask[rows], *heard)

            previous = scheduled.with_estimates(previous, more, predict, self.diffusion_loss)
        noisy = self.diffusion_loss.noisy(clean, noise, timestep)
        prediction = self.predict(noisy, timestep, masked, identity, previous, mask, audio, padding, frame, level)
        losses = self.diffusion_loss(prediction, clean, noise, timestep, mask)
        if self.sync_loss is None:
            return losses
        found = self.sync_loss(more, self.predict, self.diffusion_loss)
        return {**losses, **found, "loss": losses["loss"] + self.options.sync_weight * found["sync"]}

    def predict(
        self,
        noisy: Tensor,
        timestep: Tensor,
        masked: Tensor,
        identity: Tensor,
        previous: Tensor,
        mask: Tensor,
        audio: Tensor,
        padding: Tensor,
        frame: Tensor,
        level: Tensor | float = 0.0,
    ) -> Tensor:
        """What the denoiser makes of noisy latents (B, 3, h, w) at (B,) timesteps; the rest as in `forward`."""
        token = self.audio.tokens_at(audio, padding, frame)
        visual = self.denoiser.visual_condition(masked, identity, previous.unbind(dim=1))
        context = self.denoiser.context(token, previous.unbind(dim=1), mask)
        return self.denoiser(noisy, timestep, visual, context, level)  # type: ignore[no-any-return]


class SyncDiffTask(LatentTask):
    """A target frame, an identity frame other than it, and the frames before it."""

    Options = SyncDiffTrainingOptions
    options: SyncDiffTrainingOptions
    Model = SyncDiffModel
    learns_from: ClassVar[str] = "sound"

    def build(self) -> nn.Module:
        module = TrainedSyncDiff(self.options)
        self._start(module.audio)
        if module.sync_loss is not None and not isinstance(next(module.parameters()), FakeTensor):
            module.sync_loss.fill(self.autoencoder)
        return module

    def prepare(self) -> None:
        super().prepare()
        self._frozen_audio.to("cpu")

    def caches_of(self, split: str) -> tuple[TensorCache, ...]:
        data = self.data
        caches = (
            self.latents_of(split, self.options.model.condition),
            audio_cache(data.dataset, split, self._frozen_audio, data.cache, self.device),
        )
        if not self.options.sync_weight:
            return caches
        SyncExpertModel.locate(self.options.sync_expert)  # missing, it is told before caches are filled
        return (*caches, sync_loss.sync_cache(data.dataset, split, data.cache))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        of_windows = sync_loss.SHAPES if self.options.sync_weight else {}
        return {"audio": activation_shape(self.options.model.audio), **of_windows}

    def example(self, clip: ClipLatents, rng: np.random.Generator) -> dict[str, Tensor]:
        """Target t in 1..T-1, an identity frame other than t, and the NP frames before t (clamped to frame 0)."""
        t = int(rng.integers(1, len(clip)))
        other = int(rng.integers(len(clip) - 1))
        example = self._frame(clip, t, other + (other >= t))
        identity, previous = example["identity"], example["previous"]
        own = rng.spawn(1)[0]  # variants with other previous frames draw the same target, noise and timestep
        dropped = own.random() < self.options.previous_dropout
        if dropped:
            previous = identity.expand_as(previous)
        spread = own.uniform(0, self.options.previous_noise)
        previous = previous + spread * torch.from_numpy(own.standard_normal(previous.shape, dtype=np.float32))
        if self.options.scheduled.probability:
            example |= scheduled.frame_before(clip, t, own.spawn(1)[0], self.options.model.diffusion.train_steps)
            if dropped:
                example["before_chance"] = torch.ones(())  # there is nothing to estimate
        if self.options.model.condition.previous_level:
            example["level"] = torch.tensor(spread, dtype=torch.float32)
        return {**example, "previous": previous}

    def _frame(self, clip: ClipLatents, t: int, identity: int) -> dict[str, Tensor]:
        """Frame t of a clip as the network takes it, with another as its identity."""
        condition = self.options.model.condition
        depth = condition.previous_frames if condition.previous != "none" else 0
        return {
            "clean": clip.clean[t].float(),
            "masked": clip.masked[t].float(),
            "identity": clip.clean[identity].float(),
            "previous": clip.clean[[max(0, t - 1 - k) for k in range(depth)]].float(),
            "mask": clip.mask[t].float() / 255,
            "frame": torch.tensor(t),
        }

    def draw(
        self, clips: Sequence[ClipLatents], rng: np.random.Generator, size: int
    ) -> tuple[Iterable[str], dict[str, Tensor]]:
        """See `ClipTask.draw`; with windows for a sync loss, which are drawn after all else and apart from it."""
        words, batch = super().draw(clips, rng, size)
        if not self.options.sync_weight:
            return words, batch
        own = rng.spawn(1)[0]
        windows = sync_loss.draw_windows(clips, own, self.options.sync_windows)
        frames = stacked([self._frame(one.clip, t, one.identity) for one in windows for t in one.frames])
        frames = self.finish([one.clip for one in windows for _ in one.frames], frames)
        more = sync_loss.window_batch(windows, frames, own, self.options.sync_from)
        return chain(words, map(str, windows)), {**batch, **more}

    def batch(self, seed: int, step: int, part: int, size: int) -> Mapping[str, Tensor]:
        return scheduled.chosen(super().batch(seed, step, part, size), self.options.scheduled.at(step))

    def probe_batch(self, size: int) -> Mapping[str, Tensor]:
        """See `TrainingTask.probe_batch`; with as many estimates as there are on the mean of a training."""
        estimates = math.ceil(size * self.options.scheduled.probability / 2)
        return scheduled.of_rows(super().probe_batch(size), torch.arange(estimates))

    def finish(self, clips: Sequence[ClipLatents], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        audio = nn.utils.rnn.pad_sequence([clip.audio for clip in clips], batch_first=True)
        lengths = torch.tensor([len(clip) for clip in clips])
        return {**batch, "audio": audio, "padding": torch.arange(audio.shape[1]) >= lengths[:, None]}

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """The losses; `*_without_previous` with the identity frame in place of the previous ones.

        The difference is what the previous frame tells beyond audio, masked frame and identity.
        """

        def without(batch: dict[str, Tensor]) -> dict[str, Tensor]:
            which = [of for of in ("", sync_loss.SYNC) if f"{of}previous" in batch]
            return {f"{of}previous": batch[f"{of}identity"][:, None].expand_as(batch[f"{of}previous"]) for of in which}

        return self.losses(model, "_without_previous", without)

    def conditions(self, model: SyncDiffModel, clip: ClipLatents, shown: slice, first_image: Tensor) -> ClipConditions:
        device = next(model.parameters()).device
        tokens = model.audio.tokens(model.audio.encode(clip.audio[None].to(device)))[0, shown]
        masked, clean = clip.masked[shown].float().to(device), clip.clean[shown].float().to(device)
        before, area = clip.clean[max(0, shown.start - 1)].float().to(device), clip.mask[shown].to(device) / 255
        return ClipConditions(clip.clip_id, masked, before, tokens, first_image.to(device), area, clean)

    def generate(
        self, model: SyncDiffModel, conditions: Sequence[Any], on_frame: Callable[[int, int, Tensor], None]
    ) -> None:
        sample_clips(model, conditions, seed=0, on_frame=on_frame)

    @cached_property
    def _frozen_audio(self) -> AudioCondition:
        """The audio condition that training starts from; of it the caches use what stays so."""
        condition = AudioCondition(self.options.model.audio).eval().requires_grad_(False)
        self._start(condition)
        return condition

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


# ------------------------------------------------------------------------ the audio encoder to start from


def fill_encoder(condition: AudioCondition, where: str) -> None:
    """Load the weights that training starts from.

    where: a fairseq checkpoint of AV-HuBERT (`.pt`, pre-trained or fine-tuned), its name in the weights catalogue, or
        a directory (or a shipped name): what `encoder_training` made, or a SyncDiff model, whose encoder is taken.
    Raises UsageError where there is none, WeightsError where it has other sizes.
    """
    tensors, source = _tensors(where)
    check_state_dict(condition.encoder, {name: tensor.float() for name, tensor in tensors.items()}, source)


def _tensors(where: str) -> tuple[dict[str, Tensor], str]:
    path = Path(where)
    alone = [file for folder in (SyncDiffModel.shipped / where, path) if (file := folder / ENCODER).is_file()]
    if alone:
        return load_tensors(alone[0]), str(alone[0])
    if path.is_dir() or (SyncDiffModel.shipped / where).is_dir():
        file = SyncDiffModel.locate(where) / "audio.safetensors"
        prefix = "encoder."
        found = {name: tensor for name, tensor in load_tensors(file).items() if name.startswith(prefix)}
        return {name.removeprefix(prefix): tensor for name, tensor in found.items()}, str(file)
    if not path.is_file():
        if where not in installed().entries:
            raise UsageError(
                f"no audio encoder {where!r}; give an AV-HuBERT checkpoint, its catalogue name, or a SyncDiff model"
            )
        from syncdiff_bench.weights.store import WeightsStore

        path = WeightsStore().ensure(where)
    from syncdiff_bench.networks.avhubert.checkpoint import read_checkpoint

    encoder = read_checkpoint(path).encoder
    return {name: tensor for name, tensor in encoder.items() if not name.startswith(UNREAD)}, str(path)
