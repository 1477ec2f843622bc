"""The in-memory JPEG stage against swscale, libjpeg and, where it is installed, the ffmpeg program itself."""

from __future__ import annotations

import shutil
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from syncdiff_bench.contracts import Media, Planes
from syncdiff_bench.errors import ClipError, NotApplicable
from syncdiff_bench.media.reading import read_media
from syncdiff_metrics.jpeg_stage import (
    decode_jpeg,
    dumped,
    encode_mjpeg,
    full_range,
    mjpeg_round_trip,
    program_version,
    restore_swscale_loss,
    studio_420,
)

SIDE, LENGTH = 96, 20


def studio_planes(index: int) -> np.ndarray:
    """(3 / 2 SIDE, SIDE) uint8 yuv420p: moving waves under grain, colours that RGB can hold."""
    y, x = np.mgrid[:SIDE, :SIDE]
    grain = np.random.RandomState(index).uniform(-25, 25, (SIDE, SIDE))
    luma = 125 + 50 * np.sin(0.21 * x + 0.13 * y + 0.5 * index) + grain
    half_y, half_x = np.mgrid[: SIDE // 2, : SIDE // 2]
    chroma = [128 + 22 * np.sin(0.2 * half_x + c + 0.3 * index) * np.cos(0.1 * half_y) for c in range(2)]
    return np.concatenate([luma.ravel(), *(c.ravel() for c in chroma)]).round().astype(np.uint8).reshape(-1, SIDE)


def video_frames() -> list[av.VideoFrame]:
    return [av.VideoFrame.from_ndarray(studio_planes(index), format="yuv420p") for index in range(LENGTH)]


def decoded_rgb() -> np.ndarray:
    return np.stack([frame.to_ndarray(format="rgb24") for frame in video_frames()])


def in_memory(frames: np.ndarray, planes: Planes | None = None) -> Media:
    return Media(frames, np.zeros(0, np.int16), planes=planes)


def jpegs(media: Media) -> list[bytes]:
    return list(encode_mjpeg(full_range(media)))


def test_planes_of_the_file_come_back_from_decoded_rgb():
    studio = studio_planes(3)
    luma = studio[:SIDE].astype(int)
    blue = studio[SIDE : SIDE * 5 // 4].reshape(SIDE // 2, SIDE // 2).astype(int)
    got_luma, got_blue, _ = studio_420(restore_swscale_loss(decoded_rgb()[3]))
    luma_error, blue_error = got_luma - luma, got_blue - blue
    assert abs(luma_error.mean()) < 0.15
    assert np.abs(luma_error).max() <= 1
    assert np.mean(luma_error != 0) < 0.35  # without the restored loss every second pixel is off, by -1.1 on average
    assert np.mean(blue_error != 0) < 0.1


def test_planes_from_rgb_are_those_of_jfif_within_a_studio_step():
    rgb = np.random.default_rng(0).integers(30, 220, (1, 40, 50, 3)).astype(np.uint8)
    darker = (rgb - np.array([1, 1, 1])).astype(np.uint8)  # as swscale would have decoded it, but for half a level
    expected = np.asarray(Image.fromarray(rgb[0]).convert("YCbCr")).astype(float)
    luma, blue, red, subsampling = next(full_range(in_memory(darker)))
    assert subsampling == "420"
    assert np.abs(luma - expected[..., 0]).max() <= 2
    for plane, channel in ((blue, 1), (red, 2)):
        mean = expected[..., channel].reshape(20, 2, 25, 2).mean(axis=(1, 3))
        assert np.abs(plane - mean).max() <= 2


@pytest.mark.parametrize("full", [False, True])
def test_planes_of_a_clip_are_used_as_they_are_or_stretched_from_studio_range(full: bool):
    values = np.array([[0, 16, 17], [126, 128, 235], [240, 254, 255]], np.uint8)
    planes = Planes(values[None], values[None], values[None], "444", full_range=full)
    luma, blue, red, subsampling = next(full_range(in_memory(np.zeros((1, 3, 3, 3), np.uint8), planes)))
    assert subsampling == "444"
    wide = values.astype(float)
    expected_luma = wide if full else np.clip((wide - 16) * 255 / 219, 0, 255)
    expected_chroma = wide if full else np.clip((wide - 128) * 255 / 224 + 128, 0, 255)
    assert np.abs(luma - expected_luma).max() <= 0.5 + 1e-9
    for plane in (blue, red):
        assert np.abs(plane - expected_chroma).max() <= (0 if full else 1)


def test_odd_sides_are_kept():
    frames = np.random.default_rng(0).integers(0, 256, (2, 35, 37, 3)).astype(np.uint8)
    assert [picture.shape for picture in mjpeg_round_trip(in_memory(frames))] == [(35, 37, 3)] * 2


def test_colours_come_back_as_bgr():
    red = np.zeros((2, 32, 32, 3), np.uint8)
    red[..., 0] = 200
    last = list(mjpeg_round_trip(in_memory(red)))[-1].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(last, [0, 0, 200], atol=6)


def test_the_rate_control_starves_later_frames():
    frames = decoded_rgb()
    errors = [
        np.abs(a[..., ::-1].astype(int) - b).mean()
        for a, b in zip(mjpeg_round_trip(in_memory(frames)), frames, strict=True)
    ]
    assert errors[-1] > 1.8 * errors[0]
    tables = [Image.open(BytesIO(data)).quantization[0] for data in jpegs(in_memory(frames))]
    assert tables[0][1] < tables[-1][1]


def write_clip(
    path: Path,
    *,
    sound: bool = True,
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    pixel_aspect: Fraction | None = Fraction(1),
) -> Path:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"qp": "0"})
        video.width, video.height = SIDE, SIDE - 16 if rotation else SIDE
        video.pix_fmt = pix_fmt
        if pixel_aspect is not None:
            video.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            video.set_display_rotation(rotation)
        audio = container.add_stream("flac", rate=16_000, layout="mono") if sound else None
        for index, given in enumerate(video_frames()):
            frame = given.reformat(video.width, video.height, pix_fmt)
            frame.pts = index
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            tone = (8000 * np.sin(np.arange(640 * LENGTH) * 0.05)).astype(np.int16)
            samples = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
            samples.sample_rate, samples.pts = 16_000, 0
            container.mux(audio.encode(samples))
            container.mux(audio.encode(None))
    return path


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg program here")


def program_jpegs(video: Path) -> list[bytes]:
    with dumped(video, "ffmpeg") as (jpegs, audio):
        assert len(audio) == 640 * LENGTH
        assert audio.dtype == np.int16
        return [file.read_bytes() for file in jpegs]


needs_reference = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or not program_version("ffmpeg").startswith("ffmpeg version 5.1"),
    reason="no ffmpeg 5.1 here",
)


@needs_reference
@pytest.mark.parametrize(
    ("pix_fmt", "rotation"),
    [("yuv420p", 0), ("yuv422p", 0), ("yuv444p", 0), ("yuvj420p", 0), ("yuv420p", 90), ("yuv420p", 180)],
)
@pytest.mark.parametrize("pixel_aspect", [None, Fraction(1)])
def test_pictures_of_a_file_are_those_of_ffmpeg_5_pixel_for_pixel(
    tmp_path: Path, pix_fmt: str, rotation: int, pixel_aspect: Fraction | None
):
    path = write_clip(tmp_path / "clip.mp4", pix_fmt=pix_fmt, rotation=rotation, pixel_aspect=pixel_aspect)
    ours, theirs = list(mjpeg_round_trip(read_media(path))), [decode_jpeg(data) for data in program_jpegs(path)]
    np.testing.assert_array_equal(ours, theirs)


@needs_ffmpeg
def test_jpegs_of_rgb_are_nearly_those_of_the_ffmpeg_program(tmp_path: Path):
    theirs = program_jpegs(write_clip(tmp_path / "clip with 100%d.mp4"))
    ours = jpegs(in_memory(decoded_rgb()))
    assert len(ours) == len(theirs) == LENGTH
    for a, b in zip(ours, theirs, strict=True):
        assert len(a) == pytest.approx(len(b), rel=0.05)  # a quantiser one step away changes it by more
    difference = np.stack([*map(decode_jpeg, ours)]).astype(int) - np.stack([*map(decode_jpeg, theirs)])
    assert abs(difference.mean()) < 0.5
    assert np.abs(difference).mean() < 2


@needs_ffmpeg
def test_a_dump_leaves_nothing_behind(tmp_path: Path):
    with dumped(write_clip(tmp_path / "clip.mp4"), "ffmpeg") as (jpegs, _):
        folder = jpegs[0].parent
    assert not folder.exists()
    assert program_version("ffmpeg").startswith("ffmpeg version ")


@needs_ffmpeg
def test_what_ffmpeg_cannot_dump_is_told_by_kind(tmp_path: Path):
    silent = write_clip(tmp_path / "silent.mp4", sound=False)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    words = tmp_path / "words.mp4"
    words.write_text("not a video")
    for file, kind in (
        (silent, "no-audio"),
        (empty, "empty"),
        (words, "undecodable"),
        (tmp_path / "gone.mp4", "missing"),
    ):
        with pytest.raises(ClipError, match=file.name) as caught, dumped(file, "ffmpeg"):
            pass
        assert caught.value.kind == kind


def test_a_missing_program_is_not_a_failure_of_the_clip(tmp_path: Path):
    with pytest.raises(NotApplicable, match="'no-such-ffmpeg' does not start"):
        program_version("no-such-ffmpeg")


def test_decoding_equals_opencv():
    cv2 = pytest.importorskip("cv2")
    for data in jpegs(in_memory(decoded_rgb()[:3])):
        np.testing.assert_array_equal(decode_jpeg(data), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
