"""Time per clip of the image metrics: 58 frames of 224 x 224, an average LRS3 test clip."""

from __future__ import annotations

import numpy as np
import pytest

from syncdiff_bench.contracts import Clip, Media, Pair
from syncdiff_bench.errors import WeightsError
from syncdiff_metrics.lpips import LPIPS
from syncdiff_metrics.psnr import PSNR, PSNROptions
from syncdiff_metrics.regions import cut_pair
from syncdiff_metrics.ssim import SSIM

FRAMES = 58


def fresh_pair() -> Pair:
    """A pair whose faces have not been cut yet."""
    videos = np.random.default_rng(0).integers(0, 256, (2, FRAMES, 224, 224, 3), dtype=np.uint8)
    return Pair(
        *(Clip("a", "test", boxes="centred", preloaded=Media(video, np.zeros(0, np.int16))) for video in videos)
    )


@pytest.mark.gate
def test_faces(benchmark):
    ours, _ = benchmark.pedantic(cut_pair, setup=lambda: ((fresh_pair(), "face96"), {}), rounds=5)
    assert ours.shape == (FRAMES, 96, 96, 3)


@pytest.mark.gate
@pytest.mark.parametrize("metric", [PSNR(), PSNR(PSNROptions(protocol="talklip")), SSIM()], ids=lambda m: m.name)
def test_psnr_and_ssim(benchmark, metric):
    assert benchmark(metric.measure, fresh_pair()).frames == FRAMES


@pytest.fixture
def lpips() -> LPIPS:
    metric = LPIPS()
    try:
        metric.prepare()
    except WeightsError as error:
        pytest.skip(str(error))
    return metric


def test_lpips(benchmark, lpips):
    assert benchmark(lpips.measure, fresh_pair()).frames == FRAMES


def test_lpips_network_alone(benchmark, lpips):
    """What `lpips` cannot go below: the difference to it is the harness."""
    import torch

    a, b = torch.rand(2, FRAMES, 3, 96, 96) * 2 - 1
    with torch.inference_mode():
        benchmark(lpips._network, a, b)
