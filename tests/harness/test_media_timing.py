"""Which frame of a file is shown when: cases worked out by hand, ffmpeg's own filter, files whose clocks mislead."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from encoded import encode, filtered

from syncdiff_bench.contracts import Clip, Frames, Media
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.containers import demuxed
from syncdiff_bench.media.fitting import read_fitted
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.media.timing import constant_rate_indices, label_rate, nearest_indices, rate_label


def test_jitter_below_a_frame_neither_drops_nor_repeats() -> None:
    jitter = np.random.default_rng(0).uniform(-0.05, 0.05, 100)
    timed = [(max(0.0, t + jitter[t]), 1.0) for t in range(100)]
    assert constant_rate_indices(timed) == list(range(100))


@pytest.mark.parametrize(
    ("timed", "shown"),
    [
        ([(0, 1), (1, 2), (3, 1)], [0, 1, 1, 2]),  # a long frame is held
        ([(0, 1), (1, 1), (3, 1)], [0, 1, 2, 2]),  # an unannounced gap of one is filled with the next frame
        ([(0, 1), (1, 1), (5, 1)], [0, 1, 1, 1, 2, 2]),  # a longer one with the frame before it, too
        ([(6, 1), (7, 1)], [0] * 7 + [1]),  # a late start repeats the first frame
        (
            [(0, 1), (0.2, 0.2), (0.4, 0.2), (0.6, 0.2), (0.8, 0.2), (1, 1)],
            [0, 1, 4, 5],
        ),  # crowded ones are dropped
    ],
)
def test_cases_worked_out_by_hand_from_ffmpegs_rule(timed: list[tuple[float, float]], shown: list[int]) -> None:
    assert constant_rate_indices(timed) == shown


def test_half_rate_frames_that_say_a_short_duration_are_each_shown_twice() -> None:
    # Two output frames apart, one long: ffmpeg fills each gap, and the last three gaps decide about the end.
    shown = constant_rate_indices([(2 * t, 1) for t in range(10)])
    assert len(shown) == 19
    assert shown == sorted(shown)
    assert set(shown) == set(range(10))


def fps_filter(ticks: list[int], time_base: Fraction) -> list[int]:
    """What ffmpeg's own filter shows at 25 fps of frames at these ticks: their numbers."""
    frames = [av.VideoFrame.from_ndarray(np.full((16, 16, 3), i, np.uint8), format="rgb24") for i in range(len(ticks))]
    for frame, tick in zip(frames, ticks, strict=True):
        frame.pts, frame.time_base = tick, time_base
    return [int(shown[0, 0, 0]) for shown in filtered(frames, "fps=25")]


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(24000, 1001), Fraction(50), Fraction(15), Fraction(60)])
@pytest.mark.parametrize("n", [1, 7, 90])
def test_frames_of_another_rate_are_those_of_ffmpegs_filter(n: int, rate: Fraction) -> None:
    starts = np.array([float(t / rate) for t in range(n)])
    ours = nearest_indices(starts, float(n / rate), Fraction(25)).tolist()
    theirs = fps_filter(list(range(n)), 1 / rate)
    common = min(len(ours), len(theirs))  # at the end the filter does not know how long the last frame lasts
    assert ours[:common] == theirs[:common]
    assert len(ours) == max(1, int(n * 25 / rate + Fraction(1, 2)))


@pytest.mark.parametrize("seed", range(5))
def test_frames_at_any_times_are_those_of_ffmpegs_filter(seed: int) -> None:
    """As screen recorders and browsers write them: a picture when something moved, on a clock of milliseconds."""
    ticks = np.cumsum([0, *np.random.default_rng(seed).integers(5, 130, 99)])
    ours = nearest_indices(ticks / 1000, float(ticks[-1] / 1000), Fraction(25)).tolist()
    theirs = fps_filter(ticks.tolist(), Fraction(1, 1000))
    assert ours == theirs[: len(ours)]
    assert len(ours) in (len(theirs), len(theirs) - 1)


def test_the_label_is_the_rate_unless_it_is_a_clock() -> None:
    assert label_rate(Fraction(1000), Fraction(15)) == 15
    assert label_rate(Fraction(25), Fraction(15)) == 25
    assert label_rate(Fraction(60), Fraction(15)) == 60
    assert label_rate(None, None) == 25


def test_an_avi_that_starts_late_starts_with_its_first_picture_held(tmp_path: Path) -> None:
    """FFmpeg writes the empty chunks of the delay after the first picture, not before it."""
    greys = np.repeat(24 * np.arange(10, dtype=np.uint8), 32 * 48 * 3).reshape(10, 32, 48, 3)
    times = [(t + 3) / 25 for t in range(10)]
    path = encode(tmp_path / "clip.avi", greys, times=times, clock=25, codec="mpeg4", coding={"bf": "0"})
    media = read_media(path)
    assert [round(float(frame.mean()) / 24) for frame in media.frames] == [0, 0, 0, *range(10)]
    assert [one.kind for one in media.caveats] == ["starts-late"]


def test_rates_read_as_people_write_them() -> None:
    assert [rate_label(Fraction(25)), rate_label(Fraction(24000, 1001)), rate_label(29.97)] == [
        "25",
        "23.976",
        "29.97",
    ]


# -------------------------------------------------------------------------------------------------- clocks that mislead


N = 40


def grey(t: int) -> Any:
    frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 + 4 * t, np.uint8), format="rgb24")
    frame.pts, frame.time_base = t, Fraction(1, 25)
    return frame


def levels(frames: Frames) -> list[int]:
    return np.round((frames.mean(axis=(1, 2, 3)) - 40) / 4).astype(int).tolist()  # type: ignore[no-any-return]


def reference() -> Clip:
    return Clip("c", "test", preloaded=Media(np.zeros((N, 32, 32, 3), np.uint8), np.zeros(640 * N, np.int16)))


def write(path: Path, *, sound: str = "", late: int = 0, decoding_times: bool = False, n: int = N) -> Path:
    """40 greys, two B-frames in a row, and a click in the sound when picture 20 is shown.

    late: frames, of pictures and sound alike; the sound is silent from 0 on. decoding_times: in place of those of
    showing, as in what was an AVI.
    """
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(
            "mpeg4", rate=25, options={"bf": "2", "b_strategy": "0", "qmin": "1", "qmax": "2"}
        )
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        heard: Any = container.add_stream(sound, rate=16_000, layout="mono") if sound else None
        packets = []
        for t in range(n):
            frame = grey(t)
            frame.pts = late + t
            packets += video.encode(frame)
        packets += video.encode(None)
        for step, packet in enumerate(packets):
            if decoding_times:
                packet.pts = packet.dts = step
            container.mux(packet)
        if heard is not None:
            samples = np.zeros((1, 640 * N + 640 * late), np.int16)
            samples[0, 640 * 20 + 640 * late :][:160] = 20_000
            audio = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            audio.sample_rate, audio.pts, audio.time_base = 16_000, 0, Fraction(1, 16_000)
            container.mux(heard.encode(audio))
            container.mux(heard.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_times_of_decoding_drop_no_picture(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", decoding_times=True)
    with av.open(str(path)) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    assert times != sorted(times)
    assert sorted(set(levels(read_media(path).frames))) == list(range(N))


def test_sound_beside_b_frames_in_avi_is_all_there(tmp_path: Path) -> None:
    """FFmpeg delays it by empty chunks, which the header counts."""
    greys = np.repeat(40 + 4 * np.arange(N, dtype=np.uint8), 32 * 32 * 3).reshape(N, 32, 32, 3)
    tone = (8_000 * np.sin(np.arange(1764 * N) / 9)).astype(np.int16)
    pictures = {"clock": 25, "codec": "libx264", "coding": {"bf": "2", "b_strategy": "0"}}
    sound = {"audio": tone, "audio_rate": 44_100, "audio_codec": "libmp3lame"}
    path = encode(tmp_path / "a.avi", greys, **pictures, **sound)
    with av.open(str(path)) as container:
        packets = sum(packet.size > 0 for packet in container.demux(audio=0))
        assert container.streams.audio[0].frames > packets + 1
    assert read_media(path).caveats == ()


@pytest.mark.parametrize("sound", ["pcm_s16le", "flac"])
def test_a_late_start_that_is_ignored_takes_the_sound_along(tmp_path: Path, sound: str) -> None:
    media = read_fitted(write(tmp_path / "a.mkv", sound=sound, late=5), reference())
    assert levels(media.frames) == list(range(N))
    assert [one.kind for one in media.caveats] == ["timestamps"]
    assert int(np.argmax(media.audio)) == 640 * 20


def test_nor_does_it_leave_the_sound_behind_where_pictures_are_missing(tmp_path: Path) -> None:
    longer = Clip("c", "test", preloaded=Media(np.zeros((N + 2, 32, 32, 3), np.uint8), np.zeros(0, np.int16)))
    media = read_fitted(write(tmp_path / "a.mkv", sound="pcm_s16le", late=5), longer)
    assert levels(media.frames) == list(range(N))
    assert [one.kind for one in media.caveats] == ["timestamps", "length"]
    assert int(np.argmax(media.audio)) == 640 * 20


def test_sound_follows_pictures_that_are_brought_to_a_late_reference(tmp_path: Path) -> None:
    late = Clip("c", "test", write(tmp_path / "reference.mkv", sound="pcm_s16le", late=5))
    media = read_fitted(write(tmp_path / "a.mkv", sound="pcm_s16le"), late)
    assert levels(media.frames) == [*[0] * 5, *range(N)]
    assert int(np.argmax(media.audio)) == int(np.argmax(late.audio)) == 640 * 25


def test_so_does_a_video_that_is_a_picture_short(tmp_path: Path) -> None:
    late = Clip("c", "test", write(tmp_path / "reference.mkv", sound="pcm_s16le", late=2))
    short = write(tmp_path / "a.mkv", sound="pcm_s16le", n=N - 1)
    media = read_fitted(short, late)
    assert levels(media.frames) == [0, 0, *range(N - 1)]
    assert [one.kind for one in media.caveats] == ["timestamps", "length"]
    assert int(np.argmax(media.audio)) == 640 * 22


# ------------------------------------------------------------------------------------------------------- tracks


@pytest.mark.parametrize(
    ("extra", "told"), [("video", "2 video and 0 sound tracks"), ("audio", "1 video and 2 sound tracks"), ("cover", "")]
)
def test_a_file_with_several_tracks_says_so(tmp_path: Path, extra: str, told: str) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        videos: list[Any] = [
            container.add_stream(codec, rate=25) for codec in ("mpeg4", "mjpeg")[: 1 + (extra != "audio")]
        ]
        sounds = [container.add_stream("aac", rate=16_000, layout="mono") for _ in range(2 * (extra == "audio"))]
        for video in videos:
            video.width, video.height = 32, 32
            video.pix_fmt = "yuvj420p" if video.codec.name == "mjpeg" else "yuv420p"
        if extra == "cover":
            videos[1].disposition = Disposition.attached_pic
        for video in videos:
            container.mux([packet for t in range(10) for packet in video.encode(grey(t))] + video.encode(None))
        for sound in sounds:
            heard = av.AudioFrame.from_ndarray(np.zeros((1, 6400), np.int16), format="s16", layout="mono")
            heard.sample_rate = 16_000
            container.mux(sound.encode(heard) + sound.encode(None))
    media = read_media(path)
    assert len(media.frames) == media.source_count == 10
    assert [(one.kind, one.detail) for one in media.caveats] == ([("several-tracks", told)] if told else [])


def test_a_track_that_appears_on_the_way_stops_reading(tmp_path: Path) -> None:
    """PyAV knows no stream for its packets; a damaged FLV has such."""

    class Appearing:
        def __init__(self, of: Any) -> None:
            self.of = of

        def demux(self, *streams: Any) -> Iterator[Any]:
            yield from islice(self.of.demux(*streams), 10)
            raise IndexError("list index out of range")

    with av.open(str(write(tmp_path / "a.mp4"))) as container:
        (track,) = demuxed(Appearing(container), container.streams.video[:1], lambda _track: None)
    assert track.count == 10
    assert track.broken == "a track that no header names"


# ------------------------------------------------------------------------------------------------------ colours


def test_chroma_of_odd_sizes_is_enlarged_as_ffmpeg_does(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 37, 41, 3), np.uint8)
    path = encode(tmp_path / "odd.mkv", noise, codec="ffv1")
    with av.open(str(path)) as container:
        wanted = np.stack(filtered(container.decode(video=0), "format=rgb24"))
    assert np.array_equal(read_media(path).frames, wanted)


def test_colours_that_have_no_rgb_fail_in_words(tmp_path: Path) -> None:
    coding = {"x264-params": "colormatrix=YCgCo"}
    path = encode(tmp_path / "ycgco.mp4", np.zeros((3, 32, 32, 3), np.uint8), codec="libx264", coding=coding)
    with pytest.raises(ClipError, match=r"colour space 8 have no RGB .*re-encode") as caught:
        read_media(path)
    assert caught.value.kind == "undecodable"
