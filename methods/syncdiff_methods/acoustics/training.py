"""Train the ASR model with CTC on what is said in a dataset's clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.normalisation import to_learn
from syncdiff_bench.training.task import validated
from syncdiff_methods.acoustics.network import (
    BLANK,
    COEFFICIENTS,
    Recogniser,
    RecogniserConfig,
    coefficients,
    context_rows,
    save_recogniser,
    spelled,
    symbols_of,
)
from syncdiff_methods.clip_task import ClipTask


@dataclass(frozen=True)
class RecogniserOptions:
    """Options of a training.

    noise: standard deviation of noise on the (normalised) coefficients.
    tilt: of a random offset of each, one per clip and step, which is what another voice or microphone does to them.
    half: export float16.
    validation_batches: of 32 held-out clips each, of which a validation is the mean (0: all).
    """

    network: RecogniserConfig = field(default_factory=RecogniserConfig)
    noise: float = 0.0
    tilt: float = 0.0
    half: bool = False
    validation_batches: int = 0


@dataclass(frozen=True, eq=False)
class _Spoken:
    clip_id: str
    heard: Tensor  # (M, 26)
    said: list[int]
    transcript: str


class TrainedRecogniser(nn.Module):
    """The CTC loss around `Recogniser`."""

    def __init__(self, config: RecogniserConfig) -> None:
        super().__init__()
        self.network = Recogniser(config)

    def forward(self, heard: Tensor, rows: Tensor, said: Tensor, characters: Tensor) -> dict[str, Tensor]:
        """heard: (B, M, 26), of which `rows` (B,) count; said: (B, L) symbols, of which `characters` (B,) count."""
        likelihoods = self.network(context_rows(heard), rows).float().log_softmax(dim=-1).transpose(0, 1)
        return {"loss": F.ctc_loss(likelihoods, said, rows, characters, blank=BLANK, zero_infinity=True)}


class RecogniserTask(ClipTask):
    """B random clips per step."""

    Options = RecogniserOptions
    options: RecogniserOptions
    incidental = frozenset(("validation_batches",))

    def build(self) -> nn.Module:
        return TrainedRecogniser(self.options.network)

    def draw(
        self, clips: Sequence[_Spoken], rng: np.random.Generator, size: int
    ) -> tuple[list[str], dict[str, Tensor]]:
        chosen = [clips[i] for i in rng.integers(len(clips), size=size)]
        batch = _together(chosen)
        noise = rng.standard_normal(tuple(batch["heard"].shape), dtype=np.float32)
        tilt = rng.standard_normal((size, 1, COEFFICIENTS), dtype=np.float32)
        batch["heard"] += self.options.noise * torch.from_numpy(noise) + self.options.tilt * torch.from_numpy(tilt)
        return [f"clip {clip.clip_id}" for clip in chosen], batch

    def probe_batch(self, size: int) -> Mapping[str, Tensor]:
        return _together([_Spoken("probe", torch.zeros(150, COEFFICIENTS), [0] * 25, "")] * size)

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """Of the held-out clips: the loss, and errors in percent of the likeliest spelling, by words and characters."""
        import jiwer

        assert isinstance(model, TrainedRecogniser)
        device = next(model.parameters()).device
        clips = validated(self.held_out, self.options.validation_batches)
        batch = {name: tensor.to(device) for name, tensor in _together(clips).items()}
        scores = model.network(context_rows(batch["heard"]), batch["rows"]).cpu().numpy()
        heard = [spelled(rows[: len(clip.heard)]) for rows, clip in zip(scores, clips, strict=True)]
        said = [clip.transcript.lower() for clip in clips]
        return {
            "loss": model(**batch)["loss"].item(),
            "wer": 100 * float(jiwer.wer(said, heard)),
            "cer": 100 * float(jiwer.cer(said, heard)),
        }

    def export(self, model: nn.Module, folder: Path) -> None:
        """recogniser.safetensors and config.json."""
        assert isinstance(model, TrainedRecogniser)
        save_recogniser(model.network, folder, half=self.options.half)

    def read_clips(self, split: str) -> list[_Spoken]:
        clips = []
        for clip_id in self.data.dataset.clip_ids(split):
            clip = self.data.dataset.clip(clip_id)
            transcript = to_learn(clip.transcript, self.data.dataset.text_rule)
            if transcript:
                try:
                    audio = clip.audio
                except ClipError:
                    continue
                if len(audio):
                    heard = torch.from_numpy(coefficients(audio))
                    clips.append(_Spoken(clip_id, heard, symbols_of(transcript), transcript))
        if not clips:
            raise UsageError(f"split {split!r} has no clip with sound and transcript; an ASR model learns from both")
        return clips


def _together(clips: Sequence[_Spoken]) -> dict[str, Tensor]:
    return {
        "heard": nn.utils.rnn.pad_sequence([clip.heard for clip in clips], batch_first=True),
        "rows": torch.tensor([len(clip.heard) for clip in clips]),
        "said": nn.utils.rnn.pad_sequence([torch.tensor(clip.said) for clip in clips], batch_first=True),
        "characters": torch.tensor([len(clip.said) for clip in clips]),
    }
