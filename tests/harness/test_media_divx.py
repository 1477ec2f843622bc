"""The encoding `talklip`: MPEG-4 as OpenCV writes it, then H.264 CRF 23, as Wav2Lip's and TalkLip's videos went."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_bench.contracts import Media
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.media.writing import through_divx, write_video
from syncdiff_bench.weights.digests import sha256_of


def textured(n: int, height: int, width: int) -> NDArray[np.uint8]:
    """A moving wave with grain, which a codec has to throw away."""
    y, x, t = np.meshgrid(np.arange(height), np.arange(width), np.arange(n), indexing="ij")
    wave = (128 + 80 * np.sin(x / 9 + t / 4) * np.cos(y / 11)).transpose(2, 0, 1)[..., None]
    grain = np.random.default_rng(0).normal(0, 6, (n, height, width, 3))
    return np.clip(wave + grain, 0, 255).astype(np.uint8)


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
