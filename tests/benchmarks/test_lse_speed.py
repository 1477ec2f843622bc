"""Time of `lse` per clip beside the bare network: what decoding, JPEG, MFCC and distances add."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from syncdiff_bench.contracts import Clip, Media, Pair
from syncdiff_bench.networks.syncnet import SyncNet, embed_frames, embed_mfcc, mfcc
from syncdiff_metrics.jpeg_stage import mjpeg_round_trip
from syncdiff_metrics.lse import LSE, LSEOptions, stretched

FRAMES = 41  # the mean length of a clip of LRS2 test


@pytest.fixture(scope="module")
def clip() -> Clip:
    random = np.random.default_rng(0)
    y, x = np.mgrid[:160, :160]
    waves = [127 + 90 * np.sin(0.05 * x + 0.03 * y + 0.3 * t) for t in range(FRAMES)]
    pictures = (np.array(waves)[..., None] + random.integers(-20, 20, (FRAMES, 160, 160, 3))).astype(np.uint8)
    return Clip("speed", "bench", preloaded=Media(pictures, random.integers(-9, 9, 640 * FRAMES).astype(np.int16)))


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> LSE:
    file = tmp_path_factory.mktemp("speed") / "syncnet.pth"
    torch.save(SyncNet().state_dict(), file)
    lse = LSE(LSEOptions(weights=str(file)))
    lse.prepare()
    return lse


@pytest.mark.gate
def test_whole_metric(benchmark: Any, metric: LSE, clip: Clip):
    stats = benchmark(metric.measure, Pair(clip))
    assert stats.windows == FRAMES - 5


def test_bare_network(benchmark: Any, metric: LSE, clip: Clip):
    faces = stretched(clip.frames, FRAMES)
    features = mfcc(clip.audio)

    def towers() -> None:
        embed_frames(metric._network, faces, FRAMES - 5, 20)
        embed_mfcc(metric._network, features, FRAMES - 5, 20)

    benchmark(towers)


def test_jpeg_stage(benchmark: Any, clip: Clip):
    pictures = benchmark(lambda: list(mjpeg_round_trip(clip.media)))
    assert len(pictures) == FRAMES


def test_stretching(benchmark: Any, clip: Clip):
    assert benchmark(stretched, clip.frames, FRAMES).shape == (FRAMES, 224, 224, 3)


def test_official_windows_cost_the_network_as_much(benchmark: Any, metric: LSE, clip: Clip):
    """The official way, for comparison: every window of 5 frames is a clip of its own."""
    faces = torch.from_numpy(stretched(clip.frames, FRAMES)).permute(3, 0, 1, 2).float()
    windows = torch.stack([faces[:, start : start + 5] for start in range(20)])
    with torch.inference_mode():
        benchmark(metric._network.embed_lips, windows)
