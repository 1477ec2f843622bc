"""`lse[protocol=real-video]`: every track scored as the `lrs` way scores its crop, and what happens without tracks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_networks import narrow_syncnet

from syncdiff_bench.contracts import Clip, Frames, Media, Pair, Runtime, WeightsUsed
from syncdiff_bench.errors import ClipError, NotApplicable, WeightsError
from syncdiff_bench.faces.detectors import Faces
from syncdiff_bench.media.bilinear import resize_linear
from syncdiff_bench.weights.store import WeightsStore
from syncdiff_metrics.lse import LSE, LSEOptions, LSEStats
from syncdiff_metrics.real_video import RealVideoStats, TrackScore, detect_scaled

HEIGHT, WIDTH = 240, 320


class Told:
    """Finds the boxes that the test wrote, in pixels of the whole frame, whatever the picture shows."""

    identity = "told-1"

    def __init__(self, *appearances: tuple[range, tuple[int, int, int, int]]) -> None:
        self.appearances = appearances
        self.sizes: list[tuple[int, ...]] = []

    def detect(self, frames: Frames) -> list[Faces]:
        self.sizes.append(frames.shape)
        scale = frames.shape[2] / WIDTH
        rows = [
            [(*(s * scale for s in box), 0.95) for when, box in self.appearances if t in when]
            for t in range(len(frames))
        ]
        return [np.array(one, np.float32).reshape(-1, 5) for one in rows]

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (WeightsUsed("told", "00"),)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return narrow_syncnet(tmp_path_factory.mktemp("weights") / "narrow.pth")


def clip(length: int) -> Clip:
    random = np.random.default_rng(length)
    coarse = random.integers(0, 256, (length, HEIGHT // 8, WIDTH // 8, 3)).astype(np.uint8)
    coarse = (coarse // 8 + 100).astype(np.uint8)  # noise without cuts
    sound = random.integers(-3000, 3000, 640 * length).astype(np.int16)
    return Clip("s/00001", "test", preloaded=Media(coarse.repeat(8, axis=1).repeat(8, axis=2), sound))


def lse(weights: Path, told: Told, **options: Any) -> LSE:
    metric = LSE(LSEOptions(weights=str(weights), protocol="real-video", **{"frames": "direct", **options}))
    metric.__dict__["_detector"] = told  # the cached property, filled by hand
    return metric


def plain(weights: Path, pictures: Frames, audio: Any, **options: Any) -> LSEStats:
    """The score of the `lrs` way."""
    metric = LSE(LSEOptions(weights=str(weights), **{"frames": "direct", **options}))
    stats = metric.measure(Pair(Clip("crop", "test", preloaded=Media(pictures, audio))))
    assert isinstance(stats, LSEStats)
    return stats


def test_a_track_is_scored_as_its_crop_by_the_lrs_way(weights: Path) -> None:
    """Half side 60, centre (150, 100): rows 40 .. 208, columns 66 .. 234; frames 4 .. 23."""
    video = clip(30)
    stats = lse(weights, Told((range(4, 24), (90, 40, 210, 160))), min_track=12).measure(Pair(video))
    expected = plain(weights, video.frames[4:24, 40:208, 66:234], video.audio[4 * 640 : 24 * 640])
    assert isinstance(stats, RealVideoStats)
    (track,) = stats.tracks
    assert (track.first, track.frames, track.windows) == (4, 20, 15)
    np.testing.assert_allclose(track.shift_means, expected.shift_means, rtol=1e-6)
    assert (track.lse_c, track.lse_d, track.offset) == (expected.lse_c, expected.lse_d, expected.offset)


def test_the_jpeg_stage_comes_after_the_crop(weights: Path) -> None:
    video, told = clip(20), Told((range(20), (90, 40, 210, 160)))
    stats = lse(weights, told, min_track=12, frames="jpeg").measure(Pair(video))
    crops = np.stack([resize_linear(frame[40:208, 66:234], 224, 224) for frame in video.frames])
    expected = plain(weights, crops, video.audio, frames="jpeg")
    assert isinstance(stats, RealVideoStats)
    np.testing.assert_allclose(stats.tracks[0].shift_means, expected.shift_means, rtol=1e-6)


def test_a_column_is_the_mean_over_all_tracks_of_all_clips() -> None:
    def track(lse_c: float, frames: int = 10, offset: int = 0) -> TrackScore:
        return TrackScore(0, frames, lse_c, 10 - lse_c, offset, frames - 5, (1.0,))

    two, one = RealVideoStats((track(1), track(2, 50, offset=3))), RealVideoStats((track(6),))
    metric = LSE(LSEOptions(protocol="real-video"))
    assert metric.aggregate([two, one]) == {"lse_c": 3, "lse_d": 7}
    assert metric.values(two) == {"lse_c": 1.5, "lse_d": 8.5, "offset": 3}
    assert metric.aggregate([]) == {"lse_c": None, "lse_d": None}
    assert metric.stats_from_json(json.loads(json.dumps(metric.stats_to_json(two)))) == two


def test_two_faces_are_two_tracks(weights: Path) -> None:
    told = Told((range(20), (90, 40, 210, 160)), (range(20), (230, 40, 350, 160)))
    stats = lse(weights, told, min_track=12).measure(Pair(clip(20)))
    assert isinstance(stats, RealVideoStats)
    assert [(track.first, track.frames) for track in stats.tracks] == [(0, 20), (0, 20)]
    assert stats.tracks[0].shift_means != stats.tracks[1].shift_means


def test_s3fd_sees_a_quarter_of_the_size_and_dlib_all_of_it(weights: Path) -> None:
    for name, size in (("s3fd", (20, 60, 80, 3)), ("dlib-hog", (20, 240, 320, 3))):
        told = Told((range(20), (90, 40, 210, 160)))
        stats = lse(weights, told, min_track=12, detector=name).measure(Pair(clip(20)))
        assert told.sizes == [size]
        assert isinstance(stats, RealVideoStats)
        assert stats.tracks[0].frames == 20


def test_boxes_come_back_in_pixels_of_the_frame() -> None:
    frames = np.zeros((1, 242, 318, 3), np.uint8)  # a quarter is 60 x 80
    (found,) = detect_scaled(frames, Told((range(1), (0, 0, WIDTH, HEIGHT))), 0.25)
    np.testing.assert_allclose(found[0], [0, 0, 318, 242, 0.95], rtol=1e-6)


@pytest.mark.parametrize(
    ("length", "told", "words"),
    [
        (20, Told((range(20), (90, 40, 210, 160))), "20 frames; a face track takes more than 100"),
        (
            100,
            Told((range(100), (90, 40, 210, 160))),
            r"no face of more than 100 pixels .* \(told-1 .* 100 of 100 frames",
        ),
        (110, Told(), r"sees faces in 0 of 110 frames\)"),
        (110, Told((range(110), (0, 0, 90, 90))), r"sees faces in 110 of 110 frames\)"),
    ],
)
def test_a_clip_without_a_track_fails_with_the_reason(weights: Path, length: int, told: Told, words: str) -> None:
    with pytest.raises(ClipError, match=f"s/00001: .*{words}.*smaller lse.min_track") as caught:
        lse(weights, told).measure(Pair(clip(length)))
    assert caught.value.kind == "no-track"
    assert "\n" not in str(caught.value)


def test_a_track_without_sound_is_told(weights: Path) -> None:
    video = clip(30)
    short = Clip(video.id, "test", preloaded=Media(video.frames, video.audio[: 8 * 640]))
    with pytest.raises(ClipError, match=r"s/00001 \(frame 10 on\): has no audio"):
        lse(weights, Told((range(10, 30), (90, 40, 210, 160))), min_track=12).measure(Pair(short))


def test_detector_and_its_weights_belong_to_the_number(weights: Path) -> None:
    metric = lse(weights, Told())
    assert metric.provenance() == {"detector": "told-1", "frames": "direct"}
    assert [used.name for used in metric.weights_used()] == ["narrow.pth", "told"]


def test_without_a_detector_the_column_is_not_applicable(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = LSE(LSEOptions(weights=str(weights), protocol="real-video"), Runtime(weights=WeightsStore(tmp_path)))
    with pytest.raises(WeightsError, match="weights s3fd missing"):
        metric.prepare()
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(NotApplicable, match="package dlib missing"):
        LSE(LSEOptions(weights=str(weights), protocol="real-video", detector="dlib-hog")).prepare()
