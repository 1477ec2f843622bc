"""Speed of a training step with and without caches, and of what feeds it (pytest --benchmark-only).

The model is pocket's, with 2 of its 3 audio layers frozen; without caches, a step encodes the frames that it needs and
runs the whole audio encoder, as it would if nothing were prepared (reading the video file not even counted).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from syncdiff_methods.syncdiff.config import SyncDiffConfig
from syncdiff_methods.syncdiff.latents import ClipLatents
from syncdiff_methods.syncdiff.model import Autoencoder, SyncDiffModel
from syncdiff_methods.syncdiff.training import SyncDiffTask, SyncDiffTrainingOptions, TrainedSyncDiff

BATCH = 8
FRAMES = 75
ENCODED = ("clean", "masked", "identity", "previous")


@pytest.fixture(scope="module")
def config() -> SyncDiffConfig:
    config = SyncDiffModel.read_config("pocket")
    return replace(config, audio=replace(config.audio, frozen_layers=2))


@pytest.fixture(scope="module")
def task(config: SyncDiffConfig) -> SyncDiffTask:
    return SyncDiffTask(SyncDiffTrainingOptions(model=config), data=None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def module(config: SyncDiffConfig) -> TrainedSyncDiff:
    return TrainedSyncDiff(SyncDiffTrainingOptions(model=config)).train()


@pytest.fixture(scope="module")
def batch(task: SyncDiffTask) -> Mapping[str, Tensor]:
    return task.probe_batch(BATCH)


def update(module: TrainedSyncDiff, optimizer: torch.optim.Optimizer, batch: Mapping[str, Tensor]) -> None:
    module(**batch)["loss"].backward()
    optimizer.step()
    optimizer.zero_grad()


def optimizer_of(module: TrainedSyncDiff) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=0.0)


@pytest.mark.gate
def test_step_with_caches(benchmark: Any, module: TrainedSyncDiff, batch: Mapping[str, Tensor]) -> None:
    optimizer = optimizer_of(module)
    benchmark.pedantic(lambda: update(module, optimizer, batch), rounds=5, warmup_rounds=1)


def test_step_without_caches(
    benchmark: Any, config: SyncDiffConfig, module: TrainedSyncDiff, batch: Mapping[str, Tensor]
) -> None:
    autoencoder = Autoencoder(config.autoencoder).eval().requires_grad_(False)
    images = torch.rand(len(ENCODED) * BATCH, 3, config.frame_size, config.frame_size) * 2 - 1
    features = torch.randn(BATCH, FRAMES, 104)
    optimizer = optimizer_of(module)

    def step() -> None:
        latents = dict(zip(ENCODED, autoencoder.encode(images).chunk(len(ENCODED)), strict=True))
        latents["previous"] = latents["previous"][:, None]
        sound = module.audio.frozen_activations(features)
        update(module, optimizer, {**batch, **latents, "audio": sound})

    benchmark.pedantic(step, rounds=5, warmup_rounds=1)


def test_drawing_a_batch_from_disk_at_the_papers_size(benchmark: Any, task: SyncDiffTask, tmp_path: Path) -> None:
    """8 examples of 40 clips of 75 frames, mapped from a shard: 3 x 64 x 64 latents, 768 numbers of sound."""
    from safetensors.torch import load_file, save_file

    shapes = {"clean": (3, 64, 64), "masked": (3, 64, 64)}
    tensors = {f"{i}/{name}": torch.zeros(FRAMES, *shape).half() for i in range(40) for name, shape in shapes.items()}
    tensors |= {f"{i}/mask": torch.zeros(FRAMES, 64, 64, dtype=torch.uint8) for i in range(40)}
    tensors |= {f"{i}/audio": torch.zeros(FRAMES, 768) for i in range(40)}
    save_file(tensors, tmp_path / "shard.safetensors")
    found = load_file(tmp_path / "shard.safetensors")
    names = (*shapes, "mask", "audio")
    clips = [ClipLatents(str(i), **{name: found[f"{i}/{name}"] for name in names}) for i in range(40)]
    rng = np.random.default_rng(0)
    benchmark(lambda: task.draw(clips, rng, 8))
