"""Train a sync expert on real frames alone: which window of sound goes with which five frames (InfoNCE)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_methods.clip_task import stacked
from syncdiff_methods.wav2lip.clip_faces import ClipFaces, FaceTask
from syncdiff_methods.wav2lip.expert import FRAMES, SyncExpertConfig, SyncExpertModel, contrast


@dataclass(frozen=True)
class ExpertTrainingOptions:
    """Options of a training.

    windows: of each clip of a batch, in a row; the expert tells all windows of the batch apart.
    half: export float16.
    validation_batches: of 16 held-out examples each, of which a validation is the mean.
    """

    model: SyncExpertConfig = field(default_factory=SyncExpertConfig)
    windows: int = 8
    half: bool = False
    validation_batches: int = 8

    def __post_init__(self) -> None:
        if self.windows < 2:
            raise UsageError(f"wav2lip-expert: windows is {self.windows}; give 2 or more to tell apart")

    @property
    def stretch(self) -> int:
        """Frames in a row that an example takes from its clip."""
        return self.windows + FRAMES - 1


class TrainedExpert(SyncExpertModel):
    """The expert with its loss."""

    def forward(self, faces: Tensor, mel: Tensor) -> dict[str, Tensor]:
        """faces: (B, W + 4, 3, 96, 96) uint8 BGR in a row. mel: (B, W, 80, 16), window w for frame w."""
        loss, found = contrast(*self.expert.embed_windows(faces.float() / 255, mel))
        return {"loss": loss, "found": found}


class ExpertTask(FaceTask):
    """A stretch of windows of each of B random clips per step."""

    Options = ExpertTrainingOptions
    options: ExpertTrainingOptions
    incidental = frozenset(("validation_batches",))

    def build(self) -> nn.Module:
        return TrainedExpert(self.options.model)

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """Loss and share of windows found, among all of a batch of 16 clips, on fixed draws of the held-out clips."""
        device = next(model.parameters()).device
        rows = []
        for i in range(self.options.validation_batches):
            batch = self.draw(self.held_out, np.random.default_rng([77, i]), 16)[1]
            rows.append(model(**{name: tensor.to(device) for name, tensor in batch.items()}))
        return {name: float(np.mean([row[name].item() for row in rows])) for name in rows[0]}

    def export(self, model: nn.Module, folder: Path) -> None:
        """A folder of `SyncExpertModel`."""
        assert isinstance(model, TrainedExpert)
        model.save_pretrained(folder, dtype=torch.float16 if self.options.half else torch.float32)

    def draw(
        self, clips: Sequence[ClipFaces], rng: np.random.Generator, size: int
    ) -> tuple[list[str], dict[str, Tensor]]:
        words, rows = [], []
        for index in rng.integers(len(clips), size=size):
            _, told, row = self.stretch_of(clips[index], rng)
            words.append(told)
            rows.append(row)
        return words, stacked(rows)
