"""The `syncdiff` plugin: clips in, generated frames out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from syncdiff_bench.contracts import Clip, Frames, Method, WeightsUsed
from syncdiff_bench.errors import ClipError
from syncdiff_methods.syncdiff.config import Feedback, FirstFrame, Noise, PreviousAtTest, SyncDiffConfig

if TYPE_CHECKING:
    from syncdiff_methods.syncdiff.model import SyncDiffModel
    from syncdiff_methods.syncdiff.sampling import ClipConditions


@dataclass(frozen=True)
class SyncDiffOptions:
    """model: a shipped model's name or a directory of `save_pretrained`. steps, eta, feedback, first_frame, noise and
    previous_at_test override the model's config where given. batch: clips in lock-step.
    """

    model: str = "pocket"
    steps: int | None = None
    eta: float | None = None
    feedback: Feedback | None = None
    first_frame: FirstFrame | None = None
    noise: Noise | None = None
    previous_at_test: PreviousAtTest | None = None
    batch: int = 24


class SyncDiff(Method):
    """Latent diffusion with masked, identity and bottlenecked previous frame, AV-HuBERT audio, frame by frame."""

    name = "syncdiff"
    title = "SyncDiff"
    Options = SyncDiffOptions

    options: SyncDiffOptions

    @property
    def batch_size(self) -> int:
        return self.options.batch

    @cached_property
    def model(self) -> SyncDiffModel:
        """Loaded on first use, overrides applied. Raises UsageError or WeightsError."""
        from syncdiff_methods.syncdiff.model import SyncDiffModel

        model = SyncDiffModel.from_pretrained(self.options.model)
        model.config = self._overridden(model.config)
        return model.to(self.runtime.device)

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        """See `Method.generate`. Frames come back at the clip's own size, the whole image generated (paper 5.2)."""
        from syncdiff_methods.syncdiff.autoencoder import to_frames
        from syncdiff_methods.syncdiff.sampling import generate_in_lock_step

        conditions, videos = [], []
        for clip in clips:
            try:
                conditions.append(self._conditions(clip))
                videos.append(np.empty_like(clip.frames))
            except ClipError as error:
                yield clip.id, error
        if not conditions:
            return

        def keep(index: int, t: int, image: Any) -> None:
            height, width = videos[index].shape[1:3]
            videos[index][t] = to_frames(image[None], height, width)[0].cpu().numpy()

        generate_in_lock_step(self.model, conditions, seed=seed, on_frame=keep, progress=progress)
        for condition, video in zip(conditions, videos, strict=True):
            yield condition.clip_id, video

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        from syncdiff_methods.syncdiff.model import weights_digests

        return weights_digests(self.options.model)

    def _conditions(self, clip: Clip) -> ClipConditions:
        import torch

        from syncdiff_bench.networks.avhubert.features import audio_features
        from syncdiff_methods.syncdiff.autoencoder import to_images
        from syncdiff_methods.syncdiff.masking import blank, lower_half_mask
        from syncdiff_methods.syncdiff.sampling import ClipConditions

        config, device = self.model.config, self.runtime.device
        n, height, width = clip.frames.shape[:3]
        features = torch.from_numpy(audio_features(clip.audio, n)).to(device)
        boxes = torch.from_numpy(clip.face_boxes.boxes)
        with torch.inference_mode():
            tokens = self.model.audio(features[None])[0]
            images = to_images(torch.from_numpy(clip.frames).to(device), config.frame_size)
            mask = lower_half_mask(boxes, (height, width), config.frame_size, config.condition.mask_pad).to(device)
            blanked = blank(images, mask)
            masked = torch.cat([self.model.autoencoder.encode(chunk) for chunk in torch.split(blanked, 16)])
            identity = self.model.autoencoder.encode(images[:1])[0]
        return ClipConditions(clip.id, masked, identity, tokens, images[0])

    def _overridden(self, config: SyncDiffConfig) -> SyncDiffConfig:
        from dataclasses import replace

        from syncdiff_methods.syncdiff.sampling import check_steps

        options = self.options
        config = replace(config, **_set(options, "feedback", "first_frame", "noise"))
        config = replace(config, condition=replace(config.condition, **_set(options, "previous_at_test")))
        config = replace(config, diffusion=replace(config.diffusion, **_set(options, "steps", "eta")))
        check_steps(config.diffusion.steps, config.diffusion.train_steps)
        return config


def _set(options: SyncDiffOptions, *names: str) -> dict[str, Any]:
    """Those of the named options that were given."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}
