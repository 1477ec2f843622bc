"""The `lse` plugin: options, identity, failures, statistics. Scores are in test_lse_end_to_end.py."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from syncdiff_bench.contracts import Clip, Media, Pair, Runtime, WeightsUsed
from syncdiff_bench.errors import ClipError, NotApplicable, UsageError, WeightsError
from syncdiff_bench.networks.syncnet import SyncNet, SyncNetConfig
from syncdiff_bench.weights.catalog import Catalogue, Entry
from syncdiff_bench.weights.store import WeightsStore
from syncdiff_metrics.lse import LSE, LSEOptions, LSEStats, stretched


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow SyncNet as torch saves it: the layout of the published file."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "Narrow net.pth"
    torch.save(SyncNet(SyncNetConfig(width=1 / 16, embedding=32)).state_dict(), file)
    return file


def clip(frames: int = 9, samples: int | None = None) -> Clip:
    random = np.random.default_rng(frames)
    pictures = random.integers(0, 256, (frames, 48, 40, 3)).astype(np.uint8)
    sound = random.integers(-3000, 3000, 640 * frames if samples is None else samples).astype(np.int16)
    return Clip("s/00001", "test", preloaded=Media(pictures, sound))


def lse(weights: Path, **options: object) -> LSE:
    return LSE(LSEOptions(weights=str(weights), **options))  # type: ignore[arg-type]


def test_a_clip_without_reference_is_scored(weights: Path):
    metric = lse(weights)
    stats = metric.measure(Pair(clip()))
    assert stats.windows == 4
    assert len(stats.shift_means) == 31
    assert stats.lse_d == min(stats.shift_means)
    assert stats.lse_c == pytest.approx(sorted(stats.shift_means)[15] - stats.lse_d, rel=1e-4)
    assert stats.offset == 15 - stats.shift_means.index(stats.lse_d)
    assert metric.values(stats) == {"lse_c": stats.lse_c, "lse_d": stats.lse_d, "offset": stats.offset}


def test_the_generated_clip_is_scored_not_the_reference(weights: Path):
    metric = lse(weights, frames="direct")
    assert metric.measure(Pair(clip(9), clip(12))) == metric.measure(Pair(clip(9)))


def test_silence_and_deep_pictures_are_said_below_the_column(weights: Path):
    def kinds(media: Media, **options: str) -> list[str]:
        metric, pair = lse(weights, **options), Pair(Clip("a", "test", preloaded=media))
        return [one.kind for one in metric.caveats(pair, metric.measure(pair))]

    heard = clip().media
    assert kinds(heard) == []
    assert kinds(replace(heard, audio=np.zeros_like(heard.audio))) == ["silent"]
    assert kinds(replace(heard, bits=10)) == ["deep-pictures"]
    assert kinds(replace(heard, bits=10), frames="direct") == []


def test_statistics_survive_json(weights: Path):
    metric = lse(weights)
    stats = metric.measure(Pair(clip()))
    assert metric.stats_from_json(json.loads(json.dumps(metric.stats_to_json(stats)))) == stats


def test_a_column_is_the_mean_over_clips_however_long():
    short = LSEStats(lse_c=2.0, lse_d=8.0, offset=0, windows=1, shift_means=(8.0,))
    long = LSEStats(lse_c=5.0, lse_d=6.0, offset=1, windows=900, shift_means=(6.0,))
    assert LSE().aggregate([short, long]) == {"lse_c": 3.5, "lse_d": 7.0}
    assert LSE().aggregate([]) == {"lse_c": None, "lse_d": None}


@pytest.mark.parametrize(
    ("broken", "kind", "words"),
    [
        (clip(9, samples=0), "no-audio", "has no sound"),
        (clip(5), "too-short", "5 frames with 0.20 s of sound"),
        (clip(9, samples=3_839), "too-short", "9 frames with 0.24 s"),
    ],
)
def test_a_clip_that_cannot_be_scored_fails_alone(weights: Path, broken: Clip, kind: str, words: str):
    with pytest.raises(ClipError, match=f"s/00001: .*{words}") as caught:
        lse(weights).measure(Pair(broken))
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)


def test_six_frames_are_enough(weights: Path):
    assert lse(weights).measure(Pair(clip(6))).windows == 1


def test_batches_change_no_score(weights: Path):
    whole, parts = (lse(weights, batch=batch).measure(Pair(clip(16))) for batch in (20, 3))
    np.testing.assert_allclose(whole.shift_means, parts.shift_means, rtol=1e-5)


def test_the_jpeg_stage_is_on_by_default(weights: Path):
    jpeg, direct = (lse(weights, frames=frames).measure(Pair(clip())) for frames in ("jpeg", "direct"))
    assert jpeg.shift_means != direct.shift_means
    assert lse(weights).options.frames == "jpeg"


# What cv2.imread and cv2.VideoCapture, through which the official scripts read, make of RGB: blue is channel 0.
@pytest.mark.parametrize("frames", ["direct", "jpeg"])
@pytest.mark.parametrize(
    ("rgb", "bgr"), [((255, 0, 0), (0, 0, 255)), ((0, 0, 255), (255, 0, 0)), ((9, 99, 199), (199, 99, 9))]
)
def test_frames_enter_the_network_as_bgr(
    weights: Path, frames: str, rgb: tuple[int, int, int], bgr: tuple[int, int, int]
):
    """Frames of one colour, seen where they enter the first layer; the JPEG stage moves a colour by a few levels."""
    media = Media(np.full((9, 48, 40, 3), rgb, np.uint8), clip().audio)
    metric, seen = lse(weights, frames=frames), []
    metric._network.netcnnlip[0].register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    metric.measure(Pair(Clip("s/00001", "test", preloaded=media)))
    assert seen and seen[0].shape[1] == 3
    colours = seen[0].mean(dim=(0, 2, 3, 4)).tolist()
    assert colours == pytest.approx(bgr, abs=0 if frames == "direct" else 6), (
        f"frames={frames}: {rgb} enters as {colours}"
    )


@pytest.mark.parametrize(
    ("options", "slug"),
    [
        ({}, "lrs"),
        ({"frames": "ffmpeg"}, "lrs-ffmpeg"),
        ({"frames": "direct"}, "lrs-direct"),
        ({"weights": "pocket-syncnet"}, "pocket-syncnet-lrs"),
        ({"weights": "/a/Narrow net.pth", "frames": "direct"}, "narrow-net-missing-lrs-direct"),
    ],
)
def test_protocols_never_share_a_column(options: dict[str, str], slug: str):
    assert LSE(LSEOptions(**options)).protocol == slug  # type: ignore[arg-type]


def test_provenance_names_the_encoder():
    assert LSE().provenance()["encoder"].startswith("PyAV ")
    assert "libavcodec" in LSE().provenance()["encoder"]
    assert LSE(LSEOptions(frames="direct")).provenance() == {"frames": "direct"}


@pytest.mark.parametrize(
    ("options", "words"),
    [({"frames": "png"}, "'png'; give jpeg, ffmpeg, direct"), ({"batch": 0}, "batch is 0")],
)
def test_wrong_options_are_usage_errors(options: dict[str, object], words: str):
    with pytest.raises(UsageError, match=words):
        LSEOptions(**options)  # type: ignore[arg-type]


def test_a_missing_ffmpeg_makes_the_column_not_applicable(weights: Path):
    with pytest.raises(NotApplicable, match="no-such-ffmpeg"):
        lse(weights, frames="ffmpeg", ffmpeg="no-such-ffmpeg").prepare()


def test_ffmpeg_needs_a_file(weights: Path):
    with pytest.raises(ClipError, match="frames=ffmpeg needs a video file") as caught:
        lse(weights, frames="ffmpeg").measure(Pair(clip()))
    assert caught.value.kind == "no-file"


def test_weights_are_told_by_name_and_digest(weights: Path):
    (used,) = lse(weights).weights_used()
    assert (used.name, used.sha256) == ("Narrow net.pth", sha256(weights.read_bytes()).hexdigest())


def test_a_wrong_checkpoint_is_refused_by_name(tmp_path: Path):
    wrong = tmp_path / "wrong.pth"
    torch.save({"conv.weight": torch.zeros(3)}, wrong)
    with pytest.raises(WeightsError, match=r"wrong\.pth is not a SyncNet checkpoint"):
        lse(wrong).prepare()


def test_a_weights_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"lse: .*gone\.pth: no such file"):
        lse(tmp_path / "gone.pth").prepare()


def test_catalogued_weights_come_from_the_store(weights: Path, tmp_path: Path):
    entry = Entry("syncnet-v2", "syncnet_v2.model", "SyncNet", "MIT", "https://example.org")
    store = WeightsStore(tmp_path, Catalogue({entry.name: entry}))
    metric = LSE(runtime=Runtime(weights=store))
    with pytest.raises(WeightsError) as caught:
        metric.prepare()
    assert caught.value.missing == "syncnet-v2"
    store.add("syncnet-v2", weights)
    metric.prepare()
    assert metric.weights_used() == (WeightsUsed("syncnet-v2", sha256(weights.read_bytes()).hexdigest()),)


def test_frames_are_stretched_whatever_their_shape():
    grey: NDArray[np.uint8] = np.full((30, 80, 3), 77, np.uint8)
    faces = stretched([grey, grey], 2)
    assert faces.shape == (2, 224, 224, 3)
    assert (faces == 77).all()
