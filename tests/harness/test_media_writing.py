"""Encoding: what comes back, that it is repeatable, and that a file is whole or absent."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_bench.contracts import Media
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.media.reading import probe, read_media
from syncdiff_bench.media.writing import ENCODINGS, through_divx, write_video
from syncdiff_bench.weights.digests import sha256_of


def noise(n: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, height, width, 3), np.uint8)


def textured(n: int, height: int, width: int) -> NDArray[np.uint8]:
    """A moving wave with grain, which a codec has to throw away."""
    y, x, t = np.meshgrid(np.arange(height), np.arange(width), np.arange(n), indexing="ij")
    wave = (128 + 80 * np.sin(x / 9 + t / 4) * np.cos(y / 11)).transpose(2, 0, 1)[..., None]
    grain = np.random.default_rng(0).normal(0, 6, (n, height, width, 3))
    return np.clip(wave + grain, 0, 255).astype(np.uint8)


def sound(n_samples: int) -> NDArray[np.int16]:
    return np.random.default_rng(1).integers(-32_768, 32_768, n_samples).astype(np.int16)


@pytest.mark.parametrize(
    ("n", "height", "width", "n_samples"),
    [
        (10, 160, 160, 6_400),
        (7, 43, 57, 4_480),  # both sides odd
        (7, 44, 57, 4_479),
        (25, 32, 32, 5_001),  # audio shorter than the picture
        (5, 32, 32, 0),  # no audio
        (1, 33, 31, 640),  # a single frame
        (1, 32, 32, 17),
    ],
)
def test_lossless_comes_back_bit_for_bit(tmp_path: Path, n: int, height: int, width: int, n_samples: int) -> None:
    media = Media(noise(n, height, width), sound(n_samples))
    write_video(tmp_path / "clip.mp4", media)
    back = read_media(tmp_path / "clip.mp4")
    np.testing.assert_array_equal(back.frames, media.frames)
    np.testing.assert_array_equal(back.audio, media.audio)
    assert back.notes == (() if n_samples else ("no audio track",))


def test_lossless_frames_need_no_timing_to_be_read(tmp_path: Path) -> None:
    media = Media(noise(6, 32, 48), sound(100))
    write_video(tmp_path / "clip.mp4", media)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        plain = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    np.testing.assert_array_equal(np.stack(plain), media.frames)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (57, 43), (56, 43)])
def test_crf23_is_h264_with_aac_and_close_to_the_picture(tmp_path: Path, height: int, width: int) -> None:
    media = Media(textured(25, height, width), (3_000 * np.sin(np.arange(16_000) / 8)).astype(np.int16))
    path = tmp_path / "clip.mp4"
    write_video(path, media, encoding="crf23")
    back = read_media(path)
    error = back.frames.astype(float) - media.frames
    assert back.frames.shape == media.frames.shape
    assert 25 < 10 * np.log10(255**2 / np.mean(error**2)) < 60
    assert len(back.audio) == 16_000
    assert np.corrcoef(back.audio, media.audio)[0, 1] > 0.99
    with av.open(str(path)) as container:
        codecs = [stream.codec_context.name for stream in container.streams]
        pix_fmt = container.streams.video[0].codec_context.pix_fmt
    assert codecs == ["h264", "aac"]
    assert pix_fmt == ("yuv420p" if height % 2 == width % 2 == 0 else "yuv444p")
    assert (probe(path).fps, probe(path).frames, probe(path).sample_rate) == (25.0, 25, 16_000)


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_the_same_media_gives_the_same_bytes(tmp_path: Path, encoding: str) -> None:
    media = Media(textured(30, 96, 96), sound(19_200))
    written = set()
    for attempt in range(4):
        path = tmp_path / f"{attempt}.mp4"
        write_video(path, media, encoding=encoding)
        written.add(path.read_bytes())
    assert len(written) == 1


def test_folders_are_made_and_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "clip.mp4"
    write_video(path, Media(noise(1, 16, 16), sound(0)))
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, Media(noise(1, 16, 16), sound(0)))
    before = sha256_of(path)

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("syncdiff_bench.media.writing._audio_frame", disk_full)
    with pytest.raises(UsageError, match="No space left"):
        write_video(path, Media(noise(2, 16, 16), sound(640)))
    assert sha256_of(path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_place_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        write_video(tmp_path / "file" / "clip.mp4", Media(noise(1, 16, 16), sound(0)))


def test_an_unknown_encoding_is_told_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lossless, crf23"):
        write_video(tmp_path / "clip.mp4", Media(noise(1, 16, 16), sound(0)), encoding="best")


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((0, 16, 16, 3), np.uint8),
        np.zeros((2, 16, 16), np.uint8),
        np.zeros((2, 16, 16, 4), np.uint8),
        np.zeros((2, 16, 16, 3), np.float32),
    ],
)
def test_frames_of_another_kind_are_refused(tmp_path: Path, frames: NDArray[np.uint8]) -> None:
    with pytest.raises(ClipError, match="expected"):
        write_video(tmp_path / "clip.mp4", Media(frames, sound(0)))
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------ talklip: MPEG-4, then H.264


def error(frames: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    return float(np.square(frames.astype(float) - truth).mean())


def written(path: Path, media: Media, encoding: str) -> NDArray[np.uint8]:
    write_video(path, media, encoding=encoding)
    return read_media(path).frames


@pytest.mark.parametrize(("height", "width"), [(96, 128), (95, 127)])
@pytest.mark.parametrize("n", [1, 30])
def test_every_frame_comes_back_in_its_place(tmp_path: Path, n: int, height: int, width: int) -> None:
    media = Media(textured(n, height, width), np.zeros(640 * n, np.int16))
    frames = written(tmp_path / "a.mp4", media, "talklip")
    assert frames.shape == media.frames.shape
    if n > 1:
        errors = [[error(ours, truth) for truth in media.frames] for ours in frames[:12]]
        assert np.argmin(errors, axis=1).tolist() == list(range(12))


def test_it_loses_more_than_crf23_alone_and_always_the_same(tmp_path: Path) -> None:
    media = Media(textured(30, 96, 96), np.zeros(640, np.int16))
    once = written(tmp_path / "a.mp4", media, "talklip")
    assert error(once, media.frames) > error(written(tmp_path / "b.mp4", media, "crf23"), media.frames) > 1
    written(tmp_path / "c.mp4", media, "talklip")
    assert sha256_of(tmp_path / "a.mp4") == sha256_of(tmp_path / "c.mp4")


def test_the_second_encoder_chooses_its_own_key_frames(tmp_path: Path) -> None:
    """MPEG-4 has one every 12 frames; H.264 at its defaults needs none in so short a clip but the first."""
    frames = textured(30, 96, 96)
    write_video(tmp_path / "a.mp4", Media(frames, np.zeros(0, np.int16)), encoding="talklip")
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [index for index, packet in enumerate(container.demux(video=0)) if packet.size and packet.is_keyframe]
    assert keys == [0]


def test_it_is_what_opencv_writes(tmp_path: Path) -> None:
    """As many bytes per frame, and the same pictures but for OpenCV's rounding."""
    cv2 = pytest.importorskip("cv2")
    frames = textured(26, 96, 128)
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"DIVX"), 25, (128, 96))
    if not writer.isOpened():
        pytest.skip("this OpenCV has no MPEG-4 encoder")
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    with av.open(str(tmp_path / "a.avi")) as container:
        theirs = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    ours = [frame.to_ndarray(format="rgb24") for frame in through_divx(frames)]
    assert len(ours) == len(theirs) == 26
    ours_error, theirs_error = error(np.stack(ours), frames), error(np.stack(theirs), frames)
    assert ours_error == pytest.approx(theirs_error, rel=0.2)
    assert error(np.stack(ours), np.stack(theirs)) < ours_error
