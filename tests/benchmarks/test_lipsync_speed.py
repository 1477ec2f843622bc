"""Frames per second of full-size Wav2Lip and TalkLip (pytest --benchmark-only); the JSON has `frames_per_second`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from syncdiff_bench.contracts import Clip, Media
from syncdiff_methods.talklip.network import TalkLip
from syncdiff_methods.wav2lip.generator import Wav2Lip
from syncdiff_methods.wav2lip.inference import for_inference
from syncdiff_methods.wav2lip.method import Wav2Lip as Method
from syncdiff_methods.wav2lip.method import Wav2LipOptions

BATCHES = (1, 8, 32)


def report(benchmark: Any, frames: int) -> None:
    if benchmark.stats is not None:
        benchmark.extra_info["frames_per_second"] = round(frames / benchmark.stats.stats.min, 2)


@pytest.fixture(scope="module")
def wav2lip() -> Wav2Lip:
    return for_inference(Wav2Lip(), "cpu")


@pytest.fixture(scope="module")
def talklip() -> TalkLip:
    return for_inference(TalkLip(), "cpu")


def faces(n: int) -> torch.Tensor:
    return torch.rand(n, 6, 96, 96).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("batch", BATCHES)
def test_wav2lip_generator(benchmark: Any, wav2lip: Wav2Lip, batch: int) -> None:
    mel, seen = torch.randn(batch, 1, 80, 16), faces(batch)
    with torch.inference_mode():
        benchmark.pedantic(lambda: wav2lip(mel, seen), rounds=2, warmup_rounds=1)
    report(benchmark, batch)


@pytest.mark.parametrize("batch", BATCHES)
def test_talklip_generator(benchmark: Any, talklip: TalkLip, batch: int) -> None:
    """The face half; the audio encoder runs once per clip, below."""
    heard, seen = torch.randn(batch, 768), faces(batch)
    with torch.inference_mode():
        benchmark.pedantic(lambda: talklip.draw_faces(heard, seen), rounds=2, warmup_rounds=1)
    report(benchmark, batch)


def test_talklip_audio_encoder(benchmark: Any, talklip: TalkLip) -> None:
    features = torch.randn(1, 100, 104)
    with torch.inference_mode():
        benchmark.pedantic(lambda: talklip.encode_audio(features), rounds=2, warmup_rounds=1)
    report(benchmark, 100)


def test_wav2lip_clips_to_videos(benchmark: Any, wav2lip: Wav2Lip) -> None:
    """Everything but decoding and encoding: mel, crops, network, pasting; two clips of 2 s at 160 x 160."""
    rng = np.random.default_rng(0)
    clips = []
    for index in range(2):
        pictures = rng.integers(0, 256, (50, 160, 160, 3), np.uint8)
        sound = rng.integers(-9000, 9000, 640 * 50).astype(np.int16)
        clips.append(Clip(str(index), "test", boxes="centred", preloaded=Media(pictures, sound)))
    method = Method(Wav2LipOptions())
    method.__dict__["generator"] = wav2lip  # the cached property, filled by hand
    benchmark.pedantic(lambda: list(method.generate(clips, seed=0)), rounds=1)
    report(benchmark, 100)
