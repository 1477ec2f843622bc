"""MPEG-4 as `cv2.VideoWriter(..., "DIVX", 25)` writes it: the first of two losses in Wav2Lip's and TalkLip's videos.

OpenCV asks FFmpeg's encoder for `width * height * fps` bits per second, a key frame every 12, and no quantiser below 3,
which with faces of a few hundred pixels decides alone. Its videos differ from ours by less than a grey level in the
mean: it rounds down on the way to YCbCr.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from syncdiff_bench.contracts import FPS, Frames

OPTIONS = {"g": "12", "qmin": "3", "qmax": "31"}


def through_divx(frames: Frames) -> Iterator[Any]:
    """The frames as `av.VideoFrame` in yuv420p, encoded and decoded in memory; their `pts` count from 0.

    frames: (T, H, W, 3) uint8 RGB.
    """
    import av
    from av.video.frame import PictureType

    file = io.BytesIO()
    with av.open(file, "w", format="avi") as container:
        height, width = frames.shape[1:3]
        stream = container.add_stream("mpeg4", rate=FPS, options=dict(OPTIONS))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = width * height * FPS
        stream.codec_context.thread_count = 1
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        for index, frame in enumerate(container.decode(video=0)):
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            frame.pict_type = PictureType.NONE  # or the next encoder would put its key frames where this one did
            yield frame
