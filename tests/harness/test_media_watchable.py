"""Videos for people: what players need of them, that sound and picture meet, that a file is whole or absent."""

from __future__ import annotations

import struct
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.media.sound import heard, heard_by_methods
from syncdiff_bench.media.watchable import Samples, SoundOf, watchable

NTSC, FILM = Fraction(30000, 1001), Fraction(24000, 1001)


def pictures(n: int, height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """Smooth colours that move."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    for t in range(n):
        red, green = 128 + 90 * np.sin((x + 3 * t) / 40), 128 + 90 * np.cos(y / 30)
        yield np.stack([red, green, np.full_like(x, 60)], axis=-1).astype(np.uint8)


def write_wav(path: Path, samples: NDArray[np.int16], rate: int) -> Path:
    """samples: (N, channels)."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def click(seconds: float, at: float, rate: int, channels: int = 1) -> NDArray[np.int16]:
    samples = np.zeros((round(seconds * rate), channels), np.int16)
    samples[round(at * rate) : round((at + 0.004) * rate)] = 30_000
    return samples


def shown(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    """Time and RGB of each frame, by PyAV alone."""
    with av.open(str(path)) as container:
        return [
            (float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24"))
            for frame in container.decode(video=0)
        ]


def first_loud(path: Path) -> float:
    """Seconds at which the first loud sample sounds, by PyAV alone."""
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()).max(axis=0) > 0.3)
            if len(loud):
                return float(frame.pts * frame.time_base) + int(loud[0]) / frame.sample_rate
    raise AssertionError("silent")


def top_boxes(path: Path) -> list[bytes]:
    data, at, names = path.read_bytes(), 0, []
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        names.append(name)
        at += size
    return names


def test_it_is_what_players_want(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.mp4"
    tone = (8000 * np.sin(np.arange(44_100) / 9)).astype(np.int16)
    with watchable(out, 96, 64, NTSC, Samples(np.stack([tone, -tone], axis=1), 44_100)) as video:
        for frame in pictures(30, 64, 96):
            video.write(frame)
    names = top_boxes(out)
    assert names.index(b"moov") < names.index(b"mdat")
    with av.open(str(out)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        coded = picture.codec_context
        assert (coded.name, coded.pix_fmt, coded.width, coded.height) == ("h264", "yuv420p", 96, 64)
        assert (coded.colorspace, coded.color_range) == (1, 1)
        assert (picture.average_rate, picture.frames) == (NTSC, 30)
        assert (sound.codec_context.name, sound.rate, sound.layout.name) == ("aac", 44_100, "stereo")
    errors = [np.abs(a.astype(int) - b).mean() for a, (_, b) in zip(pictures(30, 64, 96), shown(out), strict=True)]
    assert max(errors) < 2


def test_both_tracks_lie_side_by_side(tmp_path: Path) -> None:
    """A player that streams would else wait for the end of the file. FFmpeg by itself looks 10 seconds ahead."""
    with watchable(tmp_path / "out.mp4", 32, 32, 25, Samples(click(30, 15, 16_000), 16_000)) as video:
        for frame in pictures(30 * 25, 32, 32):
            video.write(frame)
    with av.open(str(tmp_path / "out.mp4")) as container:
        found = sorted((packet.pos, packet.stream.type) for packet in container.demux() if packet.size)
    packets = np.array([kind for _, kind in found])
    places = {kind: np.median(np.flatnonzero(packets == kind)) for kind in ("audio", "video")}
    assert abs(places["audio"] - places["video"]) < len(packets) / 20


def test_an_odd_side_is_a_pixel_longer(tmp_path: Path) -> None:
    with watchable(tmp_path / "odd.mp4", 97, 63, 25) as video:
        assert (video.width, video.height) == (98, 64)
        for frame in pictures(5, 63, 97):
            video.write(frame)
    (_, last), original = shown(tmp_path / "odd.mp4")[-1], list(pictures(5, 63, 97))[-1]
    assert last.shape == (64, 98, 3)
    assert np.abs(last[:63, :97].astype(int) - original).mean() < 2
    assert np.abs(last[63].astype(int) - last[62]).mean() < 3


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30), NTSC, Fraction(24), FILM, Fraction(60)])
@pytest.mark.parametrize("kind", ["samples", "file", "cut out of a file"])
def test_flash_and_click_come_together(tmp_path: Path, rate: Fraction, kind: str) -> None:
    flash, start = 40, 1.25
    at = float(flash / rate)
    sound: Any = Samples(click(4, at, 48_000), 48_000)
    if kind == "file":
        sound = SoundOf(write_wav(tmp_path / "a.wav", click(4, at, 48_000), 48_000))
    elif kind != "samples":
        sound = SoundOf(write_wav(tmp_path / "a.wav", click(6, start + at, 44_100, 2), 44_100), start, 4.0)
    with watchable(tmp_path / "out.mp4", 64, 48, rate, sound) as video:
        for index in range(round(4 * rate)):
            video.write(np.full((48, 64, 3), 255 if index == flash else 0, np.uint8))
    bright = [time for time, frame in shown(tmp_path / "out.mp4") if frame.mean() > 128]
    assert bright == pytest.approx([at], abs=1e-3)
    assert first_loud(tmp_path / "out.mp4") == pytest.approx(at, abs=3e-3)


@pytest.mark.parametrize(
    ("rate", "channels", "kept_rate", "layout"),
    [
        (16_000, 1, 16_000, "mono"),
        (22_050, 2, 22_050, "stereo"),
        (37_800, 1, 44_100, "mono"),
        (192_000, 2, 96_000, "stereo"),
        (48_000, 6, 48_000, "5.1"),
        (48_000, 8, 48_000, "stereo"),
    ],
)
def test_the_sound_stays_as_it_was_recorded(
    tmp_path: Path, rate: int, channels: int, kept_rate: int, layout: str
) -> None:
    sound = SoundOf(write_wav(tmp_path / "a.wav", click(1, 0.5, rate, channels), rate), 0.25, 0.5)
    with watchable(tmp_path / "out.mp4", 32, 32, 25, sound) as video:
        for frame in pictures(25, 32, 32):
            video.write(frame)
    with av.open(str(tmp_path / "out.mp4")) as container:
        track = container.streams.audio[0]
        assert (track.rate, track.layout.name) == (kept_rate, layout)
        assert float(track.duration * track.time_base) == pytest.approx(0.5, abs=1024 / kept_rate)
    assert first_loud(tmp_path / "out.mp4") == pytest.approx(0.25, abs=5e-3)


def test_a_track_that_starts_late_is_silent_first(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "late.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        picture = container.add_stream("mpeg4", rate=25)
        picture.width = picture.height = 32
        for index in range(25):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts = index
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        late = av.AudioFrame.from_ndarray(np.full((1, 4800), 9000, np.int16), "s16", "mono")
        late.sample_rate, late.pts = 48_000, 24_000
        container.mux(stream.encode(late))
        container.mux(stream.encode(None))
    audio = heard_by_methods(tmp_path / "late.mkv")
    assert abs(int(np.flatnonzero(np.abs(audio) > 4000)[0]) - 8000) < 16
    both = np.concatenate(list(heard(tmp_path / "late.mkv", 48_000, "stereo", "fltp")), axis=1)
    assert both.shape[0] == 2
    assert abs(int(np.flatnonzero(np.abs(both[1]) > 0.1)[0]) - 24_000) < 48


def test_what_fails_leaves_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="mine"), watchable(out, 32, 32, 25) as video:
        video.write(np.zeros((32, 32, 3), np.uint8))
        raise RuntimeError("mine")
    with pytest.raises(FileNotFoundError), watchable(out, 32, 32, 25) as video:
        raise FileNotFoundError("of the caller, and nothing of this file")
    with pytest.raises(ClipError, match="no frame"), watchable(out, 32, 32, 25):
        pass
    with pytest.raises(ClipError, match=r"frame 0 is \(31, 32, 3\)"), watchable(out, 32, 32, 25) as video:
        video.write(np.zeros((31, 32, 3), np.uint8))
    assert (out.read_bytes(), [path.name for path in tmp_path.iterdir()]) == (b"old", ["out.mp4"])


def test_errors_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written"), watchable(tmp_path / "file" / "out.mp4", 32, 32, 25):
        pass
    with watchable(tmp_path / "mute.mp4", 32, 32, 25) as video:
        video.write(np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(ClipError, match="has no sound"):
        heard_by_methods(tmp_path / "mute.mp4")
    with (
        pytest.raises(ClipError, match=r"mute\.mp4: has no sound"),
        watchable(tmp_path / "out.mp4", 32, 32, 25, SoundOf(tmp_path / "mute.mp4")),
    ):
        pass
    with (
        pytest.raises(UsageError, match="2 channels at 5 Hz"),
        watchable(tmp_path / "out.mp4", 32, 32, 25, Samples(np.zeros((10, 2), np.int16), 5)),
    ):
        pass
    assert not (tmp_path / "out.mp4").exists()
