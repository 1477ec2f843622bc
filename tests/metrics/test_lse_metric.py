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
from tiny_networks import narrow_syncnet
from torch import Tensor

from syncdiff_bench.contracts import Clip, Media, Pair, Runtime, WeightsUsed
from syncdiff_bench.errors import ClipError, NotApplicable, WeightsError
from syncdiff_bench.weights.catalog import Catalogue, Entry
from syncdiff_bench.weights.store import WeightsStore
from syncdiff_metrics.lse import LSE, LSEOptions, LSEStats, score, shift_means, stretched, window_count


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow SyncNet as torch saves it: the layout of the published file."""
    return narrow_syncnet(tmp_path_factory.mktemp("weights") / "Narrow net.pth")


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
        (clip(9, samples=0), "no-audio", "has no audio"),
        (clip(5), "too-short", "5 frames with 0.20 s of audio"),
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


def test_provenance_names_the_encoder():
    assert LSE().provenance()["encoder"].startswith("PyAV ")
    assert "libavcodec" in LSE().provenance()["encoder"]
    assert LSE(LSEOptions(frames="direct")).provenance() == {"frames": "direct"}


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


def test_catalogued_weights_come_from_the_store(weights: Path, tmp_path: Path):
    entry = Entry("syncnet-v2", "syncnet_v2.model", "SyncNet", "MIT", "https://example.org")
    store = WeightsStore(tmp_path, Catalogue({entry.name: entry}))
    metric = LSE(runtime=Runtime(weights=store))
    store.add("syncnet-v2", weights)
    metric.prepare()
    assert metric.weights_used() == (WeightsUsed("syncnet-v2", sha256(weights.read_bytes()).hexdigest()),)


def test_frames_are_stretched_whatever_their_shape():
    grey: NDArray[np.uint8] = np.full((30, 80, 3), 77, np.uint8)
    faces = stretched([grey, grey], 2)
    assert faces.shape == (2, 224, 224, 3)
    assert (faces == 77).all()


# --------------------------------------------------------------------------------------- the arithmetic


GOLDEN = np.load(Path(__file__).parents[1] / "data" / "syncnet_golden.npz")


def wave(shift: int) -> Tensor:
    i, j = np.arange(25)[:, None] + shift, np.arange(1024)[None]
    return torch.tensor(np.sin(0.9 * i + 0.013 * j * (1 + 0.1 * i)), dtype=torch.float32)


def test_synthetic_embeddings_score_as_the_official_code_scores_them():
    means = shift_means(wave(0), wave(2))
    np.testing.assert_allclose(means, GOLDEN["synthetic_mdist"], rtol=1e-6)
    found = score(means, 40)
    assert found.offset == 2
    assert found.lse_c == pytest.approx(26.721554, rel=1e-6)
    assert found.lse_d == pytest.approx(1.812995, rel=1e-6)
    assert found.shift_means == tuple(means.tolist())


def test_official_shift_means_score_as_published():
    lse_c, lse_d, offset = GOLDEN["scores"]
    found = score(torch.tensor(GOLDEN["mdist"], dtype=torch.float32), 40)
    assert (found.lse_c, found.lse_d, found.offset) == (lse_c, lse_d, offset)


def test_windows_beyond_the_sound_count_with_the_norm_of_their_lips():
    n, size = 4, 9
    lips, sound = torch.full((n, size), 2.0), torch.full((n, size), 2.0)
    means = shift_means(lips, sound)
    # k matching windows at distance |1e-6|, the others at |2 + 1e-6| * sqrt(9)
    expected = [6.0 * min(abs(shift), n) / n for shift in range(-15, 16)]
    np.testing.assert_allclose(means, expected, atol=1e-5)


def test_epsilon_is_added_to_the_difference():
    same = torch.rand(16, 1024)
    assert shift_means(same, same)[15] == pytest.approx(1e-6 * np.sqrt(1024), rel=1e-3)


def test_the_first_of_two_minima_gives_the_offset():
    means = torch.ones(31)
    means[[4, 20]] = 0.25
    found = score(means, 40)
    assert (found.offset, found.lse_d, found.lse_c) == (11, 0.25, 0.75)


@pytest.mark.parametrize(
    ("frames", "samples", "windows"),
    [
        (75, 48_128, 70),
        (75, 16_384, 20),
        (41, 26_624, 36),
        (6, 48_128, 1),
        (5, 48_128, 0),
        (75, 2_048, -2),
        (75, 640 * 75 - 1, 69),
    ],
)
def test_window_count(frames: int, samples: int, windows: int):
    assert window_count(frames, samples) == windows
