"""gt, static and videos on clips made in memory and videos written for the test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.contracts import Clip, Frames, Media
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_methods.bounds import GroundTruth, Static
from syncdiff_methods.videos import Videos, VideosOptions


def clip(clip_id: str, n_frames: int = 4) -> Clip:
    frames = np.random.default_rng(n_frames).integers(0, 256, (n_frames, 16, 32, 3), dtype=np.uint8)
    return Clip(clip_id, "test", preloaded=Media(frames, np.zeros(0, np.int16)))


def write(path: Path, frames: Frames) -> None:
    from syncdiff_bench.media.writing import write_video

    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, Media(frames, np.zeros(0, np.int16)))


def test_ground_truth_is_the_reference() -> None:
    clips = [clip("a/1"), clip("a/2", 1)]
    for (clip_id, frames), expected in zip(GroundTruth().generate(clips, seed=0), clips, strict=True):
        assert clip_id == expected.id
        assert np.array_equal(frames, expected.frames)


def test_static_repeats_the_first_frame_and_tells_progress() -> None:
    told: list[int] = []
    ((clip_id, frames),) = Static().generate([clip("a")], seed=0, progress=told.append)
    first = clip("a").frames[0]
    assert clip_id == "a"
    assert frames.shape == (4, 16, 32, 3) and frames.dtype == np.uint8
    assert all(np.array_equal(frame, first) for frame in frames)
    assert sum(told) == 4


@pytest.mark.parametrize("name", ["a/1.mp4", "a_1.mp4", "a/1.mkv"])
def test_videos_are_found_nested_and_flat(tmp_path: Path, name: str) -> None:
    wanted = 255 - clip("a/1").frames
    write(tmp_path / name, wanted)
    ((clip_id, frames),) = Videos(VideosOptions(tmp_path)).generate([clip("a/1")], seed=0)
    assert clip_id == "a/1"
    assert np.array_equal(frames, wanted)


@pytest.mark.parametrize(
    ("frames", "kind", "words"),
    [
        (clip("x", 3).frames, "length", "3 frames at 25 fps, the reference has 4 frames at 25 fps"),
        (np.zeros((4, 16, 16, 3), np.uint8), "size", "frames are 16x16, those of the reference 32x16"),
    ],
)
def test_videos_that_do_not_fit_fail_alone(tmp_path: Path, frames: Frames, kind: str, words: str) -> None:
    write(tmp_path / "a/1.mp4", frames)
    write(tmp_path / "a/2.mp4", clip("a/2").frames)
    found = dict(Videos(VideosOptions(tmp_path)).generate([clip("a/1"), clip("a/2")], seed=0))
    error = found["a/1"]
    assert isinstance(error, ClipError) and error.kind == kind and words in str(error) and "a/1.mp4" in str(error)
    assert np.array_equal(found["a/2"], clip("a/2").frames)  # type: ignore[arg-type]


def test_videos_that_are_not_there(tmp_path: Path) -> None:
    ((_, error),) = Videos(VideosOptions(tmp_path)).generate([clip("a/1")], seed=0)
    assert isinstance(error, ClipError) and f"no video named a/1 nor a_1 in {tmp_path}" in str(error)
    with pytest.raises(UsageError, match="not a folder"):
        list(Videos(VideosOptions(tmp_path / "nowhere")).generate([clip("a/1")], seed=0))
