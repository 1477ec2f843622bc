"""The `difftalk` plugin: as its released script runs it, or as its paper says (docs/spec/difftalk.md#inference)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Clip, WeightsUsed
from syncdiff_bench.errors import UsageError
from syncdiff_bench.faces.boxes import FaceBoxes
from syncdiff_bench.origins import of_model, origin_of
from syncdiff_methods.syncdiff.method import LatentMethod, Progress, given, landmark_boxes

if TYPE_CHECKING:
    from syncdiff_methods.difftalk.model import DiffTalkConfig, DiffTalkModel
    from syncdiff_methods.difftalk.sampling import DiffTalkConditions


@dataclass(frozen=True)
class DiffTalkOptions:
    """Options of `difftalk`.

    model: a directory made by `syncdiff-bench weights import difftalk FILE DIR` or by training, or the name of a
        shipped one ("pocket"); a run that is given none takes that of its data.
    landmarks: folder of 68 points per frame, `<clip id>.npy`; without it the dataset's own, else detected ones.
    logits: character scores, over the model's config: their folder, or an acoustic model (a name, or the folder of a
        trained one).
    reference: the previous generated frame (both papers' text), the first given frame (the released script), or the
        frame itself, which shows the network the true mouth.
    blend: what the area outside jaw and nose is kept from at every step: the true frame (the script; its latents near
        the border have seen the true mouth), the masked frame, or nothing.
    steps, eta: of DDIM, over the model's config where given.
    batch: clips that are generated together, frame by frame.
    """

    model: str = ""
    landmarks: str = ""
    logits: str | None = None
    reference: Literal["previous", "first", "same"] = "previous"
    blend: Literal["truth", "masked", "off"] = "truth"
    steps: int | None = None
    eta: float | None = None
    batch: int = 8


class DiffTalk(LatentMethod):
    """Latent diffusion with masked and reference frame, DeepSpeech audio and landmarks."""

    name = "difftalk"
    title = "DiffTalk"
    incidental = frozenset({"model", "landmarks", "logits", "batch"})
    Options = DiffTalkOptions

    options: DiffTalkOptions

    @cached_property
    def model(self) -> DiffTalkModel:
        """Loaded on first use, overrides applied, made ready to sample. Raises UsageError or WeightsError."""
        import torch

        from syncdiff_methods.difftalk.model import DiffTalkModel
        from syncdiff_methods.syncdiff.prepacked import can_prepack, prepack
        from syncdiff_methods.syncdiff.sampling import check_steps

        model = DiffTalkModel.from_pretrained(self._folder())
        diffusion = replace(model.config.diffusion, **given(self.options, "steps", "eta"))
        check_steps(diffusion.steps, diffusion.train_steps)
        model.config = replace(model.config, diffusion=diffusion, logits=self._logits(model.config))
        model.to(self.runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if can_prepack(torch.device(self.runtime.device)):
            prepack(model.autoencoder)
            prepack(model.denoiser)
        return model

    def sample(
        self,
        conditions: Sequence[DiffTalkConditions],
        seed: int,
        on_frame: Callable[[int, int, Any], None],
        progress: Progress,
    ) -> None:
        from syncdiff_methods.difftalk.sampling import sample_clips

        reference = self.options.reference
        sample_clips(self.model, conditions, seed=seed, reference=reference, on_frame=on_frame, progress=progress)

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        """See `Method.weights_used`. Raises UsageError without a model."""
        from syncdiff_methods.difftalk.model import DiffTalkModel
        from syncdiff_methods.syncdiff.audio import acoustic_weights

        folder = self._folder()
        logits = self._logits(DiffTalkModel.read_config(folder))
        return (*DiffTalkModel.weights_used(folder, self.name), *acoustic_weights(logits))

    def general_caveats(self) -> tuple[Caveat, ...]:
        """A model, or an acoustic model before it, that was trained on other data."""
        from syncdiff_methods.difftalk.model import DiffTalkModel
        from syncdiff_methods.syncdiff.audio import foreign_acoustic_model

        folder, dataset = self._folder(), self.runtime.dataset
        return (
            *of_model(origin_of(folder), dataset, f"{self.name} runs a model"),
            *foreign_acoustic_model(self._logits(DiffTalkModel.read_config(folder)), dataset, self.name),
        )

    def _folder(self) -> Path:
        from syncdiff_methods.difftalk.model import DiffTalkModel

        if not self.options.model:
            raise UsageError(
                "difftalk needs --set model=DIR: `syncdiff-bench weights import difftalk FILE DIR` makes one of the"
                " official layout, `syncdiff-bench train` one of your own; model=pocket is for drawn faces"
            )
        return DiffTalkModel.locate(self.options.model)

    def _logits(self, config: DiffTalkConfig) -> str:
        """The character scores that count. Raises UsageError where neither options nor config name any."""
        logits = config.logits if self.options.logits is None else self.options.logits
        if not logits:
            raise UsageError(
                "difftalk needs --set logits=...: a folder of <clip id>.npy, DeepSpeech's scores, or an acoustic model"
            )
        return logits

    @property
    def frame_size(self) -> int:
        return int(self.model.config.frame_size)

    def boxes_of(self, clip: Clip) -> FaceBoxes:
        return landmark_boxes(clip, self.options.landmarks)

    def conditions(self, clip: Clip) -> DiffTalkConditions:
        from syncdiff_methods.difftalk.sampling import clip_conditions

        options = self.options
        return clip_conditions(self.model, clip, options.landmarks, options.reference, options.blend)
