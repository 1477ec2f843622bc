"""Display matrices, in files made here, against ffmpeg's own filters."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.filter import Graph
from numpy.typing import NDArray

from syncdiff_bench.contracts import Clip
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.fitting import read_fitted
from syncdiff_bench.media.reading import read_media

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


def textured() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)


def write(path: Path, matrix: tuple[int, int, int, int], codec: str = "libx264rgb", pix_fmt: str = "rgb24") -> Path:
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(codec, rate=25, options={"qp": "0"})
        video.width, video.height, video.pix_fmt = 48, 32, pix_fmt
        frame = av.VideoFrame.from_ndarray(textured(), format="rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(video.encode(frame))
        container.mux(video.encode(None))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # of a `tkhd` box of version 0
    a, b, c, d = matrix
    data[at : at + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], dtype=">i4").tobytes()
    path.write_bytes(data)
    return path


def filtered(picture: NDArray[np.uint8], filters: tuple[str, ...]) -> NDArray[np.uint8]:
    graph = Graph()
    height, width = picture.shape[:2]
    last = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"), time_base=Fraction(1, 25))
    for one in filters:
        name, _, argument = one.partition("=")
        following = graph.add(name, argument or None)
        last.link_to(following)
        last = following
    last.link_to(graph.add("buffersink"))
    graph.configure()
    graph.push(av.VideoFrame.from_ndarray(picture, format="rgb24"))
    return np.asarray(graph.pull().to_ndarray(format="rgb24"))


@pytest.mark.parametrize("matrix", MATRICES)
def test_pictures_are_turned_and_mirrored_as_ffmpeg_does(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    media = read_media(write(tmp_path / "clip.mp4", matrix))
    filters, words = MATRICES[matrix]
    np.testing.assert_array_equal(media.frames[0], filtered(textured(), filters))
    assert media.notes[:-1] == words
    assert media.caveats == ()


@pytest.mark.parametrize("matrix", MATRICES)
def test_planes_are_turned_with_the_frames(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    upright = read_media(write(tmp_path / "upright.mp4", (ONE, 0, 0, ONE), "libx264", "yuv420p"))
    media = read_media(write(tmp_path / "clip.mp4", matrix, "libx264", "yuv420p"))
    assert media.planes is not None
    assert upright.planes is not None
    for ours, plane in ((media.planes.luma, upright.planes.luma), (media.planes.red, upright.planes.red)):
        grey = np.repeat(plane[0][..., None], 3, axis=2)
        np.testing.assert_array_equal(ours[0], filtered(grey, MATRICES[matrix][0])[..., 0])


def test_a_turn_by_another_angle_is_refused(tmp_path: Path) -> None:
    slanted = (56_756, 32_768, -32_768, 56_756)  # 30 degrees
    with pytest.raises(ClipError, match="quarter") as caught:
        read_media(write(tmp_path / "clip.mp4", slanted))
    assert caught.value.kind == "rotation"


def test_a_given_video_that_is_turned_alone_is_told(tmp_path: Path) -> None:
    upside_down = (-ONE, 0, 0, -ONE)
    turned = write(tmp_path / "turned.mp4", upside_down)
    upright = write(tmp_path / "upright.mp4", (ONE, 0, 0, ONE))
    (told,) = read_fitted(turned, Clip("c", "test", upright)).caveats
    assert (told.kind, told.detail) == ("turned", "rotated by 180 degrees")
    assert read_fitted(turned, Clip("c", "test", turned)).caveats == ()
    assert read_fitted(upright, Clip("c", "test", turned)).caveats == ()  # what a method writes of a phone's clip
