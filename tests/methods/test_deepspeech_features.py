"""DeepSpeech windows (docs/spec/difftalk.md#data) from files and an acoustic model, and the network over them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from syncdiff_bench import registry
from syncdiff_bench.contracts import Audio, Clip, Media
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_methods.syncdiff.audio import (
    AudioCondition,
    AudioNet,
    acoustic_model,
    clip_features,
    clip_windows,
    score_windows,
)
from syncdiff_methods.syncdiff.config import AudioConfig

DS = AudioConfig(features="deepspeech", dim=128, window=16)


def numbered(rows: int) -> NDArray[np.float32]:
    """Row i holds 29 times i + 1: where a window's row comes from can be read off it."""
    return np.repeat(np.arange(1, rows + 1, dtype=np.float32)[:, None], 29, axis=1)


def clip(frames: int = 6, samples: int = 3840) -> Clip:
    media = Media(np.zeros((frames, 8, 8, 3), np.uint8), np.ones(samples, np.int16))
    return Clip("test/speaker/00001", "toy", preloaded=media)


def test_windows_are_centred_on_the_frame_and_padded_with_zeros() -> None:
    windows = score_windows(numbered(12), 6)
    assert windows.shape == (6, 16, 29)
    assert windows[0, :, 0].tolist() == [0] * 8 + [1, 2, 3, 4, 5, 6, 7, 8]
    assert windows[1, :, 5].tolist() == [0] * 6 + [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert windows[5, :, 28].tolist() == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12] + [0] * 6


def test_missing_rows_repeat_the_last_and_surplus_rows_are_left_out() -> None:
    short, long = score_windows(numbered(10), 6), score_windows(numbered(40), 6)
    assert short[5, :, 0].tolist() == [3, 4, 5, 6, 7, 8, 9, 10, 10, 10] + [0] * 6
    np.testing.assert_array_equal(long, score_windows(numbered(12), 6))


def test_scores_of_another_rate_are_interpolated() -> None:
    """At 25 rows per second, every second row at 50 lies half-way."""
    windows = score_windows(numbered(6), 6, rate=25)
    assert windows[0, 8:, 0].tolist() == [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5]


# ----------------------------------------------------------------------------------------------- files


def test_scores_and_ready_made_windows_are_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "test" / "speaker" / "00001.npy"
    path.parent.mkdir(parents=True)
    np.save(path, numbered(12))
    config = replace(DS, logits=str(tmp_path))
    expected = score_windows(numbered(12), 6)
    np.testing.assert_array_equal(clip_features(clip(), config), expected)
    np.save(path, expected.astype(np.float64))
    np.testing.assert_array_equal(clip_features(clip(), config), expected)
    np.save(path, expected[:4])  # two frames short: the last window stands in
    np.testing.assert_array_equal(clip_features(clip(), config)[5], expected[3])


@pytest.mark.parametrize("content", [None, np.zeros((9, 28), np.float32), np.zeros((0, 29)), np.zeros((9, 29), int)])
def test_bad_files_fail_their_clip_by_name(tmp_path: Path, content: NDArray[np.float32] | None) -> None:
    path = tmp_path / "test" / "speaker" / "00001.npy"
    path.parent.mkdir(parents=True)
    if content is None:
        path.write_bytes(b"not an array")
    else:
        np.save(path, content)
    with pytest.raises(ClipError, match=r"00001\.npy: ") as caught:
        clip_windows(clip(), 6, str(tmp_path))
    assert caught.value.kind == "features"


# ------------------------------------------------------------------------------------- acoustic models


class Loudness:
    """An acoustic model: the mean of each 40 ms of sound, as every character's score."""

    rate = 25.0

    def logits(self, audio: Audio) -> NDArray[np.float32]:
        means = audio[: len(audio) // 640 * 640].reshape(-1, 640).mean(axis=1, dtype=np.float32)
        return np.repeat(means[:, None], 29, axis=1)


class Narrow(Loudness):
    def logits(self, audio: Audio) -> NDArray[np.float32]:
        return super().logits(audio)[:, :5]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "toy_acoustics", sys.modules[__name__])
    points = [
        EntryPoint(name, f"toy_acoustics:{attribute}", registry.GROUPS["acoustic_model"].name)
        for name, attribute in (("loudness", "Loudness"), ("narrow", "Narrow"))
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    for cached in (registry.registrations, acoustic_model):
        cached.cache_clear()
    yield
    for cached in (registry.registrations, acoustic_model):
        cached.cache_clear()


@pytest.mark.usefixtures("installed")
def test_an_installed_acoustic_model_is_used() -> None:
    windows = clip_windows(clip(), 6, "loudness")
    assert windows[3, 8:11, 7].tolist() == [1, 1, 1]
    assert windows[0, 0].tolist() == [0] * 29


@pytest.mark.usefixtures("installed")
def test_what_no_acoustic_model_can_do() -> None:
    with pytest.raises(
        UsageError, match=r"neither a folder .* nor an installed acoustic model; did you mean 'loudness'"
    ):
        clip_windows(clip(), 6, "loudnes")
    with pytest.raises(UsageError, match=r"audio\.logits='' is neither"):
        clip_windows(clip(), 6, "")
    with pytest.raises(ClipError, match=r"gave scores of shape \(6, 5\)"):
        clip_windows(clip(), 6, "narrow")
    with pytest.raises(ClipError, match="no audio samples"):
        clip_windows(clip(samples=0), 6, "loudness")


# ---------------------------------------------------------------------------------------------- network


def test_one_frame_is_encoded_like_a_batch_of_frames() -> None:
    """The official network loses its batch axis with one frame (docs/spec/difftalk.md#encoders)."""
    net = AudioNet(64).eval()
    windows = torch.randn(2, 5, 16, 29)
    encoded = net(windows)
    assert encoded.shape == (2, 5, 64)
    torch.testing.assert_close(net(windows[1:, 2:3]), encoded[1:, 2:3])


def test_tokens_of_the_deepspeech_condition() -> None:
    """(T, 16, 29) windows to 128 numbers per frame, weighed over 16 frames; padding changes nothing."""
    torch.manual_seed(0)
    condition = AudioCondition(DS).eval()
    assert condition.filter is not None
    assert condition.filter.window == 16
    windows = torch.randn(1, 7, 16, 29)
    tokens = condition(windows)
    assert tokens.shape == (1, 7, 128)
    padded = torch.cat([windows, torch.randn(1, 3, 16, 29)], dim=1)
    mask = torch.arange(10)[None] >= 7
    torch.testing.assert_close(condition(padded, mask)[:, :7], tokens)
    assert all(p.requires_grad for p in condition.parameters())
