"""Faces and mel windows of a split, cut once: what Wav2Lip trains on.

CACHE/faces96/<dataset>-<split>/      faces (T, 96, 96, 3) uint8 BGR, mel (T, 80, 16) float16
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from syncdiff_bench.errors import UsageError
from syncdiff_bench.training.cache import TensorCache
from syncdiff_bench.views import boxes_fact
from syncdiff_methods.wav2lip.config import FACE_SIZE, BoxConfig
from syncdiff_methods.wav2lip.faces import cut_faces, face_areas
from syncdiff_methods.wav2lip.mel import BANDS, WINDOW, mel_windows

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Clip, Dataset

BOXES = BoxConfig()  # as the method cuts them unless told otherwise


@dataclass(frozen=True, eq=False)
class ClipFaces:
    """faces: (T, 96, 96, 3) uint8 BGR; mel: (T, 80, 16) float16, the window that inference gives frame t."""

    clip_id: str
    faces: Tensor
    mel: Tensor

    def __len__(self) -> int:
        return len(self.faces)


def face_cache(dataset: Dataset, split: str, cache: Path) -> TensorCache:
    """The cache of a split, made or not."""

    def encode(clip_id: str) -> Mapping[str, Tensor]:
        return cut_clip(dataset.clip(clip_id))

    return TensorCache(
        folder=cache / "faces96" / f"{dataset.name}-{split}",
        title=f"faces and mel windows of {dataset.name} {split}",
        split=split,
        facts={"pads": str(BOXES.pads), "smooth": str(BOXES.smooth), "list of clips": dataset.fingerprint(split)[:16]}
        | boxes_fact(dataset, split),
        clip_ids=dataset.clip_ids(split),
        encode=encode,
        bytes_per_frame=3 * FACE_SIZE**2 + 2 * BANDS * WINDOW,
    )


def cut_clip(clip: Clip) -> dict[str, Tensor]:
    """faces and mel of one clip. Raises ClipError where it cannot be read or has no sound."""
    areas = face_areas(clip.face_boxes.boxes, clip.frames.shape[1:3], BOXES)
    return {
        "faces": torch.from_numpy(cut_faces(clip.frames, areas)),
        "mel": torch.from_numpy(mel_windows(clip.audio, len(clip.frames))).half(),
    }


def read_faces(cache: TensorCache, shortest: int) -> list[ClipFaces]:
    """The clips of a made cache that have `shortest` frames or more. Raises UsageError where there are none."""
    clips = [ClipFaces(clip_id, **tensors) for clip_id, tensors in cache.read().items()]
    long_enough = [clip for clip in clips if len(clip) >= shortest]
    if not long_enough:
        reasons = next(iter(cache.failures().values()), f"none has {shortest} frames")
        raise UsageError(f"split {cache.split!r} has no clip to train on ({reasons})")
    return long_enough
