"""Options of every metric: the protocol that they make, values that are refused, weights that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncdiff_bench.contracts import Metric, Runtime
from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.plugins import load_metric
from syncdiff_bench.texts import metric_specs
from syncdiff_bench.weights.catalog import Catalogue, Entry
from syncdiff_bench.weights.store import WeightsStore
from syncdiff_metrics.avs import AVS, AVSOptions
from syncdiff_metrics.lpips import LPIPS
from syncdiff_metrics.lse import LSE, LSEOptions
from syncdiff_metrics.wer import WER, WEROptions

PROTOCOLS = {
    "psnr": "face96",
    "psnr[region=mouth]": "mouth",
    "psnr[talklip]": "talklip",
    "ssim": "face96",
    "ssim[region=full]": "full",
    "lpips": "alex-face96",
    "lpips[net=vgg,region=full]": "vgg-full",
    "lmd": "centred",
    "lmd[align=none]": "uncentred",
    "lse": "lrs",
    "lse[frames=ffmpeg]": "lrs-ffmpeg",
    "lse[frames=direct]": "lrs-direct",
    "lse[weights=pocket]": "pocket",
    "lse[weights=pocket,frames=direct]": "pocket-direct",
    "lse[weights=pocket.pth]": "pocket-missing-lrs",
    "lse[weights=pocket-syncnet]": "pocket-syncnet-lrs",
    "lse[weights=/a/Narrow net.pth,frames=direct]": "narrow-net-missing-lrs-direct",
    "lse[protocol=real-video]": "real-video",
    "lse[protocol=real-video,min_track=50]": "real-video-min50",
    "lse[protocol=real-video,detector=dlib-hog,frames=direct]": "real-video-dlib-hog-direct",
    "lse[protocol=real-video,weights=pocket]": "pocket-real-video",
    "wer": "centre88-160",
    "wer[lipreader_frame_size=native]": "centre88-native",
    "wer[beam=5,lenpen=0]": "centre88-160-beam5-lenpen0",
    "wer[reader=pocket]": "pocket",
    "wer[reader=pocket,beam=5]": "pocket-beam5",
    "wer[reader=pocket,beam=5,precision=bf16]": "pocket-beam5-bf16",
    "wer[reader=pocket.pt]": "pocket-missing-centre88-160",
    "wer[reader=my lips/avhubert-lrs2-vsr.pt]": "avhubert-lrs2-vsr-missing-centre88-160",
    "wer[crop=mouth]": "mouth96-2dfan4",
    "wer[crop=mouth,landmarks=here]": "mouth96-given",
    "wer[crop=mouth,reader=avhubert-lrs3-vsr,beam=20]": "avhubert-lrs3-vsr-mouth96-2dfan4-beam20",
    "avs": "centre88-160",
    "avs[frame_size=native]": "centre88-native",
    "avs[encoder=avhubert-base-vox-iter5]": "avhubert-base-vox-iter5-centre88-160",
    "avs[encoder=mine/avhubert-lrs2-vsr.pt]": "avhubert-lrs2-vsr-missing-centre88-160",
}


@pytest.mark.parametrize(("spec", "protocol"), PROTOCOLS.items())
def test_every_option_that_moves_a_number_is_part_of_the_protocol(spec: str, protocol: str) -> None:
    (one,) = metric_specs([spec])
    assert load_metric(one.name, one.options).protocol == protocol


@pytest.mark.parametrize(
    ("metric", "given", "words"),
    [
        ("psnr", {"region": "lips"}, "option region of psnr: 'lips' is not one of face96, mouth, full"),
        ("psnr", {"protocol": "uint8"}, "'uint8' is not one of float, talklip"),
        ("psnr", {"region": "full", "protocol": "talklip"}, "talklip is defined on region face96"),
        ("ssim", {"region": "face"}, "'face' is not one of face96, mouth, full"),
        ("lpips", {"net": "squeeze"}, "option net of lpips: 'squeeze' is not one of alex, vgg"),
        ("lpips", {"region": "half"}, "'half' is not one of face96, mouth, full"),
        ("lmd", {"align": "mouth"}, "'mouth' is not one of centre, none"),
        ("lse", {"frames": "png"}, "'png' is not one of jpeg, ffmpeg, direct"),
        ("lse", {"batch": 0}, "batch is 0"),
        ("lse", {"protocol": "real"}, "'real' is not one of lrs, real-video"),
        ("lse", {"detector": "mtcnn"}, "'mtcnn' is not one of s3fd, dlib-hog"),
        ("lse", {"min_track": 5}, "min_track is 5; give 6 or more"),
        ("lse", {"protocol": "real-video", "frames": "ffmpeg"}, "frames=ffmpeg reads whole files"),
        ("wer", {"beam": 0}, "beam is 0"),
        ("wer", {"precision": "fp16"}, "'fp16' is not one of fp32, bf16"),
        ("wer", {"text": "raw"}, "'raw' is not one of auto, official, normalised"),
        ("wer", {"lipreader_frame_size": "96"}, "'96' is not one of 160, native"),
        ("wer", {"reader": "pocket", "lipreader_frame_size": "native"}, "states its own frame size"),
        ("wer", {"crop": "lips"}, "'lips' is not one of centre, mouth"),
        ("wer", {"landmarks": Path("x")}, "landmarks are for crop=mouth"),
        ("wer", {"crop": "mouth", "lipreader_frame_size": "native"}, "leave lipreader_frame_size out"),
        ("wer", {"crop": "mouth", "reader": "pocket"}, "states its own frame size and crop"),
        ("avs", {"frame_size": "96"}, "'96' is not one of 160, native"),
    ],
)
def test_values_that_cannot_be_are_told_the_right_ones(metric: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        load_metric(metric, given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "weights"),
    [(LPIPS, "lpips-alex"), (LSE, "syncnet-v2"), (WER, "avhubert-lrs2-vsr"), (AVS, "avhubert-lrs2-vsr")],
)
def test_missing_weights_are_named_with_the_command(metric: Any, weights: str, tmp_path: Path) -> None:
    store = WeightsStore(tmp_path, Catalogue({weights: Entry(weights, "published.pth", "", "", "its page")}))
    missing = (
        f"weights {weights} missing; only you can get it: its page; then syncdiff-bench weights add {weights} FILE$"
    )
    with pytest.raises(WeightsError, match=missing) as caught:
        metric(runtime=Runtime(weights=store)).prepare()
    assert caught.value.missing == weights


@pytest.mark.parametrize(
    "metric", [LSE(LSEOptions(weights="/gone.pt")), WER(WEROptions(reader="/gone.pt")), AVS(AVSOptions("/gone.pt"))]
)
def test_a_file_that_is_not_there_is_named(metric: Metric[Any]) -> None:
    with pytest.raises(WeightsError, match=rf"{metric.name}: /gone\.pt: no such file"):
        metric.prepare()
