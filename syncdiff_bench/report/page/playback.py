"""Clips for the HTML page: small H.264 files and JPEGs as data URIs, so that the page needs nothing beside it."""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path

import numpy as np

from syncdiff_bench.contracts import Frames, Media
from syncdiff_bench.media.writing import write_video

JPEG_QUALITY = 85


def video_uri(media: Media) -> str:
    """H.264 4:2:0 with AAC, which every browser plays; an odd side gets one more row or column (4:2:0 needs that)."""
    _, height, width, _ = media.frames.shape
    even = np.pad(media.frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, Media(even, media.audio), encoding="compact")
        return _uri("video/mp4", path.read_bytes())


def picture_uri(frames: Frames) -> str:
    """(n, h, w, 3) uint8 RGB side by side, as one JPEG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.concatenate(list(frames), axis=1)).save(file, format="JPEG", quality=JPEG_QUALITY)
    return _uri("image/jpeg", file.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
