"""Frames as they are shown and planes as the file codes them, from files made here, against ffmpeg's own filters."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from encoded import filtered
from numpy.typing import NDArray

from syncdiff_bench.contracts import Clip
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.fitting import read_fitted
from syncdiff_bench.media.reading import read_media

HEIGHT, WIDTH = 32, 48


def picture(index: int, pix_fmt: str) -> Any:
    """Noise in the planes of a format; more than 8 bits come from an 8-bit picture."""
    if pix_fmt == "rgb24":
        return av.VideoFrame.from_ndarray(noise(), format="rgb24")
    eight_bit = pix_fmt.replace("10le", "")
    frame = av.VideoFrame(WIDTH, HEIGHT, eight_bit)
    for number, plane in enumerate(frame.planes):
        values = np.random.default_rng([index, number]).integers(16, 236, (plane.height, plane.width))
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width] = values
    return frame if eight_bit == pix_fmt else frame.reformat(format=pix_fmt)


def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def write(
    path: Path,
    pix_fmt: str = "rgb24",
    matrix: tuple[int, int, int, int] | None = None,
    *,
    times: tuple[int, ...] = (0, 1, 2),
    pixel_aspect: Fraction | None = None,
    full_range: bool = False,
) -> Path:
    """matrix: a, b, c, d of the display matrix (ISO 14496-12)."""
    with av.open(str(path), "w") as container:
        codec = "libx264rgb" if pix_fmt == "rgb24" else "libx264"
        video: Any = container.add_stream(codec, rate=25, options={"qp": "0", "bf": "0"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, pix_fmt
        if pixel_aspect is not None:
            video.codec_context.sample_aspect_ratio = pixel_aspect
        if full_range:
            video.codec_context.color_range = 2
        for index, time in enumerate(times):
            frame = picture(index, pix_fmt)
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    if matrix is not None:
        data = bytearray(path.read_bytes())
        at = data.index(b"tkhd") + 4 + 40  # of a `tkhd` box of version 0
        a, b, c, d = matrix
        data[at : at + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], dtype=">i4").tobytes()
        path.write_bytes(data)
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


def test_what_the_header_says_of_range_and_pixels_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.mp4", "yuv420p", pixel_aspect=Fraction(16, 15), full_range=True)
    planes = read_media(path).planes
    assert planes is not None
    assert planes.full_range
    assert planes.pixel_aspect == Fraction(16, 15)


@pytest.mark.parametrize(("pix_fmt", "turned"), [("yuv420p10le", False), ("yuv422p", True), ("gray10le", False)])
def test_other_pictures_have_no_planes_but_frames(tmp_path: Path, pix_fmt: str, turned: bool) -> None:
    media = read_media(write(tmp_path / "clip.mp4", pix_fmt, (0, -ONE, ONE, 0) if turned else None))
    assert media.planes is None
    assert len(media.frames) == 3


# ----------------------------------------------------------------------------------------------------- display matrices


ONE = 1 << 16
# a, b, c, d of the matrix (ISO 14496-12), what ffmpeg 5.1's autorotation inserts for it, and what we say
MATRICES = {
    (ONE, 0, 0, ONE): ((), ()),
    (-ONE, 0, 0, ONE): (("hflip",), ("mirrored left to right",)),
    (ONE, 0, 0, -ONE): (("vflip",), ("mirrored top to bottom",)),
    (-ONE, 0, 0, -ONE): (("hflip", "vflip"), ("rotated by 180 degrees",)),
    (0, ONE, -ONE, 0): (("transpose=clock",), ("rotated by 270 degrees",)),
    (0, -ONE, ONE, 0): (("transpose=cclock",), ("rotated by 90 degrees",)),
    (0, ONE, ONE, 0): (("transpose=cclock_flip",), ("mirrored along the diagonal",)),
    (0, -ONE, -ONE, 0): (("transpose=clock_flip",), ("mirrored along the other diagonal",)),
}


def turned(picture: NDArray[np.uint8], filters: tuple[str, ...]) -> NDArray[np.uint8]:
    return filtered([av.VideoFrame.from_ndarray(picture, format="rgb24")], *filters)[0]


@pytest.mark.parametrize("matrix", MATRICES)
def test_pictures_are_turned_and_mirrored_as_ffmpeg_does(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    media = read_media(write(tmp_path / "clip.mp4", "rgb24", matrix))
    filters, words = MATRICES[matrix]
    np.testing.assert_array_equal(media.frames[0], turned(noise(), filters))
    assert media.notes[:-1] == words
    assert media.caveats == ()


@pytest.mark.parametrize("matrix", MATRICES)
def test_planes_are_turned_with_the_frames(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    upright = read_media(write(tmp_path / "upright.mp4", "yuv420p", (ONE, 0, 0, ONE)))
    media = read_media(write(tmp_path / "clip.mp4", "yuv420p", matrix))
    assert media.planes is not None
    assert upright.planes is not None
    for ours, plane in ((media.planes.luma, upright.planes.luma), (media.planes.red, upright.planes.red)):
        grey = np.repeat(plane[1][..., None], 3, axis=2)
        np.testing.assert_array_equal(ours[1], turned(grey, MATRICES[matrix][0])[..., 0])


def test_a_turn_by_another_angle_is_refused(tmp_path: Path) -> None:
    slanted = (56_756, 32_768, -32_768, 56_756)  # 30 degrees
    with pytest.raises(ClipError, match="quarter") as caught:
        read_media(write(tmp_path / "clip.mp4", "rgb24", slanted))
    assert caught.value.kind == "rotation"


def test_a_given_video_that_is_turned_alone_is_told(tmp_path: Path) -> None:
    upside_down = (-ONE, 0, 0, -ONE)
    turned = write(tmp_path / "turned.mp4", "rgb24", upside_down)
    upright = write(tmp_path / "upright.mp4", "rgb24", (ONE, 0, 0, ONE))
    (told,) = read_fitted(turned, Clip("c", "test", upright)).caveats
    assert (told.kind, told.detail) == ("turned", "rotated by 180 degrees")
    assert read_fitted(turned, Clip("c", "test", turned)).caveats == ()
    assert read_fitted(upright, Clip("c", "test", turned)).caveats == ()  # what a method writes of a phone's clip
