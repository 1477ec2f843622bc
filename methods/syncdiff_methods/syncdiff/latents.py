"""Trainings on the latents of a frozen autoencoder, SyncDiff's and DiffTalk's: their caches, their loss, their task.

What is constant over a training is computed once per clip:

    CACHE/latents/<dataset>-<split>[-<mask>]/  clean, masked (T, 3, h, w) float16; area (T, h, w) uint8: how much of
                                               each latent cell is masked, 255 for all of it
    CACHE/audio/<dataset>-<split>-<kind>/      activations (T, ...) float32 of `AudioCondition.frozen_activations`

The two are apart because variants that freeze other layers (kind "nf9", "nf0", "deepspeech") share the latents, by far
the larger part. What each was made from and with is written beside it, and another autoencoder, mask, audio encoder or
list of clips is refused.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from syncdiff_bench.arrays import writable
from syncdiff_bench.errors import UsageError
from syncdiff_bench.training.cache import TensorCache
from syncdiff_bench.views import boxes_fact
from syncdiff_methods.clip_task import ClipTask, stacked
from syncdiff_methods.syncdiff.audio import SYMBOLS, WINDOW, AudioCondition, acoustic_weights, clip_features
from syncdiff_methods.syncdiff.beyond.consistency import clean_estimate
from syncdiff_methods.syncdiff.config import AudioConfig, ConditionConfig, DiffusionConfig
from syncdiff_methods.syncdiff.masking import apply_mask, cell_area, clip_mask
from syncdiff_methods.syncdiff.model import Autoencoder, load_autoencoder, read_autoencoder, to_frames, to_images
from syncdiff_methods.syncdiff.sampling import build_scheduler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from syncdiff_bench.contracts import Clip, Dataset
    from syncdiff_bench.training.task import TrainingData
    from syncdiff_methods.model_folder import FolderModel

CHUNK = 32  # frames that the autoencoder encodes together
LOG_MEL = 104
SHOWN_CLIPS, SHOWN_FRAMES = 4, 6  # in the sample images
PROBED_FRAMES = 75  # length of the clips that an estimate assumes


@dataclass(frozen=True, eq=False)
class ClipLatents:
    """What training reads of a clip.

    clean, masked: (T, 3, h, w) float16.
    mask: (T, h, w) uint8, how much of each cell is masked.
    audio: (T, ...) float32 of `AudioCondition.frozen_activations`.
    landmarks: (T, 39, 2) float32, DiffTalk's only; mel, areas: of a sync loss only (`beyond.sync_loss`).
    """

    clip_id: str
    clean: Tensor
    masked: Tensor
    mask: Tensor
    audio: Tensor
    landmarks: Tensor | None = None
    mel: Tensor | None = None
    areas: Tensor | None = None

    def __len__(self) -> int:
        return len(self.clean)


def latents_cache(
    dataset: Dataset,
    split: str,
    autoencoder: Autoencoder,
    frame_size: int,
    condition: ConditionConfig,
    cache: Path,
    device: str,
) -> TensorCache:
    """Latents of every frame of a split. The autoencoder moves to `device` for as long as it encodes."""

    def encode(clip_id: str) -> dict[str, Tensor]:
        # half as fast again on a CPU
        autoencoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return encode_frames(dataset.clip(clip_id), autoencoder, frame_size, condition, device)

    mask = {name: value for name, value in asdict(condition).items() if name.startswith("mask")}
    boxed = condition.mask_mode != "nose_to_bottom"
    kind = "".join(
        f"-{value}"
        for value, usual in (
            (condition.mask_mode, ConditionConfig.mask_mode),
            (condition.mask_boxes, ConditionConfig.mask_boxes),
        )
        if value != usual
    )
    cells = autoencoder.latent_size(frame_size) ** 2
    return TensorCache(
        folder=cache / "latents" / f"{dataset.name}-{split}{kind}",
        title=f"latents of {dataset.name} {split}, full and masked",
        split=split,
        facts={
            "autoencoder": _digest(autoencoder.vq, ("encoder.", "quant_conv."), autoencoder.config.scaling_factor),
            "frame size": str(frame_size),
            "mask": json.dumps(mask),
            "list of clips": dataset.fingerprint(split)[:16],
            **(boxes_fact(dataset, split) if boxed else {}),
        },
        clip_ids=dataset.clip_ids(split),
        encode=encode,
        bytes_per_frame=cells * (2 * 3 * 2 + 1),
        boxed=boxed,
    )


def audio_cache(dataset: Dataset, split: str, condition: AudioCondition, cache: Path, device: str) -> TensorCache:
    """What `condition` computes of every clip below its first trained layer."""
    config = condition.config

    def encode(clip_id: str) -> dict[str, Tensor]:
        features = torch.from_numpy(clip_features(dataset.clip(clip_id), config))
        activations = condition.to(device).frozen_activations(features[None].to(device))[0]
        return {"activations": activations.cpu().contiguous()}

    kind = "deepspeech" if config.features == "deepspeech" else f"nf{config.frozen_layers}"
    weights = acoustic_weights(config.logits)
    return TensorCache(
        folder=cache / "audio" / f"{dataset.name}-{split}-{kind}",
        title=f"audio of {dataset.name} {split}, as it enters the first trained layer ({kind})",
        split=split,
        facts={
            "audio encoder": _digest(condition.encoder, _frozen_names(config)),
            "character scores": " ".join([config.logits, *(one.sha256[:16] for one in weights)]),
            "list of clips": dataset.fingerprint(split)[:16],
        },
        clip_ids=dataset.clip_ids(split),
        encode=encode,
        bytes_per_frame=4 * torch.Size(activation_shape(config)).numel(),
    )


@torch.no_grad()
def encode_frames(
    clip: Clip, autoencoder: Autoencoder, frame_size: int, condition: ConditionConfig, device: str
) -> dict[str, Tensor]:
    """clean, masked and area (of the mask) of one clip. Raises ClipError where it cannot be read."""
    images = to_images(torch.from_numpy(writable(clip.frames)), frame_size)
    mask = clip_mask(clip, condition, frame_size)

    def encode(batch: Tensor) -> Tensor:
        return torch.cat([autoencoder.encode(chunk.to(device)).cpu() for chunk in torch.split(batch, CHUNK)])

    area = cell_area(mask, autoencoder.latent_size(frame_size))
    return {
        "clean": encode(images).half().contiguous(),
        "masked": encode(apply_mask(images, mask)).half().contiguous(),
        "area": (area * 255).round().to(torch.uint8),
    }


def activation_shape(config: AudioConfig) -> tuple[int, ...]:
    """Of one frame of what the audio cache holds."""
    if config.features == "deepspeech":
        return (WINDOW, SYMBOLS)
    return (config.dim,) if config.frozen_layers else (LOG_MEL,)


def _frozen_names(config: AudioConfig) -> tuple[str, ...]:
    """Beginnings of the names of the encoder's parameters below the first trained layer."""
    if config.features == "deepspeech" or config.frozen_layers == 0:
        return ()
    layers = tuple(f"encoder.layers.{i}." for i in range(config.frozen_layers))
    return ("feature_extractor_audio.", "layer_norm.", "post_extract_proj.", "encoder.pos_conv.", *layers)


def _digest(module: nn.Module, beginnings: tuple[str, ...], *numbers: float) -> str:
    """Of the parameters whose names begin so, and of the numbers."""
    digest = hashlib.sha256(json.dumps(numbers).encode())
    chosen: Mapping[str, Tensor] = {
        name: tensor for name, tensor in sorted(module.state_dict().items()) if name.startswith(beginnings)
    }
    for name, tensor in chosen.items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class DiffusionLoss:
    """The loss of latent diffusion (paper Eq. 3; docs/spec/ldm.md#loss).

    mask_weight: of the error where the frame is masked against 1 elsewhere (1 in the paper).
    """

    def __init__(self, diffusion: DiffusionConfig, mask_weight: float = 1.0) -> None:
        self.prediction = diffusion.prediction
        self.mask_weight = mask_weight
        self.scheduler = build_scheduler(diffusion)

    def noisy(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """(B, 3, h, w) latents with (B,) long timesteps' worth of noise."""
        return self.scheduler.add_noise(clean, noise, timestep)  # type: ignore[no-any-return]

    def __call__(
        self, prediction: Tensor, clean: Tensor, noise: Tensor, timestep: Tensor, mask: Tensor
    ) -> dict[str, Tensor]:
        """Mean square error of a prediction (B, 3, h, w): `loss`, weighed, and `mouth`, of the masked cells alone.

        mask: (B, h, w) in 0..1, how much of a cell is masked.
        """
        error = (prediction - self._target(clean, noise, timestep)).square().mean(dim=1)
        weight = 1 + (self.mask_weight - 1) * mask
        inside = (error * mask).sum() / mask.sum().clamp(min=1)
        return {"loss": (error * weight).mean() / weight.mean().detach(), "mouth": inside}

    def estimate(self, prediction: Tensor, noisy: Tensor, timestep: Tensor) -> Tensor:
        """The clean latents (B, 3, h, w) that a prediction from noisy ones means."""
        kept: Tensor = self.scheduler.alphas_cumprod.to(noisy.device)[timestep].view(-1, 1, 1, 1)
        return clean_estimate(self.prediction, prediction, noisy, kept)

    def _target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return clean
        return self.scheduler.get_velocity(clean, noise, timestep)  # type: ignore[no-any-return]


class LatentTask(ClipTask):
    """One random target frame of each of B random clips per step.

    Its options have `model`, `half` (export float16), `validation_batches` (of 32 examples each) and `autoencoder`, a
    folder or a shipped name, which replaces `model.autoencoder`. Raises UsageError where the autoencoder was trained on
    frames of another size.

    Model: what is exported; its first part is the autoencoder, the trained module has the others.
    learns_from: what a clip must have, in words.
    """

    Model: ClassVar[type[FolderModel]]
    learns_from: ClassVar[str]
    incidental = frozenset(("validation_batches",))

    def __init__(self, options: Any, data: TrainingData, device: str = "cpu") -> None:
        super().__init__(options, data, device)
        try:
            config, frame_size = read_autoencoder(options.autoencoder)
        except UsageError:
            return  # `prepare` says that it is missing
        if frame_size != options.model.frame_size:
            raise UsageError(
                f"{options.autoencoder}: trained on {frame_size} px frames, but options.model.frame_size is"
                f" {options.model.frame_size}; make them equal"
            )
        self.options = replace(options, model=replace(options.model, autoencoder=config))

    @abstractmethod
    def example(self, clip: ClipLatents, rng: np.random.Generator) -> dict[str, Tensor]:
        """A target frame with its conditions; `frame`: its index."""

    @abstractmethod
    def finish(self, clips: Sequence[ClipLatents], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch of examples as the trained module takes it."""

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes per frame of what `ClipLatents` holds beside the latents, by name."""

    def boxed_clips(self, part: int = 0, parts: int = 1) -> Mapping[str, Sequence[str]]:
        """See `TrainingTask.boxed_clips`; all clips where there is no autoencoder yet, whose caches cannot be there."""
        try:
            read_autoencoder(self.options.autoencoder)
        except UsageError:
            splits = (self.data.split, self.data.validation_split) if self.boxed else ()
            return {split: self.data.dataset.clip_ids(split) for split in splits}
        return super().boxed_clips(part, parts)

    @property
    def boxed(self) -> bool:
        """Whether the mask is that of face boxes."""
        return bool(self.options.model.condition.mask_mode != "nose_to_bottom")

    @abstractmethod
    def conditions(self, model: Any, clip: ClipLatents, shown: slice, first_image: Tensor) -> Any:
        """What `generate` takes of some frames of a clip, on the model's device.

        first_image: (3, S, S), the first of them; the clean latent before them stands for the first given frame.
        """

    @abstractmethod
    def generate(self, model: Any, conditions: Sequence[Any], on_frame: Callable[[int, int, Tensor], None]) -> None:
        """Generate the frames of several `conditions`; `on_frame` as in `sampling.frame_by_frame`."""

    @cached_property
    def autoencoder(self) -> Autoencoder:
        """Frozen, on the CPU. Raises UsageError or WeightsError where there is none."""
        return load_autoencoder(self.options.autoencoder)[0].requires_grad_(False)

    def latents_of(self, split: str, condition: ConditionConfig) -> TensorCache:
        data, size = self.data, self.options.model.frame_size
        return latents_cache(data.dataset, split, self.autoencoder, size, condition, data.cache, self.device)

    def prepare(self) -> None:
        super().prepare()
        self.autoencoder.to("cpu")

    def read_clips(self, split: str) -> list[ClipLatents]:
        """The clips that are in all caches and have two frames or more, mapped from disk."""
        caches = [cache.read() for cache in self.known_caches(split)]
        clips = []
        for clip_id in caches[0]:
            if all(clip_id in cache for cache in caches) and len(caches[0][clip_id]["clean"]) >= 2:
                found = {name: tensor for cache in caches for name, tensor in cache[clip_id].items()}
                clips.append(ClipLatents(clip_id, mask=found.pop("area"), audio=found.pop("activations"), **found))
        if not clips:
            needed = f"two frames or more with {self.learns_from}"
            raise UsageError(f"split {split!r} has no clip of {needed}; nothing to train on")
        return clips

    def draw(
        self, clips: Sequence[ClipLatents], rng: np.random.Generator, size: int
    ) -> tuple[Iterable[str], dict[str, Tensor]]:
        chosen = [clips[i] for i in rng.integers(len(clips), size=size)]
        batch = stacked([self.example(clip, rng) for clip in chosen])
        # Read when asked for: an estimate's tensors have no values.
        words = (f"clip {clip.clip_id} frame {t}" for clip, t in zip(chosen, batch["frame"], strict=True))
        batch["noise"] = torch.from_numpy(rng.standard_normal(batch["clean"].shape, dtype=np.float32))
        batch["timestep"] = torch.from_numpy(rng.integers(self.options.model.diffusion.train_steps, size=size))
        return words, self.finish(chosen, batch)

    def probe_batch(self, size: int) -> Mapping[str, Tensor]:
        side, n = self.options.model.latent_size, PROBED_FRAMES
        latents, mask = torch.zeros(n, 3, side, side), torch.full((n, side, side), 128, dtype=torch.uint8)
        others = {name: torch.zeros(n, *shape) for name, shape in self.shapes().items()}
        return self.draw([ClipLatents("probe", latents, latents, mask, **others)], np.random.default_rng(0), size)[1]

    def averaged(self, model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        """The UNet, and the bottleneck where there is one, as released (docs/spec/syncdiff.md#training)."""
        return ((name, p) for name, p in super().averaged(model) if name.startswith("denoiser."))

    def losses(
        self, model: nn.Module, suffix: str, without: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    ) -> dict[str, float]:
        """Mean losses on fixed draws of the held-out clips; those named with `suffix` lack what one input tells.

        without: batch -> what takes the place of that input.
        """
        device = next(model.parameters()).device
        totals: dict[str, float] = {}
        batches = self.options.validation_batches
        for i in range(batches):
            self.tell(f"validation {i + 1}/{batches}")
            batch = self.draw(self.held_out, np.random.default_rng([77, i]), 32)[1]
            for given, end in ((batch, ""), ({**batch, **without(batch)}, suffix)):
                for name, value in model(**{key: tensor.to(device) for key, tensor in given.items()}).items():
                    totals[name + end] = totals.get(name + end, 0.0) + value.item() / batches
        return totals

    def whole(self, model: nn.Module) -> Any:
        """The trained networks and the autoencoder as one `Model`, without a copy of any."""
        with torch.device("meta"):
            whole = self.Model(self.options.model)
        whole.autoencoder = self.autoencoder
        for part in self.Model.parts[1:]:
            setattr(whole, part, getattr(model, part))
        return whole.eval()

    @torch.no_grad()
    def samples(self, model: nn.Module) -> NDArray[Any]:
        """Consecutive frames from the middle of held-out clips: a row of true ones above a row of generated ones."""
        size, clips = self.options.model.frame_size, self.held_out
        chosen = clips[:: max(1, len(clips) // SHOWN_CLIPS)][:SHOWN_CLIPS]
        whole = self.whole(model).to(next(model.parameters()).device)
        rows = torch.full((2 * len(chosen), SHOWN_FRAMES, 3, size, size), -1.0)  # black where a clip is shorter
        conditions = []
        for row, clip in zip(rows[::2], chosen, strict=True):
            start = max(0, (len(clip) - SHOWN_FRAMES) // 2)
            shown = slice(start, start + SHOWN_FRAMES)
            target = to_images(torch.from_numpy(self.data.dataset.clip(clip.clip_id).frames[shown].copy()), size)
            row[: len(target)] = target
            conditions.append(self.conditions(whole, clip, shown, target[0]))

        def keep(index: int, t: int, image: Tensor) -> None:
            rows[2 * index + 1, t] = image.cpu()

        self.generate(whole, conditions, keep)
        self.autoencoder.to("cpu")
        return np.concatenate([np.concatenate(to_frames(row, size, size).numpy(), axis=1) for row in rows])

    def export(self, model: nn.Module, folder: Path) -> None:
        """A folder of `Model`."""
        dtype = torch.float16 if self.options.half else torch.float32
        self.whole(model).save_pretrained(folder, dtype=dtype)
