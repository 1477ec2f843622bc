"""The `syncdiff` plugin: clips in, generated frames out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Clip, Frames, Method, Runtime, WeightsUsed
from syncdiff_bench.errors import ClipError
from syncdiff_methods.syncdiff.acceleration import Acceleration, Compile, Precision
from syncdiff_methods.syncdiff.config import Feedback, FirstFrame, Noise, PreviousAtTest, Sampler, SyncDiffConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from syncdiff_bench.estimates.workload import Workload
    from syncdiff_bench.probing import Case
    from syncdiff_methods.syncdiff.model import SyncDiffModel
    from syncdiff_methods.syncdiff.sampling import ClipConditions


@dataclass(frozen=True)
class SyncDiffOptions:
    """model: a shipped model's name or a directory of `save_pretrained`; a run that is given none takes that of its
    data. sampler, steps, eta, feedback, first_frame, noise and previous_at_test override the model's config where
    given; another sampler than the model's takes 20 steps unless told otherwise. batch: clips in lock-step.
    precision, compile, channels_last: see `Acceleration`. variant: which row of Tables 2 to 6 the model is; as its
    config says, where not given. logits: character scores of a `ds` model, a folder or an acoustic model.
    """

    model: str = ""
    variant: str | None = None
    logits: str | None = None
    sampler: Sampler | None = None
    steps: int | None = None
    eta: float | None = None
    feedback: Feedback | None = None
    first_frame: FirstFrame | None = None
    noise: Noise | None = None
    previous_at_test: PreviousAtTest | None = None
    batch: int = 24
    precision: Precision = "auto"
    compile: Compile = "off"
    channels_last: bool = True


class SyncDiff(Method):
    """Latent diffusion with masked, identity and bottlenecked previous frame, AV-HuBERT audio, frame by frame."""

    name = "syncdiff"
    title = "SyncDiff"
    incidental = frozenset({"model", "logits", "batch", "compile", "channels_last"})
    Options = SyncDiffOptions

    options: SyncDiffOptions
    probe_layers = ("mid", "z0")

    def __init__(self, options: SyncDiffOptions | None = None, runtime: Runtime | None = None) -> None:
        """Raises UsageError where there is no model of the variant that is asked for."""
        from syncdiff_methods.syncdiff.variants import with_variant

        super().__init__(options, runtime)
        # run.json records the options, and the paper's tables find a variant's row by them.
        self.options = with_variant(self.options)

    @property
    def batch_size(self) -> int:
        return self.options.batch

    @cached_property
    def config(self) -> SyncDiffConfig:
        """The model's, overrides applied. Raises UsageError for what its sampler cannot do."""
        from syncdiff_methods.syncdiff.model import locate, read_config

        return _overridden(read_config(locate(self.options.model)), self.options)

    @property
    def acceleration(self) -> Acceleration:
        return Acceleration(self.options.precision, self.options.compile, self.options.channels_last)

    @cached_property
    def model(self) -> SyncDiffModel:
        """Loaded on first use, made ready to sample. Raises UsageError or WeightsError."""
        from syncdiff_methods.syncdiff.acceleration import accelerate
        from syncdiff_methods.syncdiff.model import SyncDiffModel

        model = SyncDiffModel.from_pretrained(self.options.model).to(self.runtime.device)
        model.config = self.config
        accelerate(model, self.acceleration)
        return model

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

    def probe(self, cases: Sequence[Case], *, layer: str, step: int | None, seed: int) -> NDArray[np.float32]:
        """See `syncdiff_bench.probing.ProbedMethod`."""
        from syncdiff_methods.syncdiff.probed import probe_latents

        return probe_latents(self.model, cases, layer=layer, step=step, seed=seed, batch=self.options.batch)

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        """See `Method.weights_used`. Raises UsageError for options that this model cannot do: a run asks here first."""
        from syncdiff_methods.syncdiff.model import weights_digests

        _ = self.config
        return weights_digests(self.options.model)

    def general_caveats(self) -> tuple[Caveat, ...]:
        """A model, or an acoustic model before it, that was trained on other data."""
        from syncdiff_bench.origins import foreign, origin_of
        from syncdiff_methods.syncdiff.deepspeech import foreign_recogniser
        from syncdiff_methods.syncdiff.model import locate

        audio, dataset = self.config.audio, self.runtime.dataset
        model = foreign(origin_of(locate(self.options.model)), dataset, f"{self.name} runs a model")
        heard = audio.logits if audio.features == "deepspeech" else ""
        return (*model, *foreign_recogniser(heard, dataset, self.name))

    def workload(self, frames: Sequence[int]) -> Workload:
        """See `Method.workload`."""
        from syncdiff_methods.syncdiff.workload import workload

        return workload(self.config, frames, self.batch_size, self.acceleration, self.runtime.device)

    def _conditions(self, clip: Clip) -> ClipConditions:
        import torch

        from syncdiff_methods.syncdiff.audio_features import clip_features
        from syncdiff_methods.syncdiff.autoencoder import to_images
        from syncdiff_methods.syncdiff.masking import blank, clip_mask
        from syncdiff_methods.syncdiff.sampling import ENCODED_TOGETHER, ClipConditions

        config, device = self.model.config, self.runtime.device
        features = torch.from_numpy(clip_features(clip, config.audio)).to(device)
        mask = clip_mask(clip, config.condition, config.frame_size)
        with torch.inference_mode():
            tokens = self.model.audio(features[None])[0]
            images = to_images(torch.from_numpy(clip.frames).to(device), config.frame_size)
            blanked = blank(images, mask.to(device))
            chunks = torch.split(blanked, ENCODED_TOGETHER)
            masked = torch.cat([self.model.autoencoder.encode(chunk) for chunk in chunks])
            identity = self.model.autoencoder.encode(images[:1])[0]
        return ClipConditions(clip.id, masked, identity, tokens, images[0])


def _overridden(config: SyncDiffConfig, options: SyncDiffOptions) -> SyncDiffConfig:
    """The model's config with the options that were given in place of its own values."""
    from syncdiff_methods.syncdiff.samplers import FAST_STEPS, check_sampler

    config = replace(config, **_set(options, "feedback", "first_frame", "noise"))
    config = replace(config, condition=replace(config.condition, **_set(options, "previous_at_test")))
    config = replace(config, audio=replace(config.audio, **_set(options, "logits")))
    diffusion = config.diffusion
    if options.sampler not in (None, "ddim", diffusion.sampler):
        # The model's own values are meant for its own sampler.
        diffusion = replace(diffusion, steps=FAST_STEPS, eta=0.0)
    diffusion = replace(diffusion, **_set(options, "sampler", "steps", "eta"))
    check_sampler(diffusion)
    return replace(config, diffusion=diffusion)


def _set(options: SyncDiffOptions, *names: str) -> dict[str, Any]:
    """Those of the named options that were given."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}
