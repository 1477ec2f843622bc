"""Train a small Wav2Lip: L1 and a sync loss on windows of five frames, a random other window as reference.

As published (Prajwal et al. 2020; docs/spec/wav2lip.md#inputs), with two departures: the sync expert learns beside the
generator (`expert`), and the mel window of a frame is the one that inference uses (the published training looked one
frame earlier).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from syncdiff_bench.errors import UsageError
from syncdiff_bench.training.task import TrainingTask
from syncdiff_methods.wav2lip.checkpoint import save_generator
from syncdiff_methods.wav2lip.config import FACE_SIZE, Wav2LipConfig
from syncdiff_methods.wav2lip.expert import FRAMES, SyncExpert, mismatch
from syncdiff_methods.wav2lip.face_cache import ClipFaces, face_cache, read_faces
from syncdiff_methods.wav2lip.generator import Wav2Lip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from syncdiff_bench.training.cache import TensorCache

HELD_OUT_CLIPS = 16
SHOWN_CLIPS = 4
NORM_MOMENTUM = 0.02  # of the last 50 batches rather than 10: a batch has few different faces


@dataclass(frozen=True)
class Wav2LipTrainingOptions:
    """sync_weight: share of the sync loss in the generator's loss, from step `sync_from` on (0.03 as published).
    expert_width: channels of the expert. windows: per clip and step, those that the expert learns from; the generator
    draws the first. settle_from: step from which the generator's batch norms use the statistics that they have
    gathered, as they will at test, 0: never; the few faces of a small batch are a poor sample. half: export float16.
    """

    model: Wav2LipConfig = field(default_factory=Wav2LipConfig)
    sync_weight: float = 0.03
    sync_from: int = 0
    expert_width: int = 16
    windows: int = 8
    settle_from: int = 0
    half: bool = False

    def __post_init__(self) -> None:
        if self.windows < FRAMES:
            raise UsageError(f"wav2lip: windows is {self.windows}; give {FRAMES} or more, one per frame that is drawn")
        if not 0 <= self.sync_weight < 1:
            raise UsageError(f"wav2lip: sync_weight is {self.sync_weight}; give a share from 0 to below 1")

    @property
    def stretch(self) -> int:
        """Frames in a row that an example takes from its clip."""
        return self.windows + FRAMES - 1


class TrainedWav2Lip(nn.Module):
    """Generator and expert. The expert's weights get their gradients from real frames alone."""

    def __init__(self, options: Wav2LipTrainingOptions) -> None:
        super().__init__()
        self.generator = Wav2Lip(options.model)
        self.generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in self.generator.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = NORM_MOMENTUM
        self.expert = SyncExpert(options.expert_width)
        self.windows = options.windows
        self.sync_weight = 0.0

    def forward(self, faces: Tensor, references: Tensor, mel: Tensor) -> dict[str, Tensor]:
        """faces: (B, W + 4, 3, 96, 96) uint8 BGR in a row; references: (B, 5, 3, 96, 96) of elsewhere in the clip;
        mel: (B, W, 80, 16), window w for frame w. The generator draws frames 0..4.
        """
        real = faces.float() / 255
        sound = self.expert.embed_sound(mel.flatten(0, 1).float()[:, None])
        partner = torch.arange(len(sound), device=sound.device)
        lips = self.expert.embed_lips(real.unfold(1, FRAMES, 1).movedim(-1, 2).flatten(0, 1))
        expert = (mismatch(lips, sound, partner) + mismatch(sound, lips, partner)) / 2

        drawn = self.draw(real[:, :FRAMES], references.float() / 255, mel[:, :FRAMES]).float()
        error = (drawn - real[:, :FRAMES]).abs().mean()
        frozen = {name: tensor.detach() for name, tensor in self.expert.named_parameters()}
        seen = functional_call(_Lips(self.expert), {f"expert.{name}": t for name, t in frozen.items()}, (drawn,))
        sync = mismatch(seen, sound.detach(), partner[:: self.windows])
        found = (lips.detach() @ sound.detach().T).argmax(dim=1) == partner
        loss = (1 - self.sync_weight) * error + self.sync_weight * sync + expert
        return {"loss": loss, "l1": error, "sync": sync, "expert": expert, "found": found.float().mean()}

    def draw(self, faces: Tensor, references: Tensor, mel: Tensor) -> Tensor:
        """(B, T, 3, 96, 96) in 0..1 of faces and references (B, T, 3, 96, 96) in 0..1 and mel (B, T, 80, 16)."""
        masked = faces.clone()
        masked[..., FACE_SIZE // 2 :, :] = 0
        seen = torch.cat([masked, references], dim=2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.generator(mel.flatten(0, 1).float()[:, None], seen).unflatten(0, faces.shape[:2])  # type: ignore[no-any-return]


class _Lips(nn.Module):
    """`SyncExpert.embed_lips` as a forward, which is what `functional_call` calls."""

    def __init__(self, expert: SyncExpert) -> None:
        super().__init__()
        self.expert = expert

    def forward(self, faces: Tensor) -> Tensor:
        return self.expert.embed_lips(faces)


class Wav2LipTask(TrainingTask):
    """A stretch of frames of each of B random clips per step."""

    Options = Wav2LipTrainingOptions
    options: Wav2LipTrainingOptions

    def prepare(self) -> None:
        for cache in self.caches():
            cache.complete()
        self.clips = read_faces(self._cache(self.data.split), self.options.stretch)
        self.held_out = read_faces(self._cache(self.data.validation_split), self.options.stretch)

    def caches(self) -> Sequence[TensorCache]:
        return [self._cache(split) for split in dict.fromkeys((self.data.split, self.data.validation_split))]

    def build(self) -> nn.Module:
        return TrainedWav2Lip(self.options)

    def between(self, model: nn.Module, step: int) -> None:
        assert isinstance(model, TrainedWav2Lip)
        model.sync_weight = self.options.sync_weight if step >= self.options.sync_from else 0.0
        if 0 < self.options.settle_from <= step:
            model.generator.eval()

    def batch(self, seed: int, step: int, rank: int, size: int) -> Mapping[str, Tensor]:
        return self._draw(self.clips, np.random.default_rng([seed, step, rank]), size)[1]

    def describe(self, seed: int, step: int, rank: int, size: int) -> Sequence[str]:
        return self._draw(self.clips, np.random.default_rng([seed, step, rank]), size)[0]

    def probe_batch(self, size: int) -> Mapping[str, Tensor]:
        n = 2 * self.options.stretch
        clip = ClipFaces("probe", torch.zeros(n, FACE_SIZE, FACE_SIZE, 3, dtype=torch.uint8), torch.zeros(n, 80, 16))
        return self._draw([clip], np.random.default_rng(0), size)[1]

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """Errors of the lower half on held-out clips, the first frame as reference, in grey levels of 0..255; what
        repeating the first frame would give (`l1_static`); and how many windows of five drawn frames lie nearest to
        their own sound among those of their clip (`in_sync`), as the expert sees it, beside the same of real frames.
        """
        assert isinstance(model, TrainedWav2Lip)
        figures: dict[str, list[float]] = {name: [] for name in ("l1", "l1_static", "in_sync", "in_sync_real")}
        for clip, real, drawn in self._redrawn(model):
            half = FACE_SIZE // 2
            figures["l1"].append(255 * float((drawn - real)[..., half:, :].abs().mean()))
            figures["l1_static"].append(255 * float((real[:1] - real)[..., half:, :].abs().mean()))
            sound = model.expert.embed_sound(clip.mel[:, None].float().to(real.device))[: 1 - FRAMES]
            for name, faces in (("in_sync", drawn), ("in_sync_real", real)):
                lips = model.expert.embed_lips(faces.unfold(0, FRAMES, 1).movedim(-1, 1))
                nearest = (lips @ sound.T).argmax(dim=1)
                figures[name].append(float((nearest == torch.arange(len(lips), device=real.device)).float().mean()))
        return {name: float(np.mean(values)) for name, values in figures.items()}

    def samples(self, model: nn.Module) -> NDArray[Any]:
        """Every third frame of held-out clips: what is real above what is drawn."""
        assert isinstance(model, TrainedWav2Lip)
        rows = []
        for _, real, drawn in self._redrawn(model, SHOWN_CLIPS):
            for faces in (real, drawn):
                shown = faces[: self.options.stretch : 3].permute(2, 0, 3, 1).flatten(1, 2)  # side by side
                rows.append((shown.flip(-1) * 255).to(torch.uint8))
        picture: NDArray[Any] = torch.cat(rows).cpu().numpy()
        return picture

    def export(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, TrainedWav2Lip)
        save_generator(model.generator, folder, half=self.options.half)

    def _redrawn(self, model: TrainedWav2Lip, clips: int = HELD_OUT_CLIPS) -> Any:
        """(clip, real, drawn) with (T, 3, 96, 96) float32 BGR faces in 0..1 of the first second of held-out clips."""
        device = next(model.parameters()).device
        for clip in self.held_out[:clips]:
            short = ClipFaces(clip.clip_id, clip.faces[:25], clip.mel[:25])
            real = short.faces.permute(0, 3, 1, 2).to(device).float() / 255
            drawn = model.draw(real[None], real[None, :1].expand(1, *real.shape), short.mel[None].to(device))[0]
            yield short, real, drawn

    def _cache(self, split: str) -> TensorCache:
        return face_cache(self.data.dataset, split, self.data.cache)

    def _draw(
        self, clips: Sequence[ClipFaces], rng: np.random.Generator, size: int
    ) -> tuple[list[str], dict[str, Tensor]]:
        """The examples in words, and as tensors."""
        words, rows = [], []
        for index in rng.integers(len(clips), size=size):
            clip, stretch = clips[index], self.options.stretch
            start = int(rng.integers(len(clip) - stretch + 1))
            other = _elsewhere(start, len(clip) - FRAMES + 1, rng)
            words.append(f"clip {clip.clip_id} frames {start} to {start + stretch - 1}")
            rows.append(
                {
                    "faces": clip.faces[start : start + stretch].permute(0, 3, 1, 2),
                    "references": clip.faces[other : other + FRAMES].permute(0, 3, 1, 2),
                    "mel": clip.mel[start : start + self.options.windows].float(),
                }
            )
        return words, {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def _elsewhere(start: int, starts: int, rng: np.random.Generator) -> int:
    """A window of the same clip that does not begin where the drawn one does."""
    other = int(rng.integers(starts - 1))
    return other + (other >= start)
