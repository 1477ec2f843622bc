"""Audio features against python_speech_features' stored numbers and torch's layer norm."""

from pathlib import Path

import numpy as np
import pytest
import torch

from syncdiff_bench.errors import ClipError
from syncdiff_bench.networks.avhubert.features import audio_features, log_filterbank, stacked_features

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    n = np.arange(32_000)
    wave = 8000 * np.sin(2 * np.pi * 220 * n / 16_000) + 4000 * np.sin(2 * np.pi * (440 + 0.05 * n) * n / 16_000)
    return np.round(wave).astype(np.int16)


@pytest.fixture(scope="module")
def logfbank() -> np.ndarray:
    with np.load(DATA / "avhubert_logfbank.npz", allow_pickle=False) as file:
        return file["logfbank"]


def reference_rows(logfbank: np.ndarray) -> np.ndarray:
    """Stacking and torch's own layer norm, from the stored log-mel: (50, 104)."""
    padded = np.concatenate([logfbank, np.zeros((1, 26))]).astype(np.float32).reshape(50, 104)
    return torch.nn.functional.layer_norm(torch.from_numpy(padded), (104,)).numpy()


def test_log_mel_is_the_official_one(audio, logfbank):
    ours = log_filterbank(audio)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, logfbank, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours[0, :4], [11.50862013, 14.67987313, 17.61232059, 14.55205058], rtol=1e-6)


def test_four_log_mel_frames_make_one_row(audio, logfbank):
    rows = stacked_features(audio)
    assert rows.shape == (50, 104)
    np.testing.assert_allclose(rows[3, 26:52], logfbank[13], rtol=1e-6)
    np.testing.assert_array_equal(rows[49, 78:], 0)  # 199 frames: one zero row fills the last stack


@pytest.mark.parametrize(
    ("align", "n_frames", "start"), [("end", 50, 0), ("end", 45, 0), ("centre", 45, 2), ("centre", 46, 2)]
)
def test_surplus_rows_are_cut_where_the_protocol_says(audio, logfbank, align, n_frames, start):
    expected = reference_rows(logfbank)[start : start + n_frames]
    np.testing.assert_allclose(audio_features(audio, n_frames, align=align), expected, atol=1e-5)


@pytest.mark.parametrize("align", ["end", "centre"])
def test_missing_rows_are_zeros_at_the_end(audio, logfbank, align):
    features = audio_features(audio, 53, align=align)
    assert features.shape == (53, 104)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[:50], reference_rows(logfbank), atol=1e-5)
    np.testing.assert_array_equal(features[50:], 0)


def test_one_sample_of_silence_is_finite():
    features = audio_features(np.zeros(1, dtype=np.int16), 2)
    assert features.shape == (2, 104)
    assert np.isfinite(features).all()


def test_a_clip_without_audio_is_refused():
    with pytest.raises(ClipError, match="no audio samples") as error:
        audio_features(np.zeros(0, dtype=np.int16), 5)
    assert error.value.kind == "no-audio"
