"""Processor time to read one clip: 55 frames of 160 x 160 with sound, as pocket stores them."""

from __future__ import annotations

import numpy as np
import pytest

from syncdiff_bench.contracts import Media
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.media.writing import write_video

FRAMES = 55


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A smooth picture that drifts, and a tone: what an encoder makes of it is like a face in front of a wall."""
    across, down = np.meshgrid(np.arange(160), np.arange(160))
    colours = np.array([0.0, 1.0, 2.0])
    waves = [np.sin(across[..., None] / 19 + t / 9 + colours) * np.cos(down[..., None] / 23) for t in range(FRAMES)]
    frames = np.stack([(100 * wave + 128).astype(np.uint8) for wave in waves])
    sound = (8_000 * np.sin(np.arange(640 * FRAMES) / 9)).astype(np.int16)
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    write_video(path, Media(frames, sound), encoding="compact")
    return path


@pytest.mark.gate
def test_read_media(benchmark, clip):
    assert len(benchmark.pedantic(read_media, (clip,), rounds=20, warmup_rounds=2).frames) == FRAMES


def test_decoder_alone(benchmark, clip):
    """What `read_media` cannot go below: every packet through its decoder, and nothing kept."""
    import av

    def decode():
        with av.open(str(clip)) as container:
            streams = container.streams.video[0], container.streams.audio[0]
            streams[0].codec_context.thread_count = 1
            return sum(len(packet.decode()) for packet in container.demux(*streams))

    assert benchmark.pedantic(decode, rounds=20, warmup_rounds=2) > FRAMES
