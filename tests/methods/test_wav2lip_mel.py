"""Wav2Lip's mel spectrogram against librosa, and its windows against hand counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_bench.errors import ClipError
from syncdiff_methods.wav2lip.mel import mel_filters, mel_spectrogram, mel_windows, window_starts

DATA = Path(__file__).parents[1] / "data"


def chirp(samples: int = 20_000) -> NDArray[np.int16]:
    """A rising tone and a throbbing one; the golden spectrogram is of these samples."""
    t = np.arange(samples) / 16_000
    tones = 0.3 * np.sin(2 * np.pi * (200 * t + 600 * t * t))
    tones += 0.1 * np.sin(2 * np.pi * 3100 * t) * np.sin(2 * np.pi * 3 * t) ** 2
    return np.round(32_767 * tones).astype(np.int16)


def test_it_is_librosas() -> None:
    """librosa 0.11: stft(pad_mode="reflect"), filters.mel, and the official scaling."""
    with np.load(DATA / "wav2lip_golden.npz", allow_pickle=False) as file:
        expected = file["mel"]
    np.testing.assert_allclose(mel_spectrogram(chirp()), expected, atol=1e-4)


def test_bands_of_pure_tones() -> None:
    """A tone is loudest in the band whose centre, on Slaney's scale, is nearest."""
    centres = mel_filters().argmax(axis=1) * 20.0  # Hz
    for hertz in (500.0, 1000.0, 4000.0):
        tone = (8000 * np.sin(2 * np.pi * hertz * np.arange(8000) / 16_000)).astype(np.int16)
        loudest = mel_spectrogram(tone)[:, 20].argmax()
        assert abs(loudest - np.abs(centres - hertz).argmin()) <= 1


def test_silence_is_the_floor() -> None:
    assert (mel_spectrogram(np.zeros(3200, np.int16)) == -4).all()


def test_windows_start_every_three_columns_and_a_fifth() -> None:
    assert window_starts(11).tolist() == [0, 3, 6, 9, 12, 16, 19, 22, 25, 28, 32]


def test_windows_are_columns_of_the_spectrogram() -> None:
    """20 frames, 65 columns: frames 0 .. 15 have windows of their own, the others share the last 16 columns."""
    audio = chirp(20 * 640)
    mel, windows = mel_spectrogram(audio), mel_windows(audio, 20)
    assert mel.shape == (80, 65) and windows.shape == (20, 80, 16)
    np.testing.assert_array_equal(windows[15], mel[:, 48:64])
    for t in range(16, 20):
        np.testing.assert_array_equal(windows[t], mel[:, 49:65])


def test_a_short_track_is_followed_by_silence() -> None:
    windows = mel_windows(chirp(640 * 10), 40)
    assert windows[2].max() > -2
    assert (windows[20:] == -4).all()
    np.testing.assert_array_equal(windows[:5], mel_windows(chirp(), 20)[:5])  # whose windows end with column 27 of 32


def test_a_longer_track_is_heard_to_its_end() -> None:
    audio = chirp(640 * 12)
    np.testing.assert_array_equal(mel_windows(audio, 4), mel_windows(audio, 12)[:4])


@pytest.mark.parametrize("samples", [1, 400, 640])
def test_one_frame(samples: int) -> None:
    assert mel_windows(chirp(samples), 1).shape == (1, 80, 16)


def test_no_sound() -> None:
    with pytest.raises(ClipError, match="no sound") as caught:
        mel_windows(np.zeros(0, np.int16), 3)
    assert caught.value.kind == "no-audio"
    with pytest.raises(ClipError, match="needs more than 400"):
        mel_spectrogram(chirp(400))
