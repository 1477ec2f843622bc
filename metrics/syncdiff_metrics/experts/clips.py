"""A split as both experts train on it: every clip decoded and resized once, then read from one mapped file.

    CACHE/<fingerprint>/frames.npy      (N, S, S, 3) uint8 RGB, all clips one after the other
    CACHE/<fingerprint>/clips.json      per clip its id, number of frames and transcript
    CACHE/<fingerprint>/audio.npy       int16 mono 16 kHz, 640 samples per frame
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import SAMPLES_PER_FRAME, Audio, Clip, Dataset, Frames
from syncdiff_bench.errors import UsageError
from syncdiff_metrics.bilinear import resize_linear


@dataclass(frozen=True, eq=False)
class TrainingClip:
    """frames: (T, S, S, 3) uint8 RGB, mapped from the cache; audio: (640 T,) int16, zeros where the track is short."""

    id: str
    frames: Frames
    audio: Audio
    transcript: str | None


def read_split(dataset: Dataset, split: str, side: int, cache: Path) -> tuple[TrainingClip, ...]:
    """All clips of a split that have sound, whole frames stretched to `side` pixels as the metrics do.

    Decodes the split unless `cache` holds it. Raises UsageError where no clip has sound, ClipError where a file
    cannot be read.
    """
    folder = cache / _fingerprint(dataset, split, side)
    if not (folder / "clips.json").is_file():
        _write(dataset, split, side, folder)
    frames = np.load(folder / "frames.npy", mmap_mode="r", allow_pickle=False)
    audio = np.load(folder / "audio.npy", mmap_mode="r", allow_pickle=False)
    clips, start = [], 0
    for row in json.loads((folder / "clips.json").read_text()):
        stop = start + row["frames"]
        sound = audio[start * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME]
        clips.append(TrainingClip(row["id"], frames[start:stop], sound, row["transcript"]))
        start = stop
    if not clips:
        raise UsageError(f"split {split!r} of {dataset.name} has no clip with sound; there is nothing to train on")
    return tuple(clips)


def stretched_frames(frames: Frames, side: int) -> Frames:
    """(T, side, side, 3) uint8 of (T, H, W, 3) uint8, as OpenCV resizes; the aspect ratio is not kept."""
    if frames.shape[1:3] == (side, side):
        return frames
    return np.stack([resize_linear(frame, side, side) for frame in frames])


def _write(dataset: Dataset, split: str, side: int, folder: Path) -> None:
    """Decode a split clip by clip; `clips.json` comes last, so a folder that has it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, sounds = [], []
    raw = folder / "frames.raw"
    with raw.open("wb") as file:
        for clip_id in dataset.clip_ids(split):
            clip = dataset.clip(clip_id)
            if not len(clip.audio):
                continue
            file.write(stretched_frames(clip.frames, side).tobytes())
            sounds.append(_whole_frames(clip))
            rows.append({"id": clip.id, "frames": len(clip.frames), "transcript": clip.transcript})
    total = sum(row["frames"] for row in rows)
    if total:
        pixels: NDArray[np.uint8] = np.memmap(raw, np.uint8, "r", shape=(total, side, side, 3))
        np.save(folder / "frames.npy", pixels)
    else:
        np.save(folder / "frames.npy", np.zeros((0, side, side, 3), np.uint8))
    raw.unlink()
    np.save(folder / "audio.npy", np.concatenate([np.zeros(0, np.int16), *sounds]))
    (folder / "clips.json").write_text(json.dumps(rows))


def _whole_frames(clip: Clip) -> Audio:
    samples = len(clip.frames) * SAMPLES_PER_FRAME
    return np.pad(clip.audio[:samples], (0, max(0, samples - len(clip.audio))))


def _fingerprint(dataset: Dataset, split: str, side: int) -> str:
    return hashlib.sha256(f"{dataset.fingerprint(split)} {side}".encode()).hexdigest()[:16]
