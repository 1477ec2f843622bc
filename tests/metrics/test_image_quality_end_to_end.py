"""Whole file in, score out: PSNR, SSIM and LPIPS of degraded real clips against the official numbers.

Collected where those clips are.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syncdiff_bench.contracts import Clip, Pair
from syncdiff_bench.errors import WeightsError
from syncdiff_metrics.lpips import LPIPS, LPIPSOptions
from syncdiff_metrics.psnr import PSNR, PSNROptions
from syncdiff_metrics.ssim import SSIM

SHARED = Path(os.environ.get("SYNCDIFF_BENCH_SHARED", Path(__file__).parents[3] / "shared"))
GOLDEN = SHARED / "golden" / "e2e"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the shared clips are not here")

SPOKEN = ["lrs3/test/OzA6jRYjVQs/00004", "lrs3/test/PbgB2TaYhio/00007"]


def golden(file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / file).read_text(encoding="utf-8"))
    return content


def pair(clip_id: str, degradation: str, folder: Path) -> Pair:
    with np.load(GOLDEN / "boxes.npz") as boxes:
        np.save(folder / "boxes.npy", boxes[clip_id.replace("/", "__")])
    original = SHARED / "clips" / f"{clip_id}.mp4"
    _, _, video, number = clip_id.split("/")
    worse = SHARED / "clips" / "degraded" / f"{video}_{number}__{degradation}.mp4"
    reference = Clip(clip_id, "lrs3", path=original, boxes_path=folder / "boxes.npy")
    return Pair(Clip(clip_id, "videos", path=original if degradation == "self" else worse), reference)


@pytest.mark.parametrize("degradation", ["crf35", "blur", "delay2"])
@pytest.mark.parametrize("clip_id", SPOKEN)
def test_psnr_and_ssim_of_degraded_clips(clip_id, degradation, tmp_path):
    expected = golden("visual_quality.json")[f"{clip_id}|{degradation}"]
    measured = pair(clip_id, degradation, tmp_path)
    wrapped, true, ssim = PSNR(PSNROptions(protocol="talklip")), PSNR(), SSIM()
    stats = wrapped.measure(measured)
    assert stats.frames == expected["n_frames"]
    assert wrapped.values(stats)["psnr"] == pytest.approx(expected["psnr_uint8"], abs=1e-9)
    assert true.values(true.measure(measured))["psnr"] == pytest.approx(expected["psnr_true"], abs=1e-9)
    assert ssim.values(ssim.measure(measured))["ssim"] == pytest.approx(expected["ssim"], abs=1e-9)


def test_ground_truth_reads_not_applicable_where_the_script_says_100(tmp_path):
    measured = pair(SPOKEN[0], "self", tmp_path)
    metric = PSNR(PSNROptions(protocol="talklip"))
    stats = metric.measure(measured)
    assert stats.total_db / stats.frames == golden("visual_quality.json")[f"{SPOKEN[0]}|self"]["psnr_uint8"]
    assert metric.values(stats) == {"psnr": None}


@pytest.mark.parametrize(
    ("net", "region", "degradation"),
    [
        ("alex", "face96", "crf35"),
        ("alex", "face96", "delay2"),
        ("alex", "full", "blur"),
        ("vgg", "face96", "blur"),
    ],
)
def test_lpips_of_degraded_clips(net, region, degradation, tmp_path):
    metric = LPIPS(LPIPSOptions(net=net, region=region))
    try:
        metric.prepare()
    except WeightsError as error:
        pytest.skip(str(error))
    expected = golden("lpips.json")[f"{SPOKEN[0]}|{degradation}"]
    stats = metric.measure(pair(SPOKEN[0], degradation, tmp_path))
    assert stats.frames == expected["n_frames"]
    assert metric.values(stats)["lpips"] == pytest.approx(expected[f"{net}_{region}"], abs=1e-5)
