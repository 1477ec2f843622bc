"""Speed of the small SyncDiff: one denoising step, one frame, encode and decode (pytest --benchmark-only)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_methods.syncdiff.sampling import ClipConditions, generate_in_lock_step

BATCH = 24  # pocket's whole test split in lock-step


@pytest.fixture(scope="module")
def model() -> SyncDiffModel:
    return SyncDiffModel.from_pretrained("pocket")


def conditions(model: SyncDiffModel, frames: int) -> list[ClipConditions]:
    side, size, dim = model.config.latent_size, model.config.frame_size, model.config.audio.dim
    image = torch.zeros(3, size, size)
    return [
        ClipConditions(
            str(i), torch.randn(frames, 3, side, side), torch.randn(3, side, side), torch.randn(frames, dim), image
        )
        for i in range(BATCH)
    ]


def test_one_frame_of_24_clips(benchmark: Any, model: SyncDiffModel) -> None:
    clips = conditions(model, 1)
    benchmark.pedantic(
        lambda: generate_in_lock_step(model, clips, seed=0, on_frame=lambda *_: None), rounds=3, warmup_rounds=1
    )


def test_one_step_of_24_clips(benchmark: Any, model: SyncDiffModel) -> None:
    side = model.config.latent_size
    noisy, visual = (
        torch.randn(BATCH, 3, side, side),
        torch.randn(BATCH, model.config.condition.channels - 3, side, side),
    )
    token = torch.randn(BATCH, model.config.audio.dim)
    with torch.inference_mode():
        benchmark(lambda: model.denoiser(noisy, torch.tensor(500), visual, token))


@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_autoencoder_of_24_frames(benchmark: Any, model: SyncDiffModel, direction: str) -> None:
    side = model.config.latent_size if direction == "decode" else model.config.frame_size
    batch = torch.rand(BATCH, 3, side, side)
    with torch.inference_mode():
        benchmark(lambda: getattr(model.autoencoder, direction)(batch))
