"""A split as the small networks train on it: every clip decoded and resized once, then mapped from files; augmentation.

CACHE/<fingerprint>/<clip id>.frames.npy     (T, S, S, 3) uint8 RGB
CACHE/<fingerprint>/<clip id>.audio.npy      (640 T,) int16 mono 16 kHz, or empty
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncdiff_bench.contracts import SAMPLES_PER_FRAME, Audio, Clip, Dataset, Frames
from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import replacing
from syncdiff_bench.media.bilinear import resize_linear
from syncdiff_bench.normalisation import TextRule, to_learn


@dataclass(frozen=True, eq=False)
class TrainingClip:
    """frames: (T, S, S, 3) uint8 RGB, mapped from the cache; audio: (640 T,) int16, zeros where the track is short.

    transcript: as the data set's rule of text compares it, "" where there is none.
    """

    id: str
    frames: Frames
    audio: Audio
    transcript: str


def read_split(dataset: Dataset, split: str, side: int, cache: Path) -> tuple[TrainingClip, ...]:
    """All clips of a split that have audio, whole frames stretched to `side` pixels as the metrics do.

    Decodes what `cache` does not hold yet. Raises UsageError where no clip has audio, ClipError where a file cannot be
    read.
    """
    folder = cache / hashlib.sha256(f"{dataset.fingerprint(split)} {side}".encode()).hexdigest()[:16]
    clips = tuple(
        _cached(dataset.clip(clip_id), side, folder, dataset.text_rule) for clip_id in dataset.clip_ids(split)
    )
    heard = tuple(clip for clip in clips if len(clip.audio))
    if not heard:
        raise UsageError(f"split {split!r} of {dataset.name} has no clip with audio; there is nothing to train on")
    return heard


def _cached(clip: Clip, side: int, folder: Path, rule: TextRule) -> TrainingClip:
    frames_file, audio_file = (folder / f"{clip.id}.{kind}.npy" for kind in ("frames", "audio"))
    if not (frames_file.is_file() and audio_file.is_file()):
        frames = np.stack([resize_linear(frame, side, side) for frame in clip.frames])
        for path, array in ((frames_file, frames), (audio_file, _whole_frames(clip.audio, len(frames)))):
            with replacing(path) as partial, partial.open("wb") as file:
                np.save(file, array)
    return TrainingClip(
        clip.id,
        np.load(frames_file, mmap_mode="r", allow_pickle=False),
        np.load(audio_file, allow_pickle=False),
        to_learn(clip.transcript, rule),
    )


def _whole_frames(audio: Audio, n_frames: int) -> Audio:
    """640 samples per frame, zeros at the end; a clip without audio stays without."""
    return np.pad(audio, (0, n_frames * SAMPLES_PER_FRAME - len(audio))) if len(audio) else audio


# ----------------------------------------------------------------------------------------- augmentation


@dataclass(frozen=True)
class Augmentation:
    """shift: largest translation in pixels, in both directions; contrast: largest change of the factor on grey
    levels; brightness: largest added grey level; mirror: whether half of the clips are mirrored.
    """

    shift: int = 4
    contrast: float = 0.25
    brightness: float = 25.0
    mirror: bool = True


def augmented(frames: NDArray[np.uint8], settings: Augmentation, rng: np.random.Generator) -> Tensor:
    """One clip, changed the same way in all of its frames: (T, H, W) or (T, H, W, 3) uint8 -> the same, float32 0..255.

    What a shift uncovers repeats the edge.
    """
    rows, columns = (_shifted(size, settings.shift, rng) for size in frames.shape[1:3])
    if settings.mirror and rng.random() < 0.5:
        columns = columns[::-1]
    factor = 1 + rng.uniform(-settings.contrast, settings.contrast)
    added = rng.uniform(-settings.brightness, settings.brightness)
    moved = torch.from_numpy(frames[:, rows][:, :, columns].copy()).float()
    return ((moved - 128) * factor + 128 + added).clamp_(0, 255)


def _shifted(size: int, most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    moved: NDArray[np.intp] = np.clip(np.arange(size) + rng.integers(-most, most + 1), 0, size - 1)
    return moved
