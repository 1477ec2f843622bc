"""Whole file in, score out: `lse` against the official script on real clips (golden: with ffmpeg 5.1.9).

Collected where those clips are; `frames=ffmpeg` needs ffmpeg 5.1, because its version is part of the number.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_networks import filled_syncnet

from syncdiff_bench.contracts import Clip, Pair
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.reading import read_media
from syncdiff_metrics.lse import LSE, LSEOptions, LSEStats

SHARED = Path(os.environ.get("SYNCDIFF_BENCH_SHARED", Path(__file__).parents[3] / "shared"))
GOLDEN_FOLDER = SHARED / "golden" / "e2e"
pytestmark = pytest.mark.skipif(not GOLDEN_FOLDER.is_dir(), reason="the shared clips are not here")

REAL = [
    "lrs3/test/0Fi83BHQsMA/00002",
    "lrs3/test/OzA6jRYjVQs/00004",
    "lrs3/test/PbgB2TaYhio/00007",
    "lrs3/test/QoT0S2vu9m4/00002",
    "grid/bbaf2n",
]
SCORED = [
    "audio_delay240ms audio_long audio_short1s audio_start240ms_copy base cut_copy_1013ms fps23976 fps30",
    "frames10 frames6_fullaudio frames7_fullaudio odd287x285_444 rotate90 silence square160 stereo44k",
    "vfr_drop7 video_delay240ms video_start240ms_copy",
]
EDGE = [f"edge/{name}.mp4" for line in SCORED for name in line.split()]
QUICK = {REAL[1], "edge/frames7_fullaudio.mp4", "edge/audio_short1s.mp4"}
FAILING = {
    "audio_short100ms": "too-short",
    "empty": "empty",
    "frames4": "too-short",
    "frames5": "too-short",
    "frames5_fullaudio": "too-short",
    "frames6": "too-short",
    "noaudio": "no-audio",
    "novideo": "no-video",
    "truncated": "truncated",
}
# What makes a file differ from the official number by design, not by rounding.
OTHER_FRAMES = {  # OpenCV, behind the official `direct` numbers, neither repeats nor delays frames
    "edge/vfr_drop7.mp4",
    "edge/video_start240ms_copy.mp4",
}
OTHER_SOUND = {"grid/bbaf2n"}  # ffmpeg 5.1 resamples 44.1 kHz in 16 bits, later versions in float


def some(names: list[str]) -> list[Any]:
    return [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in names]


def golden(name: str, frames: str) -> dict[str, Any]:
    file = "lse_edge.json" if name.startswith("edge/") else "lse.json"
    values: dict[str, Any] = json.loads((GOLDEN_FOLDER / file).read_text())[name][frames]["A1000"]
    return values


def clip(name: str) -> Clip:
    suffix = {"lrs3": ".mp4", "grid": ".mpg"}.get(name.partition("/")[0], "")
    path = SHARED / "clips" / f"{name}{suffix}"
    # the official script pairs whatever frame rate with 25 fps sound; the harness would retime
    fixed_rate = Path(name).stem not in ("fps30", "fps23976")
    return Clip(name, "shared", path, preloaded=None if fixed_rate else read_media(path, fps=None))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The golden weights (sorted key number i is from RandomState(1000 + i)) in the official file layout."""
    file = tmp_path_factory.mktemp("syncnet") / "syncnet_a1000.model"
    torch.save(filled_syncnet(), file, _use_new_zipfile_serialization=False)
    return str(file)


@pytest.fixture(scope="module", params=["ffmpeg", "jpeg", "direct"])
def metric(request: pytest.FixtureRequest, weights: str) -> LSE:
    if request.param == "ffmpeg" and not _has_reference_ffmpeg():
        pytest.skip("no ffmpeg 5.1 here")
    return LSE(LSEOptions(frames=request.param, weights=weights))


def _has_reference_ffmpeg() -> bool:
    try:
        version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return False
    return version.startswith("ffmpeg version 5.1")


def assert_close(stats: LSEStats, official: dict[str, Any], *, lse_c: float, lse_d: float) -> None:
    """Relative tolerances; LSE-C also to two steps of float32 at LSE-D, finer than which nobody counts."""
    steps = 2 * float(np.spacing(np.float32(official["lse_d"])))
    assert stats.windows == official["n_windows"]
    assert stats.lse_d == pytest.approx(official["lse_d"], rel=lse_d)
    assert stats.lse_c == pytest.approx(official["lse_c"], rel=lse_c, abs=steps)
    if official["argmin_margin"] > 0.1:
        assert stats.offset == official["offset"]
    np.testing.assert_allclose(stats.shift_means, official["mdist"], rtol=lse_d)


@pytest.mark.parametrize("name", some(REAL + EDGE))
def test_scores_are_the_official_ones(name: str, metric: LSE):
    frames = metric.options.frames
    if frames == "direct" and name in OTHER_FRAMES:
        pytest.skip("the official frames are OpenCV's here, of which it shows fewer")
    stats = metric.measure(Pair(clip(name)))
    official = golden(name, "direct" if frames == "direct" else "jpeg")
    if frames == "jpeg":
        # a quantiser one step away now and then, because this libavcodec packs a picture some bytes tighter
        assert_close(stats, official, lse_c=4e-3, lse_d=2e-4)
    else:
        loose = frames == "direct" and name in OTHER_SOUND
        assert_close(stats, official, lse_c=2e-3 if loose else 1e-3, lse_d=1e-3)


@pytest.mark.parametrize("name", FAILING)
def test_where_the_official_script_dies_the_clip_fails_alone(name: str, metric: LSE):
    assert "error" in golden(f"edge/{name}.mp4", "jpeg")
    with pytest.raises(ClipError, match=name) as caught:
        metric.measure(Pair(clip(f"edge/{name}.mp4")))
    assert caught.value.kind == FAILING[name]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", some([REAL[1], "edge/audio_short1s.mp4", "edge/base.mp4", "grid/bbaf2n"]))
def test_pictures_in_rgb_score_nearly_as_those_of_the_file(name: str, weights: str):
    """What a method's frames go through: the file's own YCbCr is gone, and is made again from RGB."""
    given = clip(name)
    in_rgb = replace(given, preloaded=replace(given.media, planes=None))
    stats = LSE(LSEOptions(weights=weights)).measure(Pair(in_rgb))
    assert_close(stats, golden(name, "jpeg"), lse_c=0.02, lse_d=1e-3)


@pytest.mark.slow
def test_a_space_in_the_path_is_harmless(metric: LSE):
    """The official script dies of its unquoted shell command; nothing is wrong with the file."""
    spaced, plain = (metric.measure(Pair(clip(f"edge/{name}.mp4"))) for name in ("name with space", "base"))
    assert spaced.shift_means == pytest.approx(plain.shift_means, rel=1e-6)
