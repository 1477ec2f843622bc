"""PSNR and SSIM against the official script's numbers, closed forms and hand-counted sums."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.contracts import Clip, Frames, Media, Pair
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.bilinear import cut_faces
from syncdiff_metrics.psnr import PSNR, PSNROptions, PSNRStats, psnr_of_wrapped_bytes, psnr_per_frame
from syncdiff_metrics.regions import FrameSum
from syncdiff_metrics.ssim import SSIM, SSIMOptions, ssim_per_frame

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "image_quality.json").read_text(encoding="utf-8"))


def photo() -> Frames:
    """The synthetic picture of the golden numbers (docs/spec/parity.md#inputs)."""
    y, x, c = np.mgrid[:96, :96, :3]
    return np.round(127.5 + 120 * np.sin(0.11 * y + 0.07 * x + c)).astype(np.uint8)


def distorted(name: str) -> Frames:
    picture = photo()
    y, x, _ = np.mgrid[:96, :96, :3]
    offsets = {"plus10": 10, "plus20": 20, "checker": np.where((x + y) % 2, 12, -12)}
    if name == "shift3":
        return np.roll(picture, 3, axis=1)
    return np.clip(picture.astype(int) + offsets[name], 0, 255).astype(np.uint8)


def pair(generated: Frames, reference: Frames) -> Pair:
    clips = [
        Clip("a", "test", boxes="centred", preloaded=Media(f, np.zeros(0, np.int16))) for f in (generated, reference)
    ]
    return Pair(*clips)


@pytest.mark.parametrize("name", ["shift3", "plus10", "plus20", "checker"])
def test_numbers_of_the_official_script(name):
    a, b, golden = distorted(name)[None], photo()[None], GOLDEN[name]
    assert psnr_of_wrapped_bytes(a, b)[0] == pytest.approx(golden["psnr_talklip_uint8"], abs=1e-9)
    assert psnr_per_frame(a, b)[0] == pytest.approx(golden["psnr_float"], abs=1e-9)
    assert ssim_per_frame(a, b)[0] == pytest.approx(golden["ssim"], abs=1e-9)


def test_resizing_of_the_official_script():
    faces = cut_faces(photo()[None], np.array([[0, 0, 70, 50]], np.int32))
    assert int(faces.sum(dtype=np.int64)) == GOLDEN["resize_50x70_to_96_sum"]


@pytest.mark.parametrize(
    ("difference", "true", "wrapped"),
    [
        (1, 20 * math.log10(255), 20 * math.log10(255)),
        (15, 20 * math.log10(255 / 15), 20 * math.log10(255 / 15)),
        (16, 20 * math.log10(255 / 16), 100.0),  # 256 wraps to 0
        (20, 20 * math.log10(255 / 20), 20 * math.log10(255 / 12)),  # 400 wraps to 144
        (255, 0.0, 20 * math.log10(255)),  # 65,025 wraps to 1
    ],
)
def test_a_constant_difference_in_closed_form(difference, true, wrapped):
    low = np.zeros((1, 8, 8, 3), np.uint8)
    high = np.full_like(low, difference)
    for a, b in ((low, high), (high, low)):
        assert psnr_per_frame(a, b)[0] == pytest.approx(true, abs=1e-12)
        assert psnr_of_wrapped_bytes(a, b)[0] == pytest.approx(wrapped, abs=1e-12)


def test_wrapping_is_the_square_modulo_256():
    a, b = np.random.default_rng(0).integers(0, 256, (2, 5, 20, 20, 3), dtype=np.uint8)
    squares = (a.astype(int) - b.astype(int)) ** 2 % 256
    expected = 10 * np.log10(65025 / squares.mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(psnr_of_wrapped_bytes(a, b), expected, rtol=1e-12)


def test_frames_equal_to_the_reference_have_no_psnr():
    reference = np.zeros((4, 8, 8, 3), np.uint8)
    generated = reference.copy()
    generated[1], generated[3] = 1, 255
    metric = PSNR(PSNROptions(region="full"))
    stats = metric.measure(pair(generated, reference))
    assert (stats.frames, stats.identical) == (2, 2)
    assert metric.values(stats)["psnr"] == pytest.approx((20 * math.log10(255) + 0) / 2)


@pytest.mark.parametrize("options", [PSNROptions(), PSNROptions(region="full"), PSNROptions(protocol="talklip")])
def test_ground_truth_has_no_psnr(options):
    frames = np.random.default_rng(0).integers(0, 256, (3, 100, 100, 3), dtype=np.uint8)
    metric = PSNR(options)
    stats = metric.measure(pair(frames, frames.copy()))
    assert stats.identical == 3
    assert metric.aggregate([stats, stats]) == {"psnr": None}
    assert metric.aggregate([]) == {"psnr": None}


def test_talklip_counts_equal_frames_as_100_as_the_script_does():
    reference = np.zeros((2, 100, 100, 3), np.uint8)
    generated = reference.copy()
    generated[1] = 5
    metric = PSNR(PSNROptions(protocol="talklip"))
    stats = metric.measure(pair(generated, reference))
    assert (stats.frames, stats.identical) == (2, 1)
    assert metric.values(stats)["psnr"] == pytest.approx((100 + 20 * math.log10(51)) / 2)


def test_errors_that_wrap_to_nothing_are_not_taken_for_ground_truth():
    reference = np.zeros((2, 100, 100, 3), np.uint8)
    metric = PSNR(PSNROptions(protocol="talklip"))
    stats = metric.measure(pair(reference + 16, reference))
    assert metric.values(stats) == {"psnr": 100.0}


def test_means_are_over_frames_not_over_clips():
    assert PSNR().aggregate([PSNRStats(30.0, 1, 0), PSNRStats(60.0, 3, 5)]) == {"psnr": 22.5}
    assert SSIM().aggregate([FrameSum(0.5, 1), FrameSum(2.7, 3)])["ssim"] == pytest.approx(0.8)
    assert SSIM().aggregate([]) == {"ssim": None}


def test_ssim_of_a_pair():
    reference = np.stack([photo(), photo()])
    generated = np.stack([distorted("shift3"), distorted("plus10")])
    metric = SSIM(SSIMOptions(region="full"))
    stats = metric.measure(pair(generated, reference))
    assert stats == metric.stats_from_json(json.loads(json.dumps(asdict(stats))))
    expected = (GOLDEN["shift3"]["ssim"] + GOLDEN["plus10"]["ssim"]) / 2
    assert metric.values(stats)["ssim"] == pytest.approx(expected, abs=1e-9)
    assert metric.values(metric.measure(pair(reference, reference)))["ssim"] == pytest.approx(1.0, abs=1e-12)


def test_ssim_needs_room_for_its_window():
    small = np.zeros((1, 10, 40, 3), np.uint8)
    with pytest.raises(ClipError, match="40x10 is smaller than SSIM's 11x11 window"):
        SSIM(SSIMOptions(region="full")).measure(pair(small, small))


def test_frames_that_equal_their_reference_can_be_counted_at_100_db() -> None:
    metric = PSNR()
    stats = PSNRStats(20.9, 1, 26)
    assert metric.left_out(stats) == 26
    assert metric.aggregate([metric.with_left_out(stats)])["psnr"] == pytest.approx((20.9 + 26 * 100) / 27)
    wrapped = PSNR(PSNROptions(protocol="talklip"))  # counts them already
    assert wrapped.left_out(stats) == 0 and wrapped.with_left_out(stats) == stats
