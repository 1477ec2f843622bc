"""The `difftalk` plugin: as its released script runs it, or as its paper says (docs/spec/difftalk.md#inference)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Clip, Frames, Method, WeightsUsed
from syncdiff_bench.errors import ClipError, UsageError

if TYPE_CHECKING:
    from syncdiff_methods.difftalk.config import DiffTalkConfig
    from syncdiff_methods.difftalk.generation import ClipInputs
    from syncdiff_methods.difftalk.model import DiffTalkModel

CHUNK = 16  # frames that the autoencoder encodes together


@dataclass(frozen=True)
class DiffTalkOptions:
    """model: a directory made by `syncdiff-bench weights import difftalk FILE DIR` or by training, or the name of a
        shipped one ("pocket"); a run that is given none takes that of its data. landmarks: folder of 68 points per
        frame, `<clip id>.npy`; without it the dataset's own, else detected ones. logits: character scores, a folder or
        an acoustic model, over the model's config.

    reference: the previous generated frame (both papers' text), the first given frame (the released script), or the
        frame itself, which shows the network the true mouth.
    blend: what the area outside jaw and nose is kept from at every step: the true frame (the script; its latents near
        the border have seen the true mouth), the masked frame, or nothing.
    steps, eta: of DDIM, over the model's config where given. batch: clips in lock-step.
    """

    model: str = ""
    landmarks: str = ""
    logits: str | None = None
    reference: Literal["previous", "first", "same"] = "previous"
    blend: Literal["truth", "masked", "off"] = "truth"
    steps: int | None = None
    eta: float | None = None
    batch: int = 8


class DiffTalk(Method):
    """Latent diffusion with masked and reference frame, DeepSpeech audio and landmarks."""

    name = "difftalk"
    title = "DiffTalk"
    incidental = frozenset({"model", "landmarks", "logits", "batch"})
    Options = DiffTalkOptions

    options: DiffTalkOptions

    @property
    def batch_size(self) -> int:
        return self.options.batch

    @cached_property
    def model(self) -> DiffTalkModel:
        """Loaded on first use, overrides applied, made ready to sample. Raises UsageError or WeightsError."""
        import torch

        from syncdiff_methods.difftalk.model import DiffTalkModel
        from syncdiff_methods.syncdiff.packing import can_pack, pack
        from syncdiff_methods.syncdiff.samplers import check_steps

        model = DiffTalkModel.from_pretrained(self._folder())
        given = {key: getattr(self.options, key) for key in ("steps", "eta")}
        diffusion = replace(model.config.diffusion, **{key: value for key, value in given.items() if value is not None})
        check_steps(diffusion.steps, diffusion.train_steps)
        model.config = replace(model.config, diffusion=diffusion, logits=self._logits(model.config))
        model.to(self.runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if can_pack(torch.device(self.runtime.device)):
            pack(model.autoencoder)
            pack(model.denoiser)
        return model

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        """See `Method.generate`. The whole generated image at the clip's own size; nothing is pasted."""
        from syncdiff_methods.difftalk.generation import generate_frames
        from syncdiff_methods.syncdiff.autoencoder import to_frames

        inputs, videos = [], []
        for clip in clips:
            try:
                inputs.append(self._inputs(clip))
                videos.append(np.empty_like(clip.frames))
            except ClipError as error:
                yield clip.id, error
        if not inputs:
            return

        def keep(index: int, t: int, image: Any) -> None:
            height, width = videos[index].shape[1:3]
            videos[index][t] = to_frames(image[None], height, width)[0].cpu().numpy()

        reference = self.options.reference
        generate_frames(self.model, inputs, seed=seed, reference=reference, on_frame=keep, progress=progress)
        for given, video in zip(inputs, videos, strict=True):
            yield given.clip_id, video

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        """See `Method.weights_used`. Raises UsageError without a model."""
        from syncdiff_bench.weights.digests import sha256_of
        from syncdiff_methods.difftalk.model import PARTS, read_config
        from syncdiff_methods.syncdiff.model import part_files

        folder = self._folder()
        self._logits(read_config(folder))
        files = part_files(folder, PARTS).items()
        return tuple(WeightsUsed(f"difftalk/{folder.name}/{part}", sha256_of(file), file) for part, file in files)

    def general_caveats(self) -> tuple[Caveat, ...]:
        """A model, or an acoustic model before it, that was trained on other data."""
        from syncdiff_bench.origins import foreign, origin_of
        from syncdiff_methods.difftalk.model import read_config
        from syncdiff_methods.syncdiff.deepspeech import foreign_recogniser

        folder, dataset = self._folder(), self.runtime.dataset
        return (
            *foreign(origin_of(folder), dataset, f"{self.name} runs a model"),
            *foreign_recogniser(self._logits(read_config(folder)), dataset, self.name),
        )

    def _folder(self) -> Path:
        from syncdiff_methods.difftalk.model import locate

        if not self.options.model:
            raise UsageError(
                "difftalk needs --set model=DIR: `syncdiff-bench weights import difftalk FILE DIR` makes one of the"
                " official layout, `syncdiff-bench train` one of your own; model=pocket is for drawn faces"
            )
        return locate(self.options.model)

    def _logits(self, config: DiffTalkConfig) -> str:
        """The character scores that count. Raises UsageError where neither options nor config name any."""
        logits = config.logits if self.options.logits is None else self.options.logits
        if not logits:
            raise UsageError(
                "difftalk needs --set logits=...: a folder of <clip id>.npy, DeepSpeech's scores, or an acoustic model"
            )
        return logits

    def _inputs(self, clip: Clip) -> ClipInputs:
        import torch

        from syncdiff_bench.faces.landmarks import landmarks_of
        from syncdiff_methods.difftalk.generation import ClipInputs
        from syncdiff_methods.difftalk.inputs import KEPT, kept_cells, neighbours
        from syncdiff_methods.syncdiff.autoencoder import to_images
        from syncdiff_methods.syncdiff.deepspeech import clip_windows
        from syncdiff_methods.syncdiff.masking import below_nose, blank, scaled

        model, device, options = self.model, self.runtime.device, self.options
        config = model.config
        n, height, width = clip.frames.shape[:3]
        points = scaled(landmarks_of(clip, options.landmarks), (height, width), config.frame_size)
        windows = neighbours(clip_windows(clip, n, config.logits), config.window)

        def encode(images: torch.Tensor) -> torch.Tensor:
            return torch.cat([model.autoencoder.encode(chunk) for chunk in torch.split(images, CHUNK)])

        with torch.inference_mode():
            seen = torch.from_numpy(points[:, KEPT]).to(device)
            tokens = model.conditions(torch.from_numpy(windows).to(device), seen)
            images = to_images(torch.from_numpy(clip.frames).to(device), config.frame_size)
            masked = encode(blank(images, torch.from_numpy(below_nose(points, config.frame_size)).to(device)))
            truth = encode(images) if options.reference == "same" or options.blend == "truth" else None
            known = {"truth": truth, "masked": masked, "off": None}[options.blend]
            first = model.autoencoder.encode(images[:1])[0]
            keep = kept_cells(points, config.frame_size, config.latent_size)
        whole = truth if options.reference == "same" and truth is not None else first
        return ClipInputs(clip.id, masked, known, torch.from_numpy(keep[:, None]).to(device), whole, tokens)
