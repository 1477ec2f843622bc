"""PSNR, SSIM and LPIPS against the official code on pairs of pocket's clips and on worse copies of them.

How the official numbers were made: tests/data/official/README.md. The copies are made by a rule and coded without
loss, so that every encoder's file decodes to the same pictures.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from official_files import lpips_file
from scipy.ndimage import uniform_filter

import syncdiff_datasets
from syncdiff_bench.contracts import Clip, Frames, Media, Metric, Pair, Runtime
from syncdiff_bench.errors import WeightsError
from syncdiff_bench.media.writing import write_video
from syncdiff_bench.weights.catalog import Catalogue, Entry
from syncdiff_bench.weights.store import WeightsStore
from syncdiff_datasets.pocket.dataset import PocketFolder
from syncdiff_metrics.lpips import LPIPS, LPIPSOptions
from syncdiff_metrics.psnr import PSNR, PSNROptions
from syncdiff_metrics.ssim import SSIM, SSIMOptions

POCKET = PocketFolder(Path(syncdiff_datasets.__file__).parent / "pocket" / "data")
DATA = Path(__file__).parents[1] / "data" / "official" / "image_quality.json"
OFFICIAL: dict[str, dict[str, float]] = json.loads(DATA.read_text(encoding="utf-8"))
FIRST, SECOND, THIRD = (f"30000000000000000{clip}" for clip in ("05/00001", "05/00002", "08/00002"))
FRAMES = 16  # of a copy


def noisy(frames: Frames) -> NDArray[np.int64]:
    return frames + np.round(9 * np.random.RandomState(5).standard_normal(frames.shape)).astype(int)


COPIES: dict[str, Callable[[Frames], NDArray[Any]]] = {
    "shifted": lambda frames: np.roll(frames, 2, axis=2),
    "noisy": noisy,
    "darker": lambda frames: frames.astype(int) - 20,
    "banded": lambda frames: frames // 32 * 32 + 16,
    "blurred": lambda frames: uniform_filter(frames.astype(float), (0, 5, 5, 0)).astype(int),
    "late": lambda frames: np.concatenate([frames[:1], frames[:1], frames[:-2]]),
    "other_mouth": lambda frames: np.concatenate([frames[:, :96], frames[::-1, 96:]], axis=1),
}
# what is measured: a clip of pocket, or a copy of the reference
COPIED = [(copy, clip) for copy in COPIES for clip in (FIRST, THIRD)]
WHOLE = [pytest.param(THIRD, FIRST, marks=pytest.mark.slow), pytest.param(FIRST, THIRD, marks=pytest.mark.slow)]
PAIRS = [(SECOND, FIRST), *WHOLE, *COPIED]


def pair(generated: str, reference: str, folder: Path) -> Pair:
    """Both are read from their files."""
    clip = POCKET.clip(reference)
    if generated not in COPIES:
        return Pair(Clip("generated", "videos", POCKET.clip(generated).path), clip)
    path = folder / f"{generated}_{reference.replace('/', '_')}.mp4"
    if not path.exists():
        worse = np.clip(COPIES[generated](clip.frames[:FRAMES]), 0, 255).astype(np.uint8)
        write_video(path, Media(worse, np.zeros(0, np.int16)))
    return Pair(Clip("generated", "videos", path), clip)


Measure = Callable[[Metric[Any], str, str], float | None]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measure:
    """`measured(metric, generated, reference)`: the metric's value; every pair is decoded once."""
    folder, pairs = tmp_path_factory.mktemp("copies"), dict[str, Pair]()

    def measure(metric: Metric[Any], generated: str, reference: str) -> float | None:
        name = f"{generated}|{reference}"
        if name not in pairs:
            pairs[name] = pair(generated, reference, folder)
        stats = metric.measure(pairs[name])
        # frames like their reference stand beside the others in PSNR, and among them everywhere else
        identical = stats.identical if metric.protocol in ("face96", "mouth", "full") and metric.name == "psnr" else 0
        assert stats.frames + identical == OFFICIAL[name]["frames"]
        (value,) = metric.values(stats).values()
        return value

    return measure


@pytest.mark.parametrize(("generated", "reference"), PAIRS)
def test_psnr_and_ssim_equal_those_of_talklips_script(generated: str, reference: str, measured: Measure) -> None:
    expected = OFFICIAL[f"{generated}|{reference}"]
    wrapped = PSNR(PSNROptions(protocol="talklip"))
    assert measured(wrapped, generated, reference) == pytest.approx(expected["talklip_psnr"], abs=1e-9)
    assert measured(SSIM(), generated, reference) == pytest.approx(expected["talklip_ssim"], abs=1e-9)


@pytest.mark.parametrize("region", ["face96", "mouth", "full"])
@pytest.mark.parametrize(("generated", "reference"), PAIRS)
def test_psnr_equals_that_of_scikit_image(region: str, generated: str, reference: str, measured: Measure) -> None:
    metric = PSNR(PSNROptions(region=region))  # type: ignore[arg-type]
    expected = OFFICIAL[f"{generated}|{reference}"][f"psnr_{region}"]
    assert measured(metric, generated, reference) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("region", ["mouth", "full"])
@pytest.mark.parametrize(("generated", "reference"), [WHOLE[0], ("noisy", FIRST), ("shifted", THIRD)])
def test_ssim_of_other_regions(region: str, generated: str, reference: str, measured: Measure) -> None:
    metric = SSIM(SSIMOptions(region=region))  # type: ignore[arg-type]
    expected = OFFICIAL[f"{generated}|{reference}"][f"ssim_{region}"]
    assert measured(metric, generated, reference) == pytest.approx(expected, abs=1e-9)


# --------------------------------------------------------------------------------------------------- LPIPS

LPIPS_CASES = [
    *(pytest.param("alex", "face96", *whole.values, marks=whole.marks) for whole in WHOLE),
    *(("alex", "face96", *copied) for copied in COPIED),
    ("alex", "full", "shifted", FIRST),
    ("alex", "mouth", "other_mouth", THIRD),
    ("vgg", "mouth", "blurred", FIRST),
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> WeightsStore:
    folder = tmp_path_factory.mktemp("lpips")
    entries = [Entry(f"lpips-{net}", f"{net}.ckpt", "filled", "none", "nowhere") for net in ("alex", "vgg")]
    for entry in entries:
        lpips_file(folder / entry.file, entry.name.removeprefix("lpips-"))
    return WeightsStore(folder, Catalogue({entry.name: entry for entry in entries}))


@pytest.mark.parametrize(("net", "region", "generated", "reference"), LPIPS_CASES)
def test_lpips_equals_that_of_the_lpips_package(
    net: str, region: str, generated: str, reference: str, filled: WeightsStore, measured: Measure
) -> None:
    metric = LPIPS(LPIPSOptions(net, region), Runtime(weights=filled))  # type: ignore[arg-type]
    expected = OFFICIAL[f"{generated}|{reference}"][f"filled_{net}_{region}"]
    assert measured(metric, generated, reference) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("net", "region", "generated", "reference"),
    [("alex", "face96", THIRD, FIRST), ("alex", "full", "shifted", FIRST), ("vgg", "mouth", "blurred", FIRST)],
)
def test_lpips_with_the_published_weights(
    net: str, region: str, generated: str, reference: str, measured: Measure
) -> None:
    metric = LPIPS(LPIPSOptions(net, region))  # type: ignore[arg-type]
    try:
        metric.prepare()
    except WeightsError as error:
        pytest.skip(str(error))
    expected = OFFICIAL[f"{generated}|{reference}"][f"{net}_{region}"]
    assert measured(metric, generated, reference) == pytest.approx(expected, rel=1e-6)
