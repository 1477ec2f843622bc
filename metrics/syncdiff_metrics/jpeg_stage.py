"""The JPEG stage of the official LSE script, in memory: frames pass through FFmpeg's MJPEG encoder and back.

The official script dumps frames with `ffmpeg -i V -threads 1 -f image2 %06d.jpg` and gives no quality, hence
the encoder holds 200 kb/s: frame 1 is fine, and quality falls until quantiser 25. That loss is part of the
metric (reference: metrics.md A.2). Here PyAV's libavcodec does it, whose version the wheel pins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av
    from av.video.codeccontext import VideoCodecContext

Picture = NDArray[np.uint8]  # (H, W, 3)

# JFIF: full-range ITU-R BT.601, rows Y, Cb, Cr of R, G, B
_TO_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=np.float32
)
_FRAME_RATE = Fraction(25)
_BIT_RATE = 200_000


def mjpeg_round_trip(frames: Iterable[Picture]) -> Iterator[Picture]:
    """The frames as `cv2.imread` would find them in ffmpeg's dump, one by one, in BGR.

    frames: (H, W, 3) uint8 RGB each, all of one size, from the first frame of the clip on, because the rate
        control remembers.
    """
    return (decode_jpeg(data) for data in encode_mjpeg(frames))


def encode_mjpeg(frames: Iterable[Picture]) -> Iterator[bytes]:
    """One JPEG file per frame, with the settings that ffmpeg's command line leaves at their defaults.

    frames: (H, W, 3) uint8 RGB each, all of one size.
    """
    encoder: VideoCodecContext | None = None
    for index, rgb in enumerate(frames):
        encoder = _encoder(rgb.shape[1], rgb.shape[0]) if encoder is None else encoder
        frame = _video_frame(rgb)
        frame.pts, frame.time_base = index, 1 / _FRAME_RATE
        yield from map(bytes, encoder.encode(frame))
    if encoder is not None:
        yield from map(bytes, encoder.encode(None))


def decode_jpeg(data: bytes) -> Picture:
    """(H, W, 3) uint8 BGR of a JPEG file; libjpeg-turbo with its defaults, as in `cv2.imread`."""
    from PIL import Image

    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))[..., ::-1]


def libav_version() -> str:
    """The PyAV and libavcodec behind `encode_mjpeg` ("PyAV 18.1.0, libavcodec 62.28.102")."""
    import av

    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"PyAV {av.__version__}, libavcodec {codec}"


def _encoder(width: int, height: int) -> VideoCodecContext:
    from av import CodecContext

    encoder: VideoCodecContext = CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.framerate, encoder.time_base = _FRAME_RATE, 1 / _FRAME_RATE
    encoder.bit_rate, encoder.qmin, encoder.qmax = _BIT_RATE, 2, 31
    encoder.thread_count = 1
    return encoder


def _video_frame(rgb: Picture) -> av.VideoFrame:
    from av import VideoFrame

    frame = VideoFrame(rgb.shape[1], rgb.shape[0], "yuvj420p")
    for plane, values in zip(frame.planes, full_range_420(restore_swscale_loss(rgb)), strict=True):
        buffer = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        buffer[:, : plane.width] = values
    return frame


def restore_swscale_loss(rgb: Picture) -> NDArray[np.float32]:
    """(H, W, 3) float32: the RGB that the file's YUV stands for, from the RGB that swscale made of it.

    Quirk: swscale's 8-bit YUV to RGB rounds down each product it sums, two for red and blue, three for green,
    so that decoded frames are darker than their YUV by half a grey level per product (measured: 0.98, 1.47 and
    1.02). The official script never leaves YUV on the way to JPEG, hence its frames are brighter than decoded
    ones. What RGB cuts off below 0 and above 255 stays lost.
    """
    return rgb.astype(np.float32) + np.array([1.0, 1.5, 1.0], dtype=np.float32)


def full_range_420(rgb: NDArray[np.float32]) -> tuple[Picture, Picture, Picture]:
    """JPEG's planes Y (H, W), Cb and Cr (ceil(H / 2), ceil(W / 2)), uint8, by way of those of a video file.

    rgb: (H, W, 3) float32, 0..255 or slightly beyond.
    Chroma is the mean of 2 x 2 pixels, which undoes the doubling by which swscale turned 4:2:0 into RGB. All
    three are first rounded to the studio range (219 and 224 steps): that is what a file holds and ffmpeg
    stretches, and for most pixels it gives back the very byte of the file.
    """
    ycbcr = rgb @ _TO_YCBCR.T
    height, width = rgb.shape[:2]
    chroma = np.pad(ycbcr[..., 1:], ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    chroma = (chroma[::2, ::2] + chroma[1::2, ::2] + chroma[::2, 1::2] + chroma[1::2, 1::2]) / 4
    luma, chroma = _on_grid(ycbcr[..., 0], 219), _on_grid(chroma, 224) + 128
    return _to_bytes(luma), _to_bytes(chroma[..., 0]), _to_bytes(chroma[..., 1])


def _on_grid(values: NDArray[Any], steps: int) -> NDArray[Any]:
    scale = np.float32(255 / steps)
    snapped: NDArray[Any] = np.rint(values / scale) * scale
    return snapped


def _to_bytes(plane: NDArray[Any]) -> Picture:
    return np.asarray(np.clip(np.rint(plane), 0, 255), dtype=np.uint8)
