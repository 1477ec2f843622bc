"""FACE as a stream: every picture at its time, forwards and backwards, upright, of any container and rate."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from syncdiff_bench.dubbing import pictures as module
from syncdiff_bench.dubbing.material import order_of
from syncdiff_bench.dubbing.pictures import open_pictures
from syncdiff_bench.errors import ClipError

CODED = {"libx264": {"bf": "3"}, "mpeg4": {"qmin": "1", "qmax": "2"}}
LEVELS = 8  # grey levels between two pictures, so that a picture says its number


def grey(index: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 20 + LEVELS * (index % 28), np.uint8)


def number(picture: NDArray[np.uint8]) -> int:
    return round((float(picture.mean()) - 20) / LEVELS)


def write(
    path: Path, count: int, rate: Fraction | int = 25, codec: str = "libx264", times: Sequence[int] | None = None
) -> Path:
    """times: of the pictures in milliseconds, for a variable rate."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate), options=CODED.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = 30
        if times is not None:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(grey(index), format="rgb24")
            frame.pts = index if times is None else times[index]
            if times is not None:
                frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp4", "libx264", 25),
        ("a.mp4", "libx264", Fraction(30000, 1001)),
        ("a.mkv", "libx264", 24),
        ("a.avi", "mpeg4", 30),
        ("a.mpg", "mpeg1video", 25),
        ("a.ts", "libx264", 50),
    ],
)
def test_pictures_run_forwards_and_backwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, rate: Fraction | int
) -> None:
    monkeypatch.setattr(module, "BACKWARDS", 0)  # eight pictures at once
    found = open_pictures(write(tmp_path / name, 130, rate, codec))
    assert (found.width, found.height, found.rate) == (64, 48, rate)
    assert abs(found.count - 130) <= 1
    order = order_of(found.count, 300, "pingpong").tolist()
    shown = [number(picture) for picture in found.in_order(order)]
    assert len(shown) == 300
    assert shown == [index % 28 for index in order]
    assert [number(next(found.forward(at))) for at in (0, 31, 77, 125)] == [0, 3, 21, 13]


def test_a_variable_rate_becomes_constant(tmp_path: Path) -> None:
    times = [0, 40, 80, 120, 360, 400, 440, 480, 520, 560, 600, 640]
    found = open_pictures(write(tmp_path / "vfr.mkv", 12, 25, times=times))
    assert any("varies" in note for note in found.notes)
    by_time = [max(index for index, time in enumerate(times) if time <= 1000 * k / found.rate + 21) for k in range(10)]
    assert [number(picture) for picture, _ in zip(found.forward(), range(10), strict=False)] == by_time


def test_a_display_matrix_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[:, :32] = 255  # the left half is white
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)  # clockwise
    path.write_bytes(data)
    found = open_pictures(path)
    assert (found.width, found.height) == (48, 64)
    shown = next(found.forward())
    assert shown[:30].mean() > 250 and shown[34:].mean() < 5
    assert "rotated by 270 degrees" in found.notes


def test_photos_stand_upright_and_opaque(tmp_path: Path) -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, :30, 0] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(picture).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned = open_pictures(tmp_path / "turned.jpg")
    assert (turned.width, turned.height, turned.count) == (40, 60, 1)
    assert turned.photo is not None and turned.photo[:25, :, 0].mean() > 190 and turned.photo[35:, :, 0].mean() < 10
    Image.fromarray(np.zeros((20, 30, 4), np.uint8)).save(tmp_path / "clear.png")
    clear = open_pictures(tmp_path / "clear.png")
    assert clear.photo is not None and clear.photo.min() == 255
    Image.fromarray(np.zeros((10, 5000), np.uint8)).save(tmp_path / "wide.png")
    assert open_pictures(tmp_path / "wide.png").width == 4096
    assert "reduced from 5000x10" in open_pictures(tmp_path / "wide.png").notes[0]
    assert len(list(clear.in_order([0] * 9))) == 9


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 40)
    with pytest.raises(ClipError, match=r"a\.png"):
        open_pictures(tmp_path / "a.png")
    with pytest.raises(ClipError, match="does not exist"):
        open_pictures(tmp_path / "none.mp4")
    (tmp_path / "a.mp4").write_bytes(b"hello")
    with pytest.raises(ClipError, match="not a video file"):
        open_pictures(tmp_path / "a.mp4")


def test_the_end_of_a_video_that_is_cut_short_is_held(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", 100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    found = open_pictures(path)
    shown = list(found.in_order(list(range(found.count))))
    assert 40 < len(shown) == found.count < 100


def test_the_order_of_a_loop() -> None:
    assert order_of(4, 12, "pingpong").tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1]
    assert order_of(4, 6, "hold").tolist() == [0, 1, 2, 3, 3, 3]
    assert order_of(4, 6, "cut").tolist() == [0, 1, 2, 3]
    assert order_of(9, 4, "pingpong").tolist() == [0, 1, 2, 3]
    assert order_of(1, 3, "cut", still=True).tolist() == [0, 0, 0]
    assert order_of(1, 3, "pingpong").tolist() == [0, 0, 0]
