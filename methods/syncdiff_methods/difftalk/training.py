"""Train DiffTalk on cached latents, score windows and landmarks (Shen et al. 2023; docs/spec/difftalk.md).

As released, with two protocol deviations (docs/spec/difftalk.md#data): the reference is drawn anew at every step, from
any other frame of the clip (the release draws it once, 60 frames or more away, but clips of LRS2 are not that long);
and the mask begins at the base of the nose in training too, as at inference, not at its tip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from syncdiff_bench.clips import landmarks_of
from syncdiff_bench.training.cache import TensorCache
from syncdiff_methods.difftalk.model import LANDMARKS, UNET_CHANNELS, Conditions, DiffTalkConfig, DiffTalkModel
from syncdiff_methods.difftalk.sampling import KEPT, DiffTalkConditions, nearby, sample_clips
from syncdiff_methods.syncdiff.audio import SYMBOLS, WINDOW, AudioCondition
from syncdiff_methods.syncdiff.config import AudioConfig, ConditionConfig
from syncdiff_methods.syncdiff.latents import ClipLatents, DiffusionLoss, LatentTask, audio_cache
from syncdiff_methods.syncdiff.masking import scaled
from syncdiff_methods.syncdiff.model import build_unet, zero_output_layers

CONDITION = ConditionConfig(mask_mode="nose_to_bottom")


@dataclass(frozen=True)
class DiffTalkTrainingOptions:
    """Options of a training.

    autoencoder: folder of a trained autoencoder, or a SyncDiff model (a directory, a shipped name) whose autoencoder is
        taken; its config replaces `model.autoencoder`.
    area_weight: weight of the error where the frame is masked against 1 elsewhere (1 as released).
    half: export float16.
    validation_batches: of 32 held-out examples each, of which a validation is the mean.
    """

    model: DiffTalkConfig = field(default_factory=DiffTalkConfig)
    autoencoder: str = ""
    area_weight: float = 1.0
    half: bool = False
    validation_batches: int = 8


class TrainedDiffTalk(nn.Module):
    """UNet and condition encoders with the diffusion loss."""

    def __init__(self, options: DiffTalkTrainingOptions) -> None:
        super().__init__()
        config = options.model
        self.denoiser = build_unet(config.unet, UNET_CHANNELS, config.context_dim, config.latent_size)
        zero_output_layers(self.denoiser)
        self.conditions = Conditions(config)
        self.diffusion_loss = DiffusionLoss(config.diffusion, options.area_weight)

    def forward(
        self,
        clean: Tensor,
        masked: Tensor,
        reference: Tensor,
        mask: Tensor,
        windows: Tensor,
        landmarks: Tensor,
        noise: Tensor,
        timestep: Tensor,
    ) -> dict[str, Tensor]:
        """The losses of a batch.

        clean, masked, reference, noise: (B, 3, h, w).
        mask: (B, h, w) in 0..1.
        windows: (B, 8, 16, 29).
        landmarks: (B, 39, 2).
        timestep: (B,) long.
        """
        token = self.conditions(windows, landmarks)
        noisy = self.diffusion_loss.noisy(clean, noise, timestep)
        stacked = torch.cat([noisy, masked, reference], dim=1)
        prediction = self.denoiser(stacked, timestep, encoder_hidden_states=token[:, None]).sample
        return self.diffusion_loss(prediction, clean, noise, timestep, mask)


class DiffTalkTask(LatentTask):
    """A target frame, and another as its reference."""

    Options = DiffTalkTrainingOptions
    options: DiffTalkTrainingOptions
    Model = DiffTalkModel
    boxed = False
    learns_from: ClassVar[str] = "audio and landmarks"

    def build(self) -> nn.Module:
        return TrainedDiffTalk(self.options)

    def caches_of(self, split: str) -> tuple[TensorCache, TensorCache, TensorCache]:
        data, model = self.data, self.options.model
        # The windows are those of SyncDiff's ds variant: one cache serves both.
        audio = AudioCondition(AudioConfig(features="deepspeech", dim=model.audio_dim, logits=model.logits))
        return (
            self.latents_of(split, CONDITION),
            audio_cache(data.dataset, split, audio, data.cache, self.device),
            self._landmark_cache(split),
        )

    def _landmark_cache(self, split: str) -> TensorCache:
        dataset, size = self.data.dataset, self.options.model.frame_size

        def seen(clip_id: str) -> dict[str, Tensor]:
            clip = dataset.clip(clip_id)
            points = scaled(landmarks_of(clip), (clip.frames.shape[1], clip.frames.shape[2]), size)
            return {"landmarks": torch.from_numpy(points[:, KEPT].copy())}

        return TensorCache(
            folder=self.data.cache / "landmarks" / f"{dataset.name}-{split}",
            title=f"landmarks of {dataset.name} {split}, those that DiffTalk is shown",
            split=split,
            facts={"frame size": str(size), "list of clips": dataset.fingerprint(split)[:16]},
            clip_ids=dataset.clip_ids(split),
            encode=seen,
            bytes_per_frame=4 * 2 * LANDMARKS,
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"audio": (WINDOW, SYMBOLS), "landmarks": (LANDMARKS, 2)}

    def example(self, clip: ClipLatents, rng: np.random.Generator) -> dict[str, Tensor]:
        t, other = int(rng.integers(len(clip))), int(rng.integers(len(clip) - 1))
        count = self.options.model.window
        first = t - count // 2
        inside = slice(max(0, first), min(len(clip), first + count))
        windows = torch.zeros(count, *clip.audio.shape[1:])
        windows[inside.start - first : inside.stop - first] = clip.audio[inside]
        assert clip.landmarks is not None
        return {
            "clean": clip.clean[t].float(),
            "masked": clip.masked[t].float(),
            "reference": clip.clean[other + (other >= t)].float(),
            "mask": clip.mask[t].float() / 255,
            "windows": windows,
            "landmarks": clip.landmarks[t].float(),
            "frame": torch.tensor(t),
        }

    def finish(self, clips: Sequence[ClipLatents], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        del clips, batch["frame"]
        return batch

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """The losses; `*_deaf` with the audio of another clip of the batch.

        The difference is what the audio tells.
        """
        return self.losses(model, "_deaf", lambda batch: {"windows": batch["windows"].roll(1, dims=0)})

    def conditions(
        self, model: DiffTalkModel, clip: ClipLatents, shown: slice, first_image: Tensor
    ) -> DiffTalkConditions:
        del first_image
        assert clip.landmarks is not None
        device = next(model.parameters()).device
        tokens = model.conditions(
            nearby(clip.audio, self.options.model.window)[shown].to(device), clip.landmarks[shown].float().to(device)
        )
        masked, before = clip.masked[shown].float().to(device), clip.clean[max(0, shown.start - 1)].float().to(device)
        return DiffTalkConditions(clip.clip_id, masked, None, torch.zeros_like(masked[:, :1]), before, tokens)

    def generate(
        self, model: DiffTalkModel, conditions: Sequence[Any], on_frame: Callable[[int, int, Tensor], None]
    ) -> None:
        sample_clips(model, conditions, seed=0, reference="previous", on_frame=on_frame, progress=lambda _frames: None)
