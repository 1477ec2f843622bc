"""Other people's videos beside their references: which file, which picture, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoded import encode

from syncdiff_bench.contracts import Clip, Frames, Media
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.fitting import read_fitted, tolerated
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.media.video_folder import VideoFolder

N = 60


def pictures(n: int = N, height: int = 16, width: int = 32) -> Frames:
    """Frame t is all t."""
    return np.repeat(np.arange(n, dtype=np.uint8), height * width * 3).reshape(n, height, width, 3)


def write(
    path: Path,
    frames: Frames,
    *,
    fps: int = 25,
    late: int = 0,
    codec: str = "libx264rgb",
    times: Sequence[int] | None = None,
) -> Path:
    """Lossless, `late` frames after the beginning of the file. times: of the pictures, in thousandths of a second."""
    clock = fps if times is None else 1000
    ticks = range(late, late + len(frames)) if times is None else times
    coded = {"codec": codec, "coding": {"qp": "0"}, "pix_fmt": "rgb24" if codec == "libx264rgb" else "yuv444p"}
    # Something that starts at 0, or the whole file would count from the first picture.
    hum = np.full(640 * len(frames), 99, np.int16)
    sound = {"audio": hum, "audio_codec": "pcm_s16le" if path.suffix == ".mkv" else "aac"}
    return encode(path, frames, rate=fps, clock=clock, times=[tick / clock for tick in ticks], **coded, **sound)


def reference(n: int = N) -> Clip:
    return Clip("c", "test", boxes="centred", preloaded=Media(pictures(n), np.zeros(640 * n, np.int16)))


def levels(frames: Frames) -> list[int]:
    assert (frames == frames[:, :1, :1, :1]).all()
    return [int(frame[0, 0, 0]) for frame in frames]


def kinds(media: Media) -> list[str]:
    return [one.kind for one in media.caveats]


# ------------------------------------------------------------------------------------------------------ length


@pytest.mark.parametrize(("frames", "allowed"), [(588, 5), (120, 5), (100, 5), (99, 4), (27, 1), (20, 1), (19, 0)])
def test_five_frames_and_five_percent(frames: int, allowed: int) -> None:
    assert tolerated(frames) == allowed


@pytest.mark.parametrize(
    ("name", "written", "shown", "told"),
    [
        ("a.mp4", {}, range(N), []),
        # Another rate that lasts as long is brought to 25.
        ("a.mp4", {"made": 2 * N, "fps": 50}, range(0, 2 * N, 2), ["retimed"]),
        # The file's own constant rate leaves pictures out: its clock stutters.
        ("a.mkv", {"times": [200 * (t // 5) + 4 * (t % 5) for t in range(N)]}, range(N), ["timestamps"]),
        # As Matroska and AVI files with B-frames have it: all pictures two frames late; last ones missing, too.
        ("a.mkv", {"late": 2}, range(N), ["timestamps"]),
        ("a.mkv", {"late": 2, "fps": 30}, range(N), ["rate-label"]),
        ("a.mkv", {"late": 2, "made": N - 2}, range(N - 2), ["timestamps", "length"]),
        # As fragmented mp4 has it: the first picture shown twice, and the second.
        ("a.mkv", {"astray": True, "made": N - 1}, range(N - 1), ["timestamps", "length"]),
        ("a.mkv", {"astray": True, "made": N - 3}, range(N - 3), ["timestamps", "length"]),
    ],
)
def test_no_picture_moves(tmp_path: Path, name: str, written: dict[str, Any], shown: range, told: list[str]) -> None:
    how = dict(written)
    made = how.pop("made", N)
    if how.pop("astray", False):
        how["times"] = [40, 104, *(40 * t + 80 for t in range(2, made))]
    media = read_fitted(write(tmp_path / name, pictures(made), **how), reference())
    assert levels(media.frames) == list(shown) and kinds(media) == told
    assert name != "a.mp4" or media.audio.shape == (640 * N,)


@pytest.mark.parametrize(
    ("made", "taken", "words"),
    [
        (N - 3, N - 3, "up to {most} frames shorter than their reference"),
        (N + 3, N, "up to {most} frames longer than their reference"),
    ],
)
def test_a_few_frames_less_or_more_are_told(tmp_path: Path, made: int, taken: int, words: str) -> None:
    media = read_fitted(write(tmp_path / "a.mp4", pictures(made)), reference())
    assert levels(media.frames) == list(range(taken))
    (length,) = media.caveats
    assert length.kind == "length" and length.sentence.startswith(words)
    assert (length.amount, length.detail) == (3, f"{made} of {N} frames")
    assert len(media.audio) <= 640 * taken


@pytest.mark.parametrize("made", [8, N - 4, N + 4])
def test_more_than_that_is_another_video(tmp_path: Path, made: int) -> None:
    words = f"a.mp4: {made} frames at 25 fps, the reference has 60 frames at 25 fps; .*3 may be missing"
    with pytest.raises(ClipError, match=words) as caught:
        read_fitted(write(tmp_path / "a.mp4", pictures(made)), reference())
    assert caught.value.kind == "length"


# -------------------------------------------------------------------------------------------------------- rate


@pytest.mark.parametrize("fps", [24, 30, 50])
def test_as_many_pictures_under_another_label_are_taken_one_by_one(tmp_path: Path, fps: int) -> None:
    media = read_fitted(write(tmp_path / "a.mp4", pictures(), fps=fps), reference())
    assert levels(media.frames) == list(range(N))
    (label,) = media.caveats
    assert (label.kind, label.detail) == ("rate-label", f"labelled {fps} fps")
    assert media.audio.shape == (640 * N,)


def test_as_many_pictures_at_uneven_times_are_taken_one_by_one(tmp_path: Path) -> None:
    """By their times some would be dropped, even at the file's own rate, and others repeated."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([8, 40, 110], N)).tolist()
    path = write(tmp_path / "a.mkv", pictures(), times=times)
    for fps in (25, None):
        assert len(np.unique(read_media(path, fps=fps).frames)) < N
    media = read_fitted(path, reference())
    assert levels(media.frames) == list(range(N))
    assert kinds(media) in (["timestamps"], ["rate-label"])


def test_both_labels_and_counts_are_named(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"58 frames at 30 fps \(4[89] at 25 fps\), the reference has 60 frames at 25"):
        read_fitted(write(tmp_path / "a.mp4", pictures(N - 2), fps=30), reference())


def test_a_reference_of_another_rate_is_followed_picture_by_picture(tmp_path: Path) -> None:
    """30 fps brought to 25: a video of the same pictures shows the same ones, whatever it is labelled with."""
    truth = Clip("c", "test", write(tmp_path / "truth.mp4", pictures(), fps=30))
    shown = levels(truth.frames)
    assert len(shown) < N
    same = read_fitted(write(tmp_path / "same.mp4", pictures(), fps=30), truth)
    assert levels(same.frames) == shown and kinds(same) == ["retimed"]
    other = read_fitted(write(tmp_path / "other.mp4", pictures(), fps=25), truth)
    assert levels(other.frames) == shown and kinds(other) == ["rate-label"]
    # Made of the clip as methods see it: 25 per second already.
    ours = read_fitted(write(tmp_path / "ours.mp4", truth.frames), truth)
    assert levels(ours.frames) == shown and ours.caveats == ()


# ------------------------------------------------------------------------------------------------------- start


def test_a_pause_later_on_is_kept(tmp_path: Path) -> None:
    times = [40 * t + 80 * (t >= 3) for t in range(N - 2)]
    media = read_fitted(write(tmp_path / "a.mkv", pictures(N - 2), times=times), reference())
    assert levels(media.frames)[:3] == [0, 1, 2] and levels(media.frames)[6:] == list(range(4, N - 2))
    assert kinds(media) == ["made-constant"]


def test_a_reference_that_starts_late_is_followed(tmp_path: Path) -> None:
    truth = Clip("c", "test", write(tmp_path / "truth.mkv", pictures(), late=2))
    assert levels(truth.frames) == [0, 0, *range(N)]
    media = read_fitted(write(tmp_path / "a.mp4", pictures()), truth)
    assert levels(media.frames) == [0, 0, *range(N)]


# -------------------------------------------------------------------------------------------------------- size


def test_another_size_of_the_same_shape_is_resized_and_told(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 248, 64).astype(np.uint8)[None, None, :, None], (N, 32, 1, 3))
    media = read_fitted(write(tmp_path / "a.mp4", ramp), reference())
    assert media.frames.shape == (N, 16, 32, 3) and media.planes is None
    halves = ramp[0, 0, :, 0].reshape(32, 2).mean(axis=1)
    assert np.abs(media.frames[0, 5, 1:-1, 0] - halves[1:-1]).max() < 2
    (resized,) = media.caveats
    assert (resized.kind, resized.detail) == ("resized", "resized 64x32 -> 32x16")
    assert "bicubic" in resized.sentence


@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 28), (18, 32), (64, 48)])
def test_another_shape_fails(tmp_path: Path, height: int, width: int) -> None:
    with pytest.raises(ClipError, match=f"frames are {width}x{height}, those of the reference 32x16") as caught:
        read_fitted(write(tmp_path / "a.mp4", pictures(N, height, width)), reference())
    assert caught.value.kind == "size"


def test_an_odd_side_may_have_been_made_even(tmp_path: Path) -> None:
    truth = Clip("c", "test", preloaded=Media(pictures(4, 97, 75), np.zeros(0, np.int16)))
    media = read_fitted(write(tmp_path / "a.mp4", pictures(4, 98, 76)), truth)
    assert media.frames.shape == (4, 97, 75, 3) and kinds(media) == ["resized"]


# ----------------------------------------------------------------------------------------- planes, and the cut


@pytest.mark.parametrize(("name", "fps", "late"), [("a.mp4", 30, 0), ("a.mkv", 25, 2)])
def test_the_coded_planes_go_with_their_pictures(tmp_path: Path, name: str, fps: int, late: int) -> None:
    path = write(tmp_path / name, pictures(), fps=fps, late=late, codec="libx264")
    media = read_fitted(path, reference())
    assert media.planes is not None and media.planes.luma.shape == (N, 16, 32)
    # Studio luma of a grey t: 16 + 219 t / 255.
    wanted = 16 + 219 * np.arange(N) / 255
    assert np.abs(media.planes.luma[:, 0, 0] - wanted).max() <= 1


def test_a_cut_clip_is_its_beginning() -> None:
    short = reference().first(10)
    assert levels(short.frames) == list(range(10)) and short.audio.shape == (6400,)
    assert len(short.face_boxes.boxes) == 10
    whole = reference()
    assert whole.first(N) is whole


# --------------------------------------------------------------------------------------------------- the file of a clip


def folder(root: Path, *names: str) -> VideoFolder:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return VideoFolder(root)


@pytest.mark.parametrize("name", ["a/1.mp4", "a_1.mp4", "a/1.mkv", "a_1.WEBM", "a/1.mp4.avi"])
def test_a_video_is_found_nested_and_flat_in_any_container(tmp_path: Path, name: str) -> None:
    clip_id = "a/1.mp4" if name.endswith(".avi") else "a/1"
    assert folder(tmp_path, name, "a/10.mp4", "a/1.txt", ".a_1.mp4", ".hidden/a/1.mp4").find(clip_id) == tmp_path / name


@pytest.mark.parametrize(("one", "other"), [("x.mkv", "x.mp4"), ("a/x.mp4", "a_x.mp4"), ("x.MP4", "x.mp4")])
def test_two_files_of_one_name_are_refused(tmp_path: Path, one: str, other: str) -> None:
    clip_id = "a/x" if one.startswith("a/") else "x"
    with pytest.raises(ClipError, match=f"{clip_id}: {one} and {other} in {tmp_path} are both named") as caught:
        folder(tmp_path, one, other).find(clip_id)
    assert caught.value.kind == "ambiguous"


def test_ids_that_keep_their_suffix_name_one_file(tmp_path: Path) -> None:
    """A data set of files that differ in nothing else."""
    videos = folder(tmp_path, "x.mkv", "x.mp4")
    assert [videos.find(name).name for name in ("x.mkv", "x.mp4")] == ["x.mkv", "x.mp4"]


def test_a_missing_video_names_both_places(tmp_path: Path) -> None:
    (tmp_path / "a" / "1.mp4").mkdir(parents=True)  # a folder is no video
    with pytest.raises(ClipError, match=f"no video named a/1 nor a_1 in {tmp_path}") as caught:
        folder(tmp_path).find("a/1")
    assert caught.value.kind == "missing"


def test_what_belongs_to_no_clip_is_told(tmp_path: Path) -> None:
    videos = folder(tmp_path, "a/1.mp4", "a_2.mkv", "b.mp4", "c.mp4", "notes.txt")
    (told,) = videos.unclaimed(("a/1", "a/2"))
    assert told.kind == "unclaimed-videos"
    assert told.sentence == "2 videos belong to no clip and took no part (first: b.mp4)"
    assert videos.unclaimed(("a/1", "a/2", "b", "c")) == ()
