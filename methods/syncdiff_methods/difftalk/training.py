"""Train DiffTalk on cached latents, score windows and landmarks (Shen et al. 2023; docs/spec/difftalk.md).

As released, with two departures (docs/spec/difftalk.md#data): the reference is drawn anew at every step, from any other
frame of the clip (the release draws it once, 60 frames or more away, but clips of LRS2 are not that long); and the
blanked area begins at the base of the nose in training too, as at inference, not at its tip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.training.cache import TensorCache
from syncdiff_methods.difftalk.config import LANDMARKS, UNET_CHANNELS, DiffTalkConfig
from syncdiff_methods.difftalk.inputs import KEPT
from syncdiff_methods.difftalk.model import Conditions, DiffTalkModel
from syncdiff_methods.syncdiff.audio import AudioCondition
from syncdiff_methods.syncdiff.config import AudioConfig, ConditionConfig
from syncdiff_methods.syncdiff.deepspeech import SYMBOLS, WINDOW
from syncdiff_methods.syncdiff.denoiser import build_unet, zero_output_layers
from syncdiff_methods.syncdiff.latent_task import LatentTask
from syncdiff_methods.syncdiff.latents import audio_cache, latents_cache
from syncdiff_methods.syncdiff.loss import DiffusionLoss
from syncdiff_methods.syncdiff.masking import scaled

VALIDATION_BATCHES = 8
PROBED_FRAMES = 75  # length of the clips that an estimate assumes
CONDITION = ConditionConfig(mask_mode="nose_to_bottom")


@dataclass(frozen=True)
class DiffTalkTrainingOptions:
    """autoencoder: folder of a trained autoencoder, or a SyncDiff model (a directory, a shipped name) whose autoencoder
        is taken; its config replaces `model.autoencoder`.
    area_weight: weight of the error where the frame is blanked against 1 elsewhere (1 as released). half: export
        float16.
    """

    model: DiffTalkConfig = field(default_factory=DiffTalkConfig)
    autoencoder: str = ""
    area_weight: float = 1.0
    half: bool = False


@dataclass(frozen=True, eq=False)
class ClipTensors:
    """clean, masked: (T, 3, h, w) float16; area: (T, h, w) uint8; windows: (T, 16, 29); landmarks: (T, 39, 2)."""

    clip_id: str
    clean: Tensor
    masked: Tensor
    area: Tensor
    windows: Tensor
    landmarks: Tensor

    def __len__(self) -> int:
        return len(self.clean)


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
        area: Tensor,
        windows: Tensor,
        landmarks: Tensor,
        noise: Tensor,
        timestep: Tensor,
    ) -> dict[str, Tensor]:
        """clean, masked, reference, noise: (B, 3, h, w); area: (B, h, w) 0..1; windows: (B, 8, 16, 29); landmarks:
        (B, 39, 2); timestep: (B,) long.
        """
        token = self.conditions(windows, landmarks)
        noisy = self.diffusion_loss.noisy(clean, noise, timestep)
        stacked = torch.cat([noisy, masked, reference], dim=1)
        prediction = self.denoiser(stacked, timestep, encoder_hidden_states=token[:, None]).sample
        return self.diffusion_loss(prediction, clean, noise, timestep, area)


class DiffTalkTask(LatentTask):
    """One random target frame, and another as its reference, of each of B random clips per step."""

    Options = DiffTalkTrainingOptions
    options: DiffTalkTrainingOptions

    def build(self) -> nn.Module:
        return TrainedDiffTalk(self.options)

    def averaged(self, model: nn.Module) -> Any:
        """The UNet alone, as released (docs/spec/difftalk.md#configuration)."""
        return ((name, p) for name, p in super().averaged(model) if name.startswith("denoiser."))

    def batch(self, seed: int, step: int, rank: int, size: int) -> Mapping[str, Tensor]:
        return self._draw(self.clips, np.random.default_rng([seed, step, rank]), size)[1]

    def describe(self, seed: int, step: int, rank: int, size: int) -> Sequence[str]:
        return self._draw(self.clips, np.random.default_rng([seed, step, rank]), size)[0]

    def probe_batch(self, size: int) -> Mapping[str, Tensor]:
        side, n = self.options.model.latent_size, PROBED_FRAMES
        latents, area = torch.zeros(n, 3, side, side), torch.full((n, side, side), 128, dtype=torch.uint8)
        windows, landmarks = torch.zeros(n, WINDOW, SYMBOLS), torch.zeros(n, LANDMARKS, 2)
        clip = ClipTensors("probe", latents, latents, area, windows, landmarks)
        return self._draw([clip], np.random.default_rng(0), size)[1]

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """The losses on fixed draws of the held-out clips; `*_deaf` with the sound of another clip of the batch.

        The difference is what the audio tells.
        """
        device = next(model.parameters()).device
        totals: dict[str, float] = {}
        for i in range(VALIDATION_BATCHES):
            _, batch = self._draw(self.held_out, np.random.default_rng([77, i]), 32)
            deaf = {**batch, "windows": batch["windows"].roll(1, dims=0)}
            for given, suffix in ((batch, ""), (deaf, "_deaf")):
                for name, value in model(**{key: tensor.to(device) for key, tensor in given.items()}).items():
                    totals[name + suffix] = totals.get(name + suffix, 0.0) + value.item() / VALIDATION_BATCHES
        return totals

    def export(self, model: nn.Module, folder: Path) -> None:
        """A directory of `DiffTalkModel`."""
        assert isinstance(model, TrainedDiffTalk)
        with torch.device("meta"):
            whole = DiffTalkModel(self.options.model)
        whole.autoencoder, whole.denoiser, whole.conditions = self.autoencoder, model.denoiser, model.conditions
        whole.eval().save_pretrained(folder, dtype=torch.float16 if self.options.half else torch.float32)

    def caches_of(self, split: str) -> tuple[TensorCache, TensorCache, TensorCache]:
        data, model = self.data, self.options.model
        # The windows are those of SyncDiff's ds variant: one cache serves both.
        heard = AudioCondition(AudioConfig(features="deepspeech", dim=model.audio_dim, logits=model.logits))
        return (
            latents_cache(data.dataset, split, self.autoencoder, model.frame_size, CONDITION, data.cache, self.device),
            audio_cache(data.dataset, split, heard, data.cache, self.device),
            self._landmark_cache(split),
        )

    def _landmark_cache(self, split: str) -> TensorCache:
        dataset, size = self.data.dataset, self.options.model.frame_size

        def seen(clip_id: str) -> dict[str, Tensor]:
            from syncdiff_bench.faces.landmarks import landmarks_of

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

    def read_clips(self, split: str) -> list[ClipTensors]:
        caches = self.caches_of(split)
        for cache in caches:
            cache.complete()
        self.autoencoder.to("cpu")
        latents, sounds, faces = (cache.read() for cache in caches)
        clips = [
            ClipTensors(
                clip_id, **tensors, windows=sounds[clip_id]["activations"], landmarks=faces[clip_id]["landmarks"]
            )
            for clip_id, tensors in latents.items()
            if clip_id in sounds and clip_id in faces and len(tensors["clean"]) >= 2
        ]
        if not clips:
            raise UsageError(
                f"split {split!r} has no clip of two frames or more with sound and landmarks; nothing to train on"
            )
        return clips

    def _draw(
        self, clips: Sequence[ClipTensors], rng: np.random.Generator, size: int
    ) -> tuple[list[str], dict[str, Tensor]]:
        """The examples in words, and as tensors."""
        words, rows = [], []
        for clip in (clips[i] for i in rng.integers(len(clips), size=size)):
            t, other = int(rng.integers(len(clip))), int(rng.integers(len(clip) - 1))
            words.append(f"clip {clip.clip_id} frame {t}")
            rows.append(self._example(clip, t, other + (other >= t)))
        batch = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        batch["noise"] = torch.from_numpy(rng.standard_normal(batch["clean"].shape, dtype=np.float32))
        steps = self.options.model.diffusion.train_steps
        batch["timestep"] = torch.from_numpy(rng.integers(steps, size=size))
        return words, batch

    def _example(self, clip: ClipTensors, t: int, reference: int) -> dict[str, Tensor]:
        count = self.options.model.window
        first = t - count // 2
        inside = slice(max(0, first), min(len(clip), first + count))
        windows = torch.zeros(count, *clip.windows.shape[1:])
        windows[inside.start - first : inside.stop - first] = clip.windows[inside]
        return {
            "clean": clip.clean[t].float(),
            "masked": clip.masked[t].float(),
            "reference": clip.clean[reference].float(),
            "area": clip.area[t].float() / 255,
            "windows": windows,
            "landmarks": clip.landmarks[t].float(),
        }
