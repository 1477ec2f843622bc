"""Pre-train a small audio encoder as AV-HuBERT was (Shi et al. 2022, first iteration; its sound alone).

Frames of the log-mel input are blanked in spans, and the network tells of every frame which cluster its MFCCs belong
to (k-means over the training split); of a blanked one it can tell by the speech around it. The published encoder is
AV-HuBERT Base; this is how a drawn world gets one that knows neither SyncDiff's task nor its speakers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder
from syncdiff_bench.networks.avhubert.features import audio_features
from syncdiff_methods.clip_task import ClipTask
from syncdiff_methods.model_folder import save_part
from syncdiff_methods.syncdiff.audio import build_encoder
from syncdiff_methods.syncdiff.config import AudioConfig
from syncdiff_methods.syncdiff.training import ENCODER

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOG_MEL, STACKED = 26, 4  # filters of a row at 100 Hz, rows of a frame at 25 fps
CEPSTRA = 13
SAMPLES_PER_FRAME = 640


@dataclass(frozen=True)
class EncoderOptions:
    """Options of a training.

    clusters: of MFCCs (AV-HuBERT's first iteration has 100).
    span, masked_share: frames that are blanked together, and the share of starting points that would blank so much if
        spans never overlapped (AV-HuBERT: 10 and .8, for clips ten times as long).
    noise: standard deviation of noise on the log-mel rows, which have unit variance.
    """

    audio: AudioConfig = field(default_factory=lambda: AudioConfig(frozen_layers=0))
    clusters: int = 100
    span: int = 5
    masked_share: float = 0.5
    noise: float = 0.0


class TrainedEncoder(nn.Module):
    """The loss of masked prediction around an encoder."""

    def __init__(self, options: EncoderOptions) -> None:
        super().__init__()
        encoder = build_encoder(options.audio)
        assert isinstance(encoder, AVHubertEncoder)
        self.encoder = encoder
        self.blank = nn.Parameter(torch.zeros(LOG_MEL * STACKED).uniform_())
        self.head = nn.Linear(options.audio.dim, options.clusters)

    def forward(self, heard: Tensor, padding: Tensor, masked: Tensor, clusters: Tensor) -> dict[str, Tensor]:
        """Cross-entropies in nats: of blanked frames, of the others (`heard_frames`), and the sum, as AV-HuBERT has it.

        heard: (B, T, 104); padding, masked: (B, T) bool; clusters: (B, T) long.
        """
        shown = torch.where(masked[..., None], self.blank, heard)
        scores = self.head(self.encoder(shown, padding_mask=padding))
        error = F.cross_entropy(scores.transpose(1, 2), clusters, reduction="none")
        blanked, others = error[masked & ~padding].mean(), error[~masked & ~padding].mean()
        right = (scores.argmax(dim=-1) == clusters)[masked & ~padding].float().mean()
        return {"loss": blanked + others, "blanked": blanked, "heard_frames": others, "accuracy": right}


@dataclass(frozen=True, eq=False)
class _Heard:
    clip_id: str
    rows: Tensor  # (T, 104)
    clusters: Tensor  # (T,)


class EncoderTask(ClipTask):
    """B random clips per step."""

    Options = EncoderOptions
    options: EncoderOptions

    def build(self) -> nn.Module:
        return TrainedEncoder(self.options)

    def read_clips(self, split: str) -> list[_Heard]:
        return [
            _Heard(clip_id, torch.from_numpy(rows), torch.from_numpy(nearest(self._centres, cepstra(rows))))
            for clip_id, rows in self._heard(split).items()
        ]

    def _heard(self, split: str) -> dict[str, NDArray[np.float32]]:
        found = {}
        for clip_id in self.data.dataset.clip_ids(split):
            try:
                audio = self.data.dataset.clip(clip_id).audio
            except ClipError:
                continue
            if len(audio) >= SAMPLES_PER_FRAME:
                found[clip_id] = audio_features(audio, len(audio) // SAMPLES_PER_FRAME)
        if not found:
            raise UsageError(f"split {split!r} has no clip with sound; nothing to train on")
        return found

    @cached_property
    def _centres(self) -> NDArray[np.float64]:
        """(clusters, 52) of the training split."""
        from scipy.cluster.vq import kmeans2

        rows = np.concatenate([cepstra(rows) for rows in self._heard(self.data.split).values()])
        found: NDArray[np.float64] = kmeans2(rows, self.options.clusters, iter=20, minit="++", seed=0)[0]
        return found

    def draw(self, clips: Sequence[_Heard], rng: np.random.Generator, size: int) -> tuple[list[str], dict[str, Tensor]]:
        chosen = [clips[i] for i in rng.integers(len(clips), size=size)]
        batch = _together(chosen)
        noise = rng.standard_normal(tuple(batch["heard"].shape), dtype=np.float32)
        batch["heard"] = batch["heard"] + self.options.noise * torch.from_numpy(noise)
        starts = rng.random(tuple(batch["padding"].shape)) < self.options.masked_share / self.options.span
        masked = np.zeros_like(starts)
        for shift in range(self.options.span):
            masked[:, shift:] |= starts[:, : starts.shape[1] - shift]
        return [f"clip {clip.clip_id}" for clip in chosen], {**batch, "masked": torch.from_numpy(masked)}

    def probe_batch(self, size: int) -> Mapping[str, Tensor]:
        clip = _Heard("probe", torch.zeros(75, LOG_MEL * STACKED), torch.zeros(75, dtype=torch.long))
        return self.draw([clip], np.random.default_rng(0), size)[1]

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """The losses on one fixed draw of as many clips as are held out."""
        device = next(model.parameters()).device
        batch = self.draw(self.held_out, np.random.default_rng(77), len(self.held_out))[1]
        losses = model(**{name: tensor.to(device) for name, tensor in batch.items()})
        return {name: value.item() for name, value in losses.items()}

    def export(self, model: nn.Module, folder: Path) -> None:
        """encoder.safetensors: what `options.encoder` of a SyncDiff training names (`training.fill_encoder`)."""
        assert isinstance(model, TrainedEncoder)
        folder.mkdir(parents=True, exist_ok=True)
        save_part(model.encoder, folder / ENCODER, torch.float16)


def cepstra(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """(T, 104) log-mel rows, four of 26 filters a frame -> (T, 52), the first 13 cepstral coefficients of each."""
    from scipy.fft import dct

    stacked = rows.reshape(len(rows), STACKED, LOG_MEL).astype(np.float64)
    found: NDArray[np.float64] = dct(stacked, type=2, norm="ortho", axis=-1)[..., :CEPSTRA].reshape(len(rows), -1)
    return found


def nearest(centres: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """The number of the centre (K, D) that is nearest to each of (T, D) rows."""
    from scipy.cluster.vq import vq

    return vq(rows, centres)[0].astype(np.int64)


def _together(clips: Sequence[_Heard]) -> dict[str, Tensor]:
    lengths = torch.tensor([len(clip.rows) for clip in clips])
    return {
        "heard": nn.utils.rnn.pad_sequence([clip.rows for clip in clips], batch_first=True),
        "clusters": nn.utils.rnn.pad_sequence([clip.clusters for clip in clips], batch_first=True),
        "padding": torch.arange(int(lengths.max())) >= lengths[:, None],
    }
