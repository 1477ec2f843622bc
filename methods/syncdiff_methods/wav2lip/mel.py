"""Audio as Wav2Lip takes it: a normalised mel spectrogram, 0.2 s of it per frame (docs/spec/wav2lip.md#mel)."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, Audio
from syncdiff_bench.errors import ClipError

N_FFT = 800
HOP = 200
BANDS = 80
LOWEST, HIGHEST = 55.0, 7600.0  # Hz
PRE_EMPHASIS = 0.97
FLOOR = 1e-5  # -100 dB
WINDOW = 16  # columns of one window
COLUMNS_PER_SECOND = SAMPLE_RATE // HOP


def mel_spectrogram(audio: Audio) -> NDArray[np.float32]:
    """(80, 1 + N // 200) float32 in -4..4, 80 columns per second.

    audio: (N,) int16 mono 16 kHz, N > 400. Edges are reflected, as the librosa 0.7 of the official code did; librosa
    0.9 and later would pad zeros, which changes the first and last two columns.
    Raises ClipError (`too-short`) for fewer samples.
    """
    from scipy.signal import lfilter

    if len(audio) <= N_FFT // 2:
        raise ClipError("too-short", f"{len(audio)} samples of audio; a mel spectrogram needs more than {N_FFT // 2}")
    emphasised = lfilter([1.0, -PRE_EMPHASIS], [1.0], audio.astype(np.float64) / 32768)
    padded = np.pad(emphasised, N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    magnitude = np.abs(np.fft.rfft(frames * hann, axis=1)).T
    decibel = 20 * np.log10(np.maximum(FLOOR, mel_filters() @ magnitude)) - 20
    normalised: NDArray[np.float32] = np.clip(8 * (decibel + 100) / 100 - 4, -4, 4).astype(np.float32)
    return normalised


def mel_windows(audio: Audio, n_frames: int) -> NDArray[np.float32]:
    """(n_frames, 80, 16) float32: window t starts at column int(3.2 t), the last ones end with the audio.

    The official script stops behind the last whole window, appends one that ends with the audio, and drops the frames
    that have none; here those frames share that window, so that a clip keeps its length. A track shorter than the video
    is filled up with silence, as is a clip too short for one window.
    Raises ClipError (`no-audio`) for an empty track.
    """
    if len(audio) == 0:
        raise ClipError("no-audio", "the clip has no audio to move lips to; give it an audio track")
    needed = max(n_frames * SAMPLES_PER_FRAME, (WINDOW - 1) * HOP)
    mel = mel_spectrogram(np.pad(audio, (0, max(0, needed - len(audio)))))
    last = mel.shape[1] - WINDOW
    starts = np.minimum(window_starts(n_frames), last)
    return np.stack([mel[:, start : start + WINDOW] for start in starts])


def window_starts(n_frames: int) -> NDArray[np.intp]:
    """The column at which the window of each frame starts, as the official inference counts.

    >>> window_starts(6).tolist()
    [0, 3, 6, 9, 12, 16]
    """
    # 80 / 25 first, as in the official code: the product with the frame number is rounded, then cut
    starts: NDArray[np.intp] = np.floor(np.arange(n_frames) * (COLUMNS_PER_SECOND / FPS)).astype(np.intp)
    return starts


@cache
def mel_filters() -> NDArray[np.float64]:
    """(80, 401): triangles on Slaney's mel scale, each of unit area in Hz."""
    edges = _mel_to_hz(np.linspace(_hz_to_mel(LOWEST), _hz_to_mel(HIGHEST), BANDS + 2))
    bins = np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    low, centre, high = (edges[i : i + BANDS, None] for i in range(3))
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return np.asarray(np.maximum(0, triangles) * 2 / (high - low))


# Slaney's scale is linear up to 1 kHz (15 mel, 200/3 Hz each), then logarithmic: 27 mel for a factor of 6.4.
_BREAK_HZ, _BREAK_MEL, _HZ_PER_MEL = 1000.0, 15.0, 200 / 3
_LOG_STEP = np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    return hz / _HZ_PER_MEL if hz < _BREAK_HZ else _BREAK_MEL + float(np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, logarithmic)
