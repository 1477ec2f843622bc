"""Audio features of AV-HuBERT: log-mel bands, four frames stacked to 25 Hz (docs/spec/avhubert.md#audio-features)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import SAMPLE_RATE, Audio
from syncdiff_bench.errors import ClipError

BANDS = 26
STACK = 4  # 100 Hz -> 25 Hz: one row per video frame
LAYER_NORM_EPS = 1e-5

Align = Literal["end", "centre"]


def log_filterbank(audio: Audio) -> NDArray[np.float32]:
    """Natural log of 26 mel bands: rectangular 25 ms windows every 10 ms, nfft 512, pre-emphasis 0.97.

    audio: (N,) int16 mono 16 kHz, N >= 1; samples keep their int16 scale.
    Returns (M, 26) float32, M = 1 + ceil((N - 400) / 160) and at least 1.
    Raises ClipError (`no-audio`) for an empty track.
    """
    from python_speech_features import logfbank

    if audio.size == 0:
        raise ClipError("no-audio", "the clip has no audio samples to take features from; give it an audio track")
    bands: NDArray[np.float32] = logfbank(audio, samplerate=SAMPLE_RATE).astype(np.float32)
    return bands


def stacked_features(audio: Audio) -> NDArray[np.float32]:
    """Four consecutive log-mel frames per row, zero rows appended to a multiple of four.

    audio: (N,) int16 mono 16 kHz. Returns (ceil(M / 4), 104) float32 at 25 Hz.
    """
    bands = log_filterbank(audio)
    padded = np.pad(bands, ((0, -len(bands) % STACK), (0, 0)))
    return padded.reshape(-1, STACK * BANDS)


def audio_features(audio: Audio, n_frames: int, *, align: Align = "end") -> NDArray[np.float32]:
    """What the encoder reads: stacked features, each row normalised, one row per video frame.

    audio: (N,) int16 mono 16 kHz. n_frames: frames of the video, >= 1.
    align: where surplus rows go, `end` (AV-HuBERT, TalkLip training) or `centre` (TalkLip's inference: half
        of them from the start). Missing rows are zeros at the end in both.
    Returns (n_frames, 104) float32 of zero mean and unit variance per row.
    """
    rows = normalise_rows(stacked_features(audio))
    surplus = len(rows) - n_frames
    if surplus < 0:
        return np.pad(rows, ((0, -surplus), (0, 0)))
    start = surplus // 2 if align == "centre" else 0
    return rows[start : start + n_frames]


def normalise_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Layer norm without affine over the last axis (`task.normalize: true`), eps 1e-5."""
    wide = rows.astype(np.float64)
    centred = wide - wide.mean(axis=-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + LAYER_NORM_EPS)
    normalised: NDArray[np.float32] = (centred / scale).astype(np.float32)
    return normalised
