"""The `syncdiff` plugin: clips in, generated frames out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.clips import cut_to_face, landmarks_of
from syncdiff_bench.contracts import Clip, Frames, Method, Runtime, WeightsUsed
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces.boxes import FaceBoxes
from syncdiff_bench.faces.framing import LANDMARKS, feather, paste
from syncdiff_bench.origins import of_model, origin_of
from syncdiff_methods.syncdiff.config import (
    Compile,
    Feedback,
    FirstFrame,
    IdentityAtTest,
    Noise,
    Precision,
    PreviousAtTest,
    Sampler,
    SyncDiffConfig,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from syncdiff_bench.contracts import Workload
    from syncdiff_bench.reproduction.probing import Case
    from syncdiff_methods.syncdiff.acceleration import Acceleration
    from syncdiff_methods.syncdiff.model import SyncDiffModel
    from syncdiff_methods.syncdiff.sampling import ClipConditions

Progress: TypeAlias = Callable[[int], None]

SHOWN = Caveat(
    "true-frames", "the true frames before each one were shown in place of the generated ones: a diagnosis, no method"
)


@dataclass(frozen=True)
class SyncDiffOptions:
    """Options of `syncdiff`; those without a default of their own override the model's config where given.

    model: a shipped model's name or a directory of `save_pretrained`; a run that is given none takes that of its data.
    variant: which row of Tables 2 to 6 the model is; as its config says, where not given.
    logits: character scores of a `ds` model, a folder or an acoustic model.
    sampler: another than the model's takes 20 steps unless told otherwise; a distilled model has its own alone.
    steps, eta, feedback, first_frame, noise: see `SyncDiffConfig`.
    previous_at_test, identity_at_test, previous_noise_at_test, previous_level_at_test: see `ConditionConfig`;
        previous_at_test=true shows the true frames, a caveat.
    batch: clips that are generated together, frame by frame.
    precision, compile, channels_last: see `Acceleration`.
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
    identity_at_test: IdentityAtTest | None = None
    previous_noise_at_test: float | None = None
    previous_level_at_test: float | None = None
    batch: int = 24
    precision: Precision = "auto"
    compile: Compile = "off"
    channels_last: bool = True


FACE_CROP = Caveat(
    "face-crop", "in another framing than LRS: generated on a square around the face and pasted back, edges feathered"
)


class LatentMethod(Method):
    """Frame by frame in the latents of an autoencoder, `batch` clips at a time: SyncDiff and DiffTalk.

    Where a clip is not in the framing of LRS its face is cut out, and what is generated is pasted back
    (docs/spec/syncdiff.md#faces-in-larger-pictures).
    """

    @property
    def batch_size(self) -> int:
        return int(self.options.batch)

    @abstractmethod
    def conditions(self, clip: Clip) -> Any:
        """What is known of a clip before its first frame is generated, with its `clip_id`. Raises ClipError."""

    @property
    @abstractmethod
    def frame_size(self) -> int:
        """Side of the frames that the networks draw, pixels."""

    @abstractmethod
    def boxes_of(self, clip: Clip) -> FaceBoxes:
        """Where the face is, by what masks it. Raises ClipError."""

    @abstractmethod
    def sample(
        self, conditions: Sequence[Any], seed: int, on_frame: Callable[[int, int, Any], None], progress: Progress
    ) -> None:
        """Generate all frames; `on_frame` and `progress` as in `sampling.frame_by_frame`."""

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Progress = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        """See `Method.generate`. Frames come back at the clip's own size, the whole image generated (paper 5.2)."""
        from syncdiff_methods.syncdiff.model import to_frames

        conditions, videos, cuts = [], [], []
        for clip in clips:
            try:
                face = self._face(clip)
                conditions.append(self.conditions(clip if face is None else face))
            except ClipError as error:
                yield clip.id, error
                continue
            cuts.append(None if face is None else face.cut)
            videos.append(np.empty_like(clip.frames) if face is None else clip.frames.copy())
        if not conditions:
            return

        def keep(index: int, t: int, image: Any) -> None:
            cut, side = cuts[index], self.frame_size
            height, width = videos[index].shape[1:3] if cut is None else (side, side)
            drawn = to_frames(image[None], height, width)[0].cpu().numpy()
            if cut is None:
                videos[index][t] = drawn
            else:
                paste(videos[index][t], drawn, cut.squares[t], feather(np.zeros(4), side, "crop"))

        self.sample(conditions, seed, keep, progress)
        for condition, video in zip(conditions, videos, strict=True):
            yield condition.clip_id, video

    def _face(self, clip: Clip) -> Clip | None:
        """The clip cut to its face; None where it is in the framing of LRS, or has no sound to speak with."""
        face = cut_to_face(clip, self.boxes_of(clip), self.frame_size) if len(clip.audio) else None
        if face is not None:
            self._cut_out.add(clip.id)
        return face

    @cached_property
    def _cut_out(self) -> set[str]:
        """Ids of clips that were cut."""
        return set()

    def caveats(self, clip_id: str) -> tuple[Caveat, ...]:
        return (FACE_CROP,) if clip_id in self._cut_out else ()


class SyncDiff(LatentMethod):
    """Latent diffusion with masked, identity and bottlenecked previous frame, AV-HuBERT audio, frame by frame."""

    name = "syncdiff"
    any_threads = True
    title = "SyncDiff"
    incidental = frozenset({"model", "logits", "batch", "compile", "channels_last"})
    Options = SyncDiffOptions

    options: SyncDiffOptions
    probe_layers = ("mid", "z0")

    def __init__(self, options: SyncDiffOptions | None = None, runtime: Runtime | None = None) -> None:
        """Raises UsageError where there is no model of the variant that is asked for."""
        from syncdiff_methods.syncdiff.model import with_variant

        super().__init__(options, runtime)
        # run.json records the options, and the paper's tables find a variant's row by them.
        model, variant = with_variant(self.options.model, self.options.variant)
        self.options = replace(self.options, model=model, variant=variant)

    @cached_property
    def config(self) -> SyncDiffConfig:
        """The model's, overrides applied. Raises UsageError for what its sampler cannot do, or it does not read."""
        from syncdiff_methods.syncdiff.model import SyncDiffModel

        return _overridden(SyncDiffModel.read_config(self.options.model), self.options)

    @property
    def acceleration(self) -> Acceleration:
        from syncdiff_methods.syncdiff.acceleration import Acceleration

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

    def sample(
        self,
        conditions: Sequence[ClipConditions],
        seed: int,
        on_frame: Callable[[int, int, Any], None],
        progress: Progress,
    ) -> None:
        from syncdiff_methods.syncdiff.sampling import sample_clips

        sample_clips(self.model, conditions, seed=seed, on_frame=on_frame, progress=progress)

    def probe(self, cases: Sequence[Case], *, layer: str, step: int | None, seed: int) -> NDArray[np.float32]:
        """See `syncdiff_bench.reproduction.probing.ProbedMethod`."""
        from syncdiff_methods.syncdiff.probe import probe_latents

        return probe_latents(self.model, cases, layer=layer, step=step, seed=seed, batch=self.options.batch)

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        """See `Method.weights_used`. Raises UsageError for options that this model cannot do: a run asks here first."""
        from syncdiff_methods.syncdiff.audio import acoustic_weights
        from syncdiff_methods.syncdiff.model import SyncDiffModel

        return (*SyncDiffModel.weights_used(self.options.model, self.name), *acoustic_weights(self._logits))

    def general_caveats(self) -> tuple[Caveat, ...]:
        """A model, or an acoustic model before it, that was trained on other data; true frames that were shown."""
        from syncdiff_methods.syncdiff.audio import foreign_acoustic_model
        from syncdiff_methods.syncdiff.model import SyncDiffModel

        dataset = self.runtime.dataset
        folder = SyncDiffModel.locate(self.options.model)
        model = of_model(origin_of(folder), dataset, f"{self.name} runs a model")
        shown = (SHOWN,) if self.config.condition.previous_at_test == "true" else ()
        return (*shown, *model, *foreign_acoustic_model(self._logits, dataset, self.name))

    @property
    def _logits(self) -> str:
        """The character scores of a model that reads any."""
        audio = self.config.audio
        return audio.logits if audio.features == "deepspeech" else ""

    def workload(self, frames: Sequence[int]) -> Workload:
        """See `Method.workload`."""
        from syncdiff_methods.syncdiff.acceleration import workload

        return workload(self.config, frames, self.batch_size, self.acceleration, self.runtime.device)

    @property
    def frame_size(self) -> int:
        return self.config.frame_size

    def boxes_of(self, clip: Clip) -> FaceBoxes:
        return landmark_boxes(clip) if self.config.condition.mask_mode == "nose_to_bottom" else clip.face_boxes

    def conditions(self, clip: Clip) -> ClipConditions:
        from syncdiff_methods.syncdiff.sampling import clip_conditions

        return clip_conditions(self.model, clip)


def landmark_boxes(clip: Clip, folder: str = "") -> FaceBoxes:
    """Boxes around the 68 landmarks. Raises ClipError as `landmarks_of`."""
    points = landmarks_of(clip, folder)
    corners = np.concatenate([np.floor(points.min(axis=1)), np.ceil(points.max(axis=1))], axis=1)
    return FaceBoxes(corners.astype(np.int32), LANDMARKS)


def _overridden(config: SyncDiffConfig, options: SyncDiffOptions) -> SyncDiffConfig:
    """The model's config with the options that were given in place of its own values."""
    from syncdiff_methods.syncdiff.beyond.consistency import check_distilled
    from syncdiff_methods.syncdiff.sampling import FAST_STEPS, check_levels, check_sampler

    check_distilled(options.model, config.diffusion.sampler, options.sampler)
    config = replace(config, **given(options, "feedback", "first_frame", "noise"))
    at_test = ("previous_at_test", "identity_at_test", "previous_noise_at_test", "previous_level_at_test")
    config = replace(config, condition=replace(config.condition, **given(options, *at_test)))
    _check_read(config, options)
    check_levels(config.condition)
    config = replace(config, audio=replace(config.audio, **given(options, "logits")))
    diffusion = config.diffusion
    if options.sampler not in (None, "ddim", diffusion.sampler):
        # The model's own values are meant for its own sampler.
        diffusion = replace(diffusion, steps=FAST_STEPS, eta=0.0)
    diffusion = replace(diffusion, **given(options, "sampler", "steps", "eta"))
    check_sampler(diffusion)
    return replace(config, diffusion=diffusion)


def _check_read(config: SyncDiffConfig, options: SyncDiffOptions) -> None:
    """Raise UsageError for an option about frames that the model does not read: it would change a name, no frame."""
    condition, unread = config.condition, ""
    if options.identity_at_test is not None and not condition.identity:
        unread = f"identity_at_test={options.identity_at_test}: variant {config.variant} reads no identity frame"
    elif options.previous_at_test is not None and not condition.reads_previous:
        unread = f"previous_at_test={options.previous_at_test}: variant {config.variant} reads no previous frame"
    if unread:
        raise UsageError(f"{unread}; leave it out")


def given(options: Any, *names: str) -> dict[str, Any]:
    """Those of the named options that were given."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}
