"""Train a small SyncNet from scratch, by contrast, under the very distance that LSE-C and LSE-D are made of.

Every window of lips shall lie nearer to its own window of audio than to any other of the batch: those of the same clip
at other times, those of other clips, and the zero vector, because the protocol pads shifted audio with zero rows and
counts them (`lse.shift_means`). The published network was trained with a margin on pairs (Chung and Zisserman
2016); all pairs of a batch at once (InfoNCE, van den Oord et al. 2018) need far fewer steps. Embeddings are not
normalised, as in the published network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.networks.syncnet import (
    FRAMES_PER_WINDOW,
    MFCC_PER_FRAME,
    MFCC_PER_WINDOW,
    SyncNet,
    SyncNetConfig,
    embed_frames,
    embed_mfcc,
    mfcc,
)
from syncdiff_bench.training.task import TrainingTask, validated
from syncdiff_metrics.experts import save_syncnet
from syncdiff_metrics.lse import LSEStats, score, shift_means, window_count
from syncdiff_metrics.training.clips import Augmentation, TrainingClip, augmented, read_split


@dataclass(frozen=True)
class SyncNetOptions:
    """windows: consecutive windows of 5 frames per clip and step, at least 2; those of a clip are each other's hardest
    negatives. timbre: standard deviation of a constant added to each cepstrum of a clip but the energy, which is what
    another voice or microphone does to them. half: export float16. validation_batches: of 32 held-out clips each, of
    which a validation is the mean (0: all).
    """

    network: SyncNetConfig = field(default_factory=SyncNetConfig)
    windows: int = 16
    augmentation: Augmentation = field(default_factory=Augmentation)
    timbre: float = 0.0
    half: bool = False
    validation_batches: int = 0

    def __post_init__(self) -> None:
        if self.windows < 2:
            raise UsageError(f"syncnet: windows is {self.windows}; give 2 or more, one has nothing to differ from")


class TrainedSyncNet(nn.Module):
    """The contrastive loss around `SyncNet`."""

    def __init__(self, config: SyncNetConfig) -> None:
        super().__init__()
        self.network = SyncNet(config)
        self.network.netcnnlip.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, faces: Tensor, cepstra: Tensor) -> dict[str, Tensor]:
        """faces: (B, W + 4, S, S, 3) float32 BGR 0..255; cepstra: (B, W, 13, 20) float32.

        "found" is the share of lip windows whose own audio is the nearest.
        """
        lips = self.network.embed_lips(faces.permute(0, 4, 1, 2, 3)).float()
        audio = self.network.embed_audio(cepstra.flatten(0, 1).unsqueeze(1)).float()
        loss, found = contrast(lips, audio)
        return {"loss": loss, "found": found}


def contrast(lips: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric InfoNCE with minus the Euclidean distance as similarity, and the share of lips that find their audio.

    lips, audio: (N, E) float32, partners in the same row. The zero vector is one more audio that fits no lips.
    """
    partner = torch.arange(len(lips), device=lips.device)
    apart = distances(lips, torch.cat([audio, torch.zeros_like(audio[:1])]))
    loss = (F.cross_entropy(-apart, partner) + F.cross_entropy(-apart[:, :-1].T, partner)) / 2
    return loss, (apart.argmin(dim=1) == partner).float().mean()


def distances(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) Euclidean distances of rows of a (N, E) and b (M, E); differentiable where two rows coincide."""
    return ((a[:, None] - b[None]).square().sum(dim=-1) + 1e-6).sqrt()


class SyncNetTask(TrainingTask):
    """A random stretch of each of B random clips per step."""

    Options = SyncNetOptions
    options: SyncNetOptions
    incidental = frozenset(("validation_batches",))

    def prepare(self) -> None:
        side, folder = self.options.network.side, self.data.cache / "experts"
        self.clips = self._long_enough(read_split(self.data.dataset, self.data.split, side, folder))
        self.held_out = self._long_enough(read_split(self.data.dataset, self.data.validation_split, side, folder))
        self.cepstra = cache(lambda index: mfcc(self.clips[index].audio).astype(np.float32))

    def build(self) -> nn.Module:
        return TrainedSyncNet(self.options.network)

    def batch(self, seed: int, step: int, part: int, size: int) -> Mapping[str, Tensor]:
        rng = np.random.default_rng([seed, step, part])
        faces, cepstra = [], []
        for index in rng.choice(len(self.clips), size, replace=size > len(self.clips)):
            clip = self.clips[index]
            room = min(_windows(len(clip.frames)), len(_windows_of_audio(self.cepstra(index))))
            start = int(rng.integers(room - self.options.windows + 1))
            stop = start + self.options.windows
            bgr = clip.frames[start : stop + FRAMES_PER_WINDOW - 1, ..., ::-1]
            faces.append(augmented(bgr, self.options.augmentation, rng))
            heard = self._other_voice(self.cepstra(index), rng)
            cepstra.append(torch.from_numpy(_windows_of_audio(heard)[start:stop].copy()))
        return {"faces": torch.stack(faces), "cepstra": torch.stack(cepstra)}

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """LSE-C, LSE-D and the share of clips at offset 0 on the held-out clips, frames as they are."""
        assert isinstance(model, TrainedSyncNet)
        found = [_score(model.network, clip) for clip in validated(self.held_out, self.options.validation_batches)]
        return {
            "lse_c": float(np.mean([one.lse_c for one in found])),
            "lse_d": float(np.mean([one.lse_d for one in found])),
            "in_sync": float(np.mean([one.offset == 0 for one in found])),
        }

    def export(self, model: nn.Module, folder: Path) -> None:
        """syncnet.safetensors and syncnet.json."""
        assert isinstance(model, TrainedSyncNet)
        save_syncnet(model.network, folder, half=self.options.half)

    def _other_voice(self, cepstra: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """(M, 13) cepstra behind a random filter, the same for the whole clip."""
        if self.options.timbre == 0:  # nothing is drawn, so that a training without it stays the same to the bit
            return cepstra
        offset = rng.normal(0, self.options.timbre, 13).astype(np.float32)
        offset[0] = 0
        return cepstra + offset

    def _long_enough(self, clips: Sequence[TrainingClip]) -> tuple[TrainingClip, ...]:
        """Those that have `windows` windows; the audio of a clip gives one window fewer than its frames do."""
        kept = tuple(clip for clip in clips if _windows(len(clip.frames)) > self.options.windows)
        if not kept:
            raise UsageError(
                f"no clip has more than {self.options.windows + FRAMES_PER_WINDOW - 1} frames;"
                " lower options.windows or take longer clips"
            )
        return kept


def _windows(frames: int) -> int:
    return frames - FRAMES_PER_WINDOW + 1


def _windows_of_audio(cepstra: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 13, 20) float32 out of (M, 13), as views."""
    return np.lib.stride_tricks.sliding_window_view(cepstra, MFCC_PER_WINDOW, axis=0)[::MFCC_PER_FRAME]


def _score(network: SyncNet, clip: TrainingClip) -> LSEStats:
    windows = window_count(len(clip.frames), len(clip.audio))
    lips = embed_frames(network, np.ascontiguousarray(clip.frames[..., ::-1]), windows, 64)
    return score(shift_means(lips, embed_mfcc(network, mfcc(clip.audio), windows, 64)), windows)
