"""What trainings on faces read of clips: faces as Wav2Lip cuts them, and the mel window of every frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from syncdiff_bench.contracts import Dataset
from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.bilinear import FACE_SIZE, cut_faces
from syncdiff_bench.training.cache import TensorCache
from syncdiff_bench.views import boxes_fact
from syncdiff_methods.clip_task import ClipTask
from syncdiff_methods.wav2lip.faces import BoxConfig, face_areas
from syncdiff_methods.wav2lip.mel import BANDS, WINDOW, mel_windows

BOXES = BoxConfig()  # as the method cuts them unless told otherwise


@dataclass(frozen=True, eq=False)
class ClipFaces:
    """What training reads of a clip.

    faces: (T, 96, 96, 3) uint8 BGR.
    mel: (T, 80, 16) float16, the window that inference gives frame t.
    """

    clip_id: str
    faces: Tensor
    mel: Tensor

    def __len__(self) -> int:
        return len(self.faces)


def face_cache(dataset: Dataset, split: str, cache: Path) -> TensorCache:
    """Faces and mel windows of a split, cut once; made or not.

    CACHE/faces96/<dataset>-<split>/      faces (T, 96, 96, 3) uint8 BGR, mel (T, 80, 16) float16
    """

    def encode(clip_id: str) -> dict[str, Tensor]:
        clip = dataset.clip(clip_id)
        areas = face_areas(clip.face_boxes.boxes, clip.frames.shape[1:3], BOXES)
        mel = torch.from_numpy(mel_windows(clip.audio, len(clip.frames))).half()
        return {"faces": torch.from_numpy(cut_faces(clip.frames[..., ::-1], areas)), "mel": mel}

    return TensorCache(
        folder=cache / "faces96" / f"{dataset.name}-{split}",
        title=f"faces and mel windows of {dataset.name} {split}",
        split=split,
        facts=face_facts(dataset, split),
        clip_ids=dataset.clip_ids(split),
        encode=encode,
        bytes_per_frame=3 * FACE_SIZE**2 + 2 * BANDS * WINDOW,
        boxed=True,
    )


def face_facts(dataset: Dataset, split: str) -> dict[str, str]:
    """What a cache of faces hangs on: how they are cut, by which boxes, of which clips."""
    cut = {"pads": str(BOXES.pads), "smooth": str(BOXES.smooth)}
    return {**cut, "list of clips": dataset.fingerprint(split)[:16], **boxes_fact(dataset, split)}


class FaceTask(ClipTask):
    """A stretch of frames of each of B random clips per step; its options say how long, in frames (`stretch`) and in
    windows of sound (`windows`).
    """

    options: Any

    def caches_of(self, split: str) -> Sequence[TensorCache]:
        return [face_cache(self.data.dataset, split, self.data.cache)]

    def read_clips(self, split: str) -> list[ClipFaces]:
        """The clips that are long enough for an example, mapped from disk."""
        (cache,) = self.known_caches(split)
        clips = [ClipFaces(clip_id, **tensors) for clip_id, tensors in cache.read().items()]
        long_enough = [clip for clip in clips if len(clip) >= self.options.stretch]
        if not long_enough:
            reasons = next(iter(cache.failures().values()), f"none has {self.options.stretch} frames")
            raise UsageError(f"split {split!r} has no clip to train on ({reasons})")
        return long_enough

    def stretch_of(self, clip: ClipFaces, rng: np.random.Generator) -> tuple[int, str, dict[str, Tensor]]:
        """A random stretch: its first frame, in words, its faces (stretch, 3, 96, 96) and mel (windows, 80, 16)."""
        stretch = self.options.stretch
        start = int(rng.integers(len(clip) - stretch + 1))
        faces = clip.faces[start : start + stretch].permute(0, 3, 1, 2)
        words = f"clip {clip.clip_id} frames {start} to {start + stretch - 1}"
        return start, words, {"faces": faces, "mel": clip.mel[start : start + self.options.windows].float()}

    def probe_batch(self, size: int) -> Mapping[str, Tensor]:
        n = 2 * self.options.stretch
        clip = ClipFaces("probe", torch.zeros(n, FACE_SIZE, FACE_SIZE, 3, dtype=torch.uint8), torch.zeros(n, 80, 16))
        return self.draw([clip], np.random.default_rng(0), size)[1]
