"""Train a small Wav2Lip: L1 and a sync loss on windows of five frames, a random other window as reference.

As published (Prajwal et al. 2020; docs/spec/wav2lip.md#inputs), with two protocol deviations: the sync expert learns
beside the generator, and the mel window of a frame is the one that inference uses (the published training looked one
frame earlier).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.bilinear import FACE_SIZE
from syncdiff_bench.training.task import validated
from syncdiff_methods.clip_task import stacked
from syncdiff_methods.wav2lip.checkpoint import save_generator
from syncdiff_methods.wav2lip.clip_faces import ClipFaces, FaceTask
from syncdiff_methods.wav2lip.expert import FRAMES, SyncExpert, contrast, mismatch
from syncdiff_methods.wav2lip.generator import Wav2Lip, Wav2LipConfig

VALIDATION_BATCH = 16  # clips
SHOWN_CLIPS = 4
NORM_MOMENTUM = 0.02  # of the last 50 batches rather than 10: a batch has few different faces


@dataclass(frozen=True)
class Wav2LipTrainingOptions:
    """Options of a training.

    sync_weight: share of the sync loss in the generator's loss, from step `sync_from` on (0.03 as published).
    expert_width: channels of the expert.
    windows: per clip and step, those that the expert learns from; the generator draws the first.
    settle_from: step from which the generator's batch norms use the statistics that they have gathered, as they will at
        test, 0: never; the few faces of a small batch are a poor sample.
    half: export float16.
    validation_batches: of the first second of 16 held-out clips each, of which a validation is the mean (0: all).
    """

    model: Wav2LipConfig = field(default_factory=Wav2LipConfig)
    sync_weight: float = 0.03
    sync_from: int = 0
    expert_width: int = 16
    windows: int = 8
    settle_from: int = 0
    half: bool = False
    validation_batches: int = 1

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
        """The losses of a batch; the generator draws frames 0..4.

        faces: (B, W + 4, 3, 96, 96) uint8 BGR in a row.
        references: (B, 5, 3, 96, 96) of elsewhere in the clip.
        mel: (B, W, 80, 16), window w for frame w.
        """
        real = faces.float() / 255
        lips, audio = self.expert.embed_windows(real, mel)
        expert, found = contrast(lips, audio)

        drawn = self.draw(real[:, :FRAMES], references.float() / 255, mel[:, :FRAMES]).float()
        error = (drawn - real[:, :FRAMES]).abs().mean()
        frozen = {name: tensor.detach() for name, tensor in self.expert.named_parameters()}
        seen = functional_call(self.expert, frozen, (drawn,))
        firsts = torch.arange(0, len(audio), self.windows, device=audio.device)
        sync = mismatch(seen, audio.detach(), firsts)
        loss = (1 - self.sync_weight) * error + self.sync_weight * sync + expert
        return {"loss": loss, "l1": error, "sync": sync, "expert": expert, "found": found}

    def draw(self, faces: Tensor, references: Tensor, mel: Tensor) -> Tensor:
        """(B, T, 3, 96, 96) in 0..1 of faces and references (B, T, 3, 96, 96) in 0..1 and mel (B, T, 80, 16)."""
        masked = faces.clone()
        masked[..., FACE_SIZE // 2 :, :] = 0
        seen = torch.cat([masked, references], dim=2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.generator(mel.flatten(0, 1).float()[:, None], seen).unflatten(0, faces.shape[:2])  # type: ignore[no-any-return]


class Wav2LipTask(FaceTask):
    """A stretch of frames of each of B random clips per step."""

    Options = Wav2LipTrainingOptions
    options: Wav2LipTrainingOptions
    incidental = frozenset(("validation_batches",))

    def build(self) -> nn.Module:
        return TrainedWav2Lip(self.options)

    def between(self, model: nn.Module, step: int) -> None:
        assert isinstance(model, TrainedWav2Lip)
        model.sync_weight = self.options.sync_weight if step >= self.options.sync_from else 0.0
        if 0 < self.options.settle_from <= step:
            model.generator.eval()

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """Errors of the lower half on held-out clips, the first frame as reference, in grey levels of 0..255; what
        repeating the first frame would give (`l1_static`); and how many windows of five drawn frames lie nearest to
        their own audio among those of their clip (`in_sync`), as the expert sees it, beside the same of real frames.
        """
        assert isinstance(model, TrainedWav2Lip)
        figures: dict[str, list[float]] = {name: [] for name in ("l1", "l1_static", "in_sync", "in_sync_real")}
        clips = validated(self.held_out, self.options.validation_batches, VALIDATION_BATCH)
        for clip, real, drawn in self._redrawn(model, clips):
            half = FACE_SIZE // 2
            figures["l1"].append(255 * float((drawn - real)[..., half:, :].abs().mean()))
            figures["l1_static"].append(255 * float((real[:1] - real)[..., half:, :].abs().mean()))
            audio = model.expert.embed_audio(clip.mel[:, None].float().to(real.device))[: 1 - FRAMES]
            for name, faces in (("in_sync", drawn), ("in_sync_real", real)):
                lips = model.expert.embed_lips(faces.unfold(0, FRAMES, 1).movedim(-1, 1))
                nearest = (lips @ audio.T).argmax(dim=1)
                figures[name].append(float((nearest == torch.arange(len(lips), device=real.device)).float().mean()))
        return {name: float(np.mean(values)) for name, values in figures.items()}

    def samples(self, model: nn.Module) -> NDArray[Any]:
        """Every third frame of held-out clips: what is real above what is drawn."""
        assert isinstance(model, TrainedWav2Lip)
        rows = []
        for _, real, drawn in self._redrawn(model, self.held_out[:SHOWN_CLIPS]):
            for faces in (real, drawn):
                shown = faces[: self.options.stretch : 3].permute(2, 0, 3, 1).flatten(1, 2)  # side by side
                rows.append((shown.flip(-1) * 255).to(torch.uint8))
        image: NDArray[Any] = torch.cat(rows).cpu().numpy()
        return image

    def export(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, TrainedWav2Lip)
        save_generator(model.generator, folder, half=self.options.half)

    def _redrawn(self, model: TrainedWav2Lip, clips: Sequence[ClipFaces]) -> Any:
        """(clip, real, drawn) with (T, 3, 96, 96) float32 BGR faces in 0..1 of the first second of some clips."""
        device = next(model.parameters()).device
        for clip in clips:
            short = ClipFaces(clip.clip_id, clip.faces[:25], clip.mel[:25])
            real = short.faces.permute(0, 3, 1, 2).to(device).float() / 255
            drawn = model.draw(real[None], real[None, :1].expand(1, *real.shape), short.mel[None].to(device))[0]
            yield short, real, drawn

    def draw(
        self, clips: Sequence[ClipFaces], rng: np.random.Generator, size: int
    ) -> tuple[list[str], dict[str, Tensor]]:
        words, rows = [], []
        for index in rng.integers(len(clips), size=size):
            clip = clips[index]
            start, told, row = self.stretch_of(clip, rng)
            other = int(rng.integers(len(clip) - FRAMES))
            other += other >= start  # never the window that is drawn
            words.append(told)
            rows.append({**row, "references": clip.faces[other : other + FRAMES].permute(0, 3, 1, 2)})
        return words, stacked(rows)
