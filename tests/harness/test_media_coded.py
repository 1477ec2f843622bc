"""The planes of a file beside its RGB frames, from files made here with PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from syncdiff_bench.media.reading import read_media

HEIGHT, WIDTH = 32, 48


def picture(index: int, pix_fmt: str) -> Any:
    """Noise in the planes of a format; more than 8 bits come from an 8-bit picture."""
    eight_bit = pix_fmt.replace("10le", "")
    frame = av.VideoFrame(WIDTH, HEIGHT, eight_bit)
    for number, plane in enumerate(frame.planes):
        values = np.random.default_rng([index, number]).integers(16, 236, (plane.height, plane.width))
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width] = values
    return frame if eight_bit == pix_fmt else frame.reformat(format=pix_fmt)


def write(
    path: Path,
    pix_fmt: str,
    *,
    times: tuple[int, ...] = (0, 1, 2),
    rotation: int = 0,
    pixel_aspect: Fraction | None = None,
    full_range: bool = False,
) -> Path:
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=25, options={"qp": "0", "bf": "0"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, pix_fmt
        if pixel_aspect is not None:
            video.codec_context.sample_aspect_ratio = pixel_aspect
        if full_range:
            video.codec_context.color_range = 2
        if rotation:
            video.set_display_rotation(rotation)
        for index, time in enumerate(times):
            frame = picture(index, pix_fmt)
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def written(index: int, pix_fmt: str) -> list[np.ndarray]:
    planes = picture(index, pix_fmt).planes
    return [np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in planes]


@pytest.mark.parametrize(("pix_fmt", "chroma"), [("yuv420p", (16, 24)), ("yuv422p", (32, 24)), ("yuv444p", (32, 48))])
def test_planes_are_those_of_the_file(tmp_path: Path, pix_fmt: str, chroma: tuple[int, int]) -> None:
    media = read_media(write(tmp_path / "clip.mp4", pix_fmt))
    planes = media.planes
    assert planes is not None
    assert (planes.subsampling, planes.full_range, planes.pixel_aspect) == (pix_fmt[3:6], False, None)
    assert planes.luma.shape == media.frames.shape[:3]
    assert planes.blue.shape == planes.red.shape == (3, *chroma)
    for index in range(3):
        found = (planes.luma[index], planes.blue[index], planes.red[index])
        for plane, expected in zip(found, written(index, pix_fmt), strict=True):
            np.testing.assert_array_equal(plane, expected)


def test_planes_are_repeated_and_dropped_as_the_frames_are(tmp_path: Path) -> None:
    media = read_media(write(tmp_path / "clip.mp4", "yuv420p", times=(0, 1, 4)))
    assert media.planes is not None
    shown = [next(i for i in range(3) if np.array_equal(written(i, "yuv420p")[0], luma)) for luma in media.planes.luma]
    for frame, index in zip(media.frames, shown, strict=True):
        np.testing.assert_array_equal(frame, media.frames[shown.index(index)])
    assert set(shown) == {0, 1, 2}
    assert len(shown) > 3


def test_planes_turn_with_the_frames(tmp_path: Path) -> None:
    media = read_media(write(tmp_path / "clip.mp4", "yuv420p", rotation=90))
    assert media.planes is not None
    assert media.planes.luma.shape == media.frames.shape[:3] == (3, WIDTH, HEIGHT)
    np.testing.assert_array_equal(media.planes.luma[1], np.rot90(written(1, "yuv420p")[0]))
    np.testing.assert_array_equal(media.planes.red[1], np.rot90(written(1, "yuv420p")[2]))


def test_what_the_header_says_of_range_and_pixels_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", "yuv420p", pixel_aspect=Fraction(16, 15), full_range=True)
    planes = read_media(path).planes
    assert planes is not None
    assert planes.full_range
    assert planes.pixel_aspect == Fraction(16, 15)


@pytest.mark.parametrize(("pix_fmt", "rotation"), [("yuv420p10le", 0), ("yuv422p", 90), ("gray10le", 0)])
def test_other_pictures_have_no_planes_but_frames(tmp_path: Path, pix_fmt: str, rotation: int) -> None:
    media = read_media(write(tmp_path / "clip.mp4", pix_fmt, rotation=rotation))
    assert media.planes is None
    assert len(media.frames) == 3
