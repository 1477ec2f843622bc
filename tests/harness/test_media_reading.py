"""Decoding of files made here with PyAV; a frame's grey level is its index, so that it names itself."""

from __future__ import annotations

import hashlib
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from encoded import encode, filtered
from numpy.typing import NDArray

from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.reading import MediaFacts, probe, read_every_picture, read_media


def numbered(n: int, height: int = 32, width: int = 48) -> NDArray[np.uint8]:
    """(n, height, width, 3): frame t is grey level 2 t, with a white top left corner."""
    frames = np.empty((n, height, width, 3), np.uint8)
    frames[:] = (2 * np.arange(n, dtype=np.uint8))[:, None, None, None]
    frames[:, :8, :8] = 255
    return frames


def numbers(frames: NDArray[np.uint8]) -> list[int]:
    return [int(frame[-1, -1, 0]) // 2 for frame in frames]


def tone(seconds: float, rate: int, hertz: float = 440.0) -> NDArray[np.int16]:
    return (8_000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.int16)


def greys(n: int, step: int, first: int = 0) -> NDArray[np.uint8]:
    """(n, 32, 48, 3), for codecs that lose something."""
    return np.tile((first + step * np.arange(n, dtype=np.uint8))[:, None, None, None], (1, 32, 48, 3))


def test_a_clip_at_25_fps_gives_exactly_its_frames_and_samples(tmp_path: Path) -> None:
    sound = tone(0.4, 16_000)
    media = read_media(encode(tmp_path / "clip.mp4", numbered(10), audio=sound))
    np.testing.assert_array_equal(media.frames, numbered(10))
    np.testing.assert_array_equal(media.audio, sound)
    assert (media.frames.dtype, media.audio.dtype, media.notes) == (np.uint8, np.int16, ())


def test_colour_order_is_rgb(tmp_path: Path) -> None:
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    frames[...] = [200, 100, 50]
    np.testing.assert_array_equal(read_media(encode(tmp_path / "clip.mp4", frames)).frames, frames)


def test_30_fps_is_retimed_to_the_nearest_frames_and_noted(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", numbered(90), rate=30, audio=tone(3, 16_000))
    media = read_media(path)
    expected = [min(range(90), key=lambda source: abs(source / 30 - k / 25)) for k in range(75)]
    assert numbers(media.frames) == expected
    assert media.source_frames is not None
    assert media.source_frames.tolist() == expected
    assert (media.source_count, media.source_rate) == (90, 30)
    assert [(one.kind, one.detail) for one in media.caveats] == [("retimed", "retimed 30 -> 25 fps: 90 -> 75 frames")]
    assert len(media.audio) == 48_000


def test_the_native_rate_can_be_kept(tmp_path: Path) -> None:
    media = read_media(encode(tmp_path / "clip.mp4", numbered(90), rate=30), fps=None)
    assert numbers(media.frames) == list(range(90))
    assert media.notes == ("no audio track",)


def test_a_gap_in_the_timestamps_is_filled(tmp_path: Path) -> None:
    times = [t / 25 for t in range(12) if t not in (4, 8)]
    media = read_media(encode(tmp_path / "clip.mp4", numbered(10), times=times))
    assert len(media.frames) == 12
    assert set(numbers(media.frames)) == set(range(10))
    assert [one.detail for one in media.caveats] == ["made constant 25 fps: 10 -> 12 frames"]


def test_a_late_video_repeats_its_first_frame_so_that_sound_stays_in_step(tmp_path: Path) -> None:
    times = [(t + 6) / 25 for t in range(10)]
    path = encode(tmp_path / "clip.mkv", numbered(10), times=times, audio=tone(0.64, 16_000))
    media = read_media(path)
    assert numbers(media.frames) == [0] * 6 + list(range(10))
    assert [one.detail for one in media.caveats] == ["video starts late: 6 of 16 frames filled with the first"]


def test_a_late_audio_track_is_filled_with_silence(tmp_path: Path) -> None:
    sound = tone(0.4, 16_000)
    media = read_media(encode(tmp_path / "clip.mkv", numbered(20), audio=sound, audio_start=0.24))
    np.testing.assert_array_equal(media.audio, np.concatenate([np.zeros(3_840, np.int16), sound]))
    assert media.notes == ("audio starts 240 ms late: filled with silence",)


def test_audio_is_cut_at_the_end_of_the_picture_but_never_lengthened(tmp_path: Path) -> None:
    long = read_media(encode(tmp_path / "long.mp4", numbered(10), audio=tone(1, 16_000)))
    short = read_media(encode(tmp_path / "short.mp4", numbered(10), audio=tone(0.1, 16_000)))
    assert (len(long.audio), len(short.audio)) == (6_400, 1_600)


def test_stereo_at_another_rate_is_mixed_and_resampled(tmp_path: Path) -> None:
    left, right = tone(1, 44_100, 440), tone(1, 44_100, 880)
    media = read_media(encode(tmp_path / "clip.mp4", numbered(25), audio=np.stack([left, right], 1), audio_rate=44_100))
    assert media.notes == ("44.1 kHz stereo -> 16 kHz mono",)
    assert 15_950 <= len(media.audio) <= 16_000
    expected = (tone(1, 16_000, 440).astype(float) + tone(1, 16_000, 880)) / 2
    inner = slice(200, 15_800)  # away from the filter's ends
    np.testing.assert_allclose(media.audio[inner], expected[inner], atol=8)


def test_a_clip_of_one_frame(tmp_path: Path) -> None:
    assert read_media(encode(tmp_path / "clip.mp4", numbered(1))).frames.shape == (1, 32, 48, 3)


@pytest.mark.parametrize("name", ["with space.mp4", "with:colon.mp4", "100%d.mp4", "ünïcode.mp4"])
def test_awkward_names(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / "clip.mp4", numbered(2)).rename(tmp_path / name)
    assert len(read_media(path).frames) == 2


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_other_containers(tmp_path: Path, suffix: str) -> None:
    assert numbers(read_media(encode(tmp_path / f"clip{suffix}", numbered(10))).frames) == list(range(10))


@pytest.mark.parametrize(
    ("codec", "coding"), [("mpeg4", {"bf": "0"}), ("mpeg4", {"bf": "2"}), ("libx264", {"crf": "23"})]
)
@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_reordered_frames_neither_move_nor_multiply(
    tmp_path: Path, codec: str, coding: dict[str, str], suffix: str
) -> None:
    media = read_media(encode(tmp_path / f"clip{suffix}", greys(10, 20, 10), clock=25, codec=codec, coding=coding))
    assert [round((frame.mean() - 10) / 20) for frame in media.frames] == list(range(10))
    assert media.notes == ("no audio track",)


def test_avi_with_b_frames_keeps_every_picture_in_its_slot(tmp_path: Path) -> None:
    """H.264 in AVI: there are no times for its pictures but the row of chunks, of which two are left empty here."""
    times = [t / 25 for t in (*range(6), *range(8, 30))]
    coding = {"x264-params": "bframes=3:b-adapt=0:scenecut=0"}
    path = encode(tmp_path / "clip.avi", greys(28, 8), times=times, clock=25, codec="libx264", coding=coding)
    with av.open(str(path)) as container:
        assert PictureType.B in {frame.pict_type for frame in container.decode(video=0)}
    media = read_media(path)
    shown = [round(float(frame.mean()) / 8) for frame in media.frames]
    assert len(shown) == 30
    assert shown == sorted(shown)
    assert set(shown) == set(range(len(times)))
    assert read_every_picture(path).source_count == len(times)


def test_a_browsers_clock_is_no_frame_rate(tmp_path: Path) -> None:
    """MediaRecorder: milliseconds, no rate in the header, which FFmpeg then takes for 1000 per second."""
    ticks = [0, 70, 140, 208, 270, 339, 401, 466, 535, 602, 667, 730, 801, 866, 935]
    times = [tick / 1000 for tick in ticks]
    path = encode(
        *(tmp_path / "clip.webm", numbered(15)), rate=1000, times=times, clock=1000, codec="libvpx", coding={"crf": "4"}
    )
    assert probe(path).fps == 1000
    media = read_media(path)
    assert numbers(media.frames) == fps_filter(path)
    assert media.source_rate is not None
    assert float(media.source_rate) == pytest.approx(14 / 0.935, rel=1e-3)
    assert len(read_media(path, fps=None).frames) == 15


def test_pictures_at_any_time_are_retimed_in_one_step(tmp_path: Path) -> None:
    """A screen recorder's: a picture when something moved. A constant rate in between would move it by a frame."""
    ticks = np.cumsum([0, *np.random.default_rng(4).choice([16, 17, 33, 50], 79)]).tolist()
    path = encode(tmp_path / "clip.mkv", numbered(80), rate=30, times=[tick / 1000 for tick in ticks], clock=1000)
    media = read_media(path)
    theirs = fps_filter(path)
    assert numbers(media.frames) == theirs[: len(media.frames)]
    assert len(theirs) - len(media.frames) in (-1, 0, 1)
    (caveat,) = media.caveats
    assert caveat.kind == "retimed"
    assert "variable" in caveat.detail
    assert media.source_frames is not None
    assert media.source_frames.tolist() == numbers(media.frames)


def fps_filter(path: Path) -> list[int]:
    """What ffmpeg's own filter `fps=25` makes of a file."""
    with av.open(str(path)) as container:
        return numbers(np.stack(filtered(container.decode(video=0), "fps=25")))


def test_every_picture_can_be_had_whatever_its_time(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mkv", numbered(12), rate=30, times=[0.5 + t * t / 90 for t in range(12)])
    media = read_every_picture(path)
    np.testing.assert_array_equal(media.frames, numbered(12))
    assert media.caveats == ()
    assert (media.source_count, media.source_rate) == (12, 30)
    assert media.source_frames is not None
    assert media.source_frames.tolist() == list(range(12))


def test_a_sound_whose_channels_change_is_heard_to_its_end(tmp_path: Path) -> None:
    """A recorder that switches to stereo in the middle of its track."""
    rate, half = 48_000, 24_000
    wave = tone(1, rate)
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264rgb", rate=25, options={"qp": "0"})
        video.width, video.height, video.pix_fmt = 48, 32, "rgb24"
        sound: Any = container.add_stream("mp2", rate=rate, layout="mono")
        for t, picture in enumerate(numbered(25)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = t, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for layout, samples, start in (("mono", wave[:half], 0), ("stereo", wave[half:], half)):
            coder: Any = av.CodecContext.create("mp2", "w")
            coder.sample_rate, coder.layout, coder.format = rate, layout, "s16"
            channels = 2 if layout == "stereo" else 1
            frame = av.AudioFrame.from_ndarray(np.repeat(samples, channels)[None], format="s16", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            for packet in [*coder.encode(frame), *coder.encode(None)]:
                packet.stream = sound
                container.mux(packet)
    media = read_media(path)
    assert "48 kHz mono, then 48 kHz stereo -> 16 kHz mono" in media.notes
    assert len(media.audio) == pytest.approx(16_000, abs=1_000)
    loudness = np.abs(media.audio[1_600:14_400].astype(float)).reshape(-1, 1_600).mean(axis=1)
    np.testing.assert_allclose(loudness, 8_000 * 2 / np.pi, rtol=0.1)


def test_probe_reads_the_header(tmp_path: Path) -> None:
    sound = np.stack([tone(3, 44_100)] * 2, 1)
    path = encode(tmp_path / "clip.mp4", numbered(90), rate=30, audio=sound, audio_rate=44_100)
    assert probe(path) == MediaFacts(48, 32, 30.0, 90, 3.0, 44_100, 2)
    silent = probe(encode(tmp_path / "silent.mp4", numbered(5)))
    assert (silent.sample_rate, silent.channels, silent.frames) == (0, 0, 5)


SHARED = Path(os.environ.get("SYNCDIFF_BENCH_SHARED", Path(__file__).parents[2].parent / "shared"))
GOLDEN = SHARED / "golden" / "e2e"
# The official frame dump (JPEG, constant rate) and OpenCV's decode ("direct") differ on these two only.
RETIMED = ("edge/vfr_drop7.mp4", "edge/video_start240ms_copy.mp4")


def golden() -> dict[str, Any]:
    files = [GOLDEN / "lse.json", GOLDEN / "lse_edge.json"] if GOLDEN.is_dir() else []
    return {name: facts for file in files for name, facts in json.loads(file.read_text()).items()}


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the shared clips are not here")
@pytest.mark.parametrize("name", golden())
def test_official_decodes_of_real_clips(name: str) -> None:
    """Frames as OpenCV decodes them, bit for bit; counts as the official ffmpeg 5.1.9 dump has them."""
    facts = golden()[name]
    direct, dump = facts["direct"].get("input", {}), facts["jpeg"].get("input", {})
    suffix = {"lrs3": ".mp4", "grid": ".mpg"}.get(name.split("/", maxsplit=1)[0], "")
    path = SHARED / "clips" / f"{name}{suffix}"
    if "n_frames" not in direct:
        with pytest.raises(ClipError):
            read_media(path)
        return
    media = read_media(path, fps=None)
    assert len(media.frames) == dump.get("n_frames", direct["n_frames"])
    if name not in RETIMED:
        bgr = np.ascontiguousarray(media.frames[..., ::-1])
        assert hashlib.sha256(bgr.tobytes()).hexdigest() == direct["frames_sha256"]
    if "n_samples" in dump:
        # The official wav keeps the codec's padding; SyncNet never looks beyond the picture.
        assert len(media.audio) == min(dump["n_samples"], 640 * len(media.frames))
        assert np.abs(media.audio[:8] - np.array(dump["wav_first8"])).max() <= 1
        if len(media.audio) == dump["n_samples"]:
            mean = np.abs(media.audio.astype(float)).mean()
            assert mean == pytest.approx(dump["wav_abs_mean"], rel=1e-5, abs=1e-4)


class TestBadFiles:
    def kind(self, path: Path) -> str:
        with pytest.raises(ClipError) as caught:
            read_media(path)
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message
        assert ";" in message, "what is wrong; then the mend"
        return caught.value.kind

    def test_no_file(self, tmp_path: Path) -> None:
        assert self.kind(tmp_path / "nowhere.mp4") == self.kind(tmp_path) == "missing"

    @pytest.mark.parametrize(("content", "kind"), [(b"", "empty"), (b"these are no pictures" * 50, "undecodable")])
    def test_no_video(self, tmp_path: Path, content: bytes, kind: str) -> None:
        (tmp_path / "clip.mp4").write_bytes(content)
        assert self.kind(tmp_path / "clip.mp4") == kind

    def test_cut_before_the_index(self, tmp_path: Path) -> None:
        path = encode(tmp_path / "clip.mp4", numbered(50))
        path.write_bytes(path.read_bytes()[:2_000])
        assert self.kind(path) == "truncated"

    def test_sound_only(self, tmp_path: Path) -> None:
        assert self.kind(encode(tmp_path / "clip.mp4", None, audio=tone(1, 16_000))) == "no-video"

    @pytest.mark.parametrize("timescale", [1, 10_000_000])
    def test_an_absurd_timescale(self, tmp_path: Path, timescale: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """One damaged field of the header, and the pictures would fill hours or nothing."""
        path = encode(tmp_path / "clip.mp4", numbered(20))
        data = bytearray(path.read_bytes())
        at = data.index(b"mdhd") + 4 + 12
        data[at : at + 4] = timescale.to_bytes(4, "big")
        path.write_bytes(data)

        def arrays(*_given: Any) -> None:
            raise AssertionError("memory is spent")

        monkeypatch.setattr("syncdiff_bench.media.reading.arrays", arrays)
        assert self.kind(path) == "timestamps"

    def test_a_format_that_the_header_does_not_name(self, tmp_path: Path) -> None:
        path = encode(tmp_path / "clip.mp4", numbered(10))
        path.write_bytes(path.read_bytes().replace(b"avc1", b"a6c1"))
        assert self.kind(path) == "undecodable"
        with pytest.raises(ClipError, match="no video format"):
            probe(path)

    def test_a_broken_clock(self, tmp_path: Path) -> None:
        path = encode(tmp_path / "clip.mkv", numbered(3), times=[0, 0.04, 36_000])
        assert self.kind(path) == "timestamps"

    def test_too_long_for_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("syncdiff_bench.media.reading.memory_limit", lambda: 10_000)
        assert self.kind(encode(tmp_path / "clip.mp4", numbered(10))) == "too-long"
