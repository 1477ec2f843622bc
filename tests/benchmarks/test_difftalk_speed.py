"""Frames per second of the small DiffTalk that ships, alone and in lock-step.

pytest tests/benchmarks/test_difftalk_speed.py --benchmark-only
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syncdiff_bench.contracts import Clip, Media
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.difftalk.method import DiffTalk, DiffTalkOptions

FRAMES = 8


@pytest.mark.parametrize("batch", [1, 8, 24])
def test_clips_to_frames(benchmark: Any, tmp_path: Path, batch: int) -> None:
    """Everything but reading and writing videos: scores, landmarks, masks, latents, four steps a frame."""
    pocket = Pocket()
    clips = [_short(pocket.clip(clip_id), tmp_path) for clip_id in pocket.clip_ids("test")[:batch]]
    method = DiffTalk(DiffTalkOptions(model="pocket", landmarks=str(tmp_path), blend="off", batch=batch))
    made = benchmark.pedantic(lambda: list(method.generate(clips, seed=0)), rounds=2, warmup_rounds=1)
    assert all(isinstance(frames, np.ndarray) and len(frames) == FRAMES for _, frames in made)
    benchmark.extra_info["frames"] = batch * FRAMES


def _short(clip: Clip, landmarks: Path) -> Clip:
    """The first frames of a clip, in memory, and their landmarks in a folder."""
    assert clip.landmarks_path is not None
    file = landmarks / f"{clip.id}.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, np.load(clip.landmarks_path)[:FRAMES])
    return Clip(clip.id, clip.dataset, preloaded=Media(clip.frames[:FRAMES], clip.audio[: 640 * FRAMES]))
