"""DeepSpeech features and a network over them, for DiffTalk and SyncDiff's DS row (docs/spec/difftalk.md#data).

    character scores (M, 29) at 50 Hz ──▶ windows (T, 16, 29) at 25 fps ──▶ AudioNet ──▶ (T, dim) ──▶ temporal filter

The scores come from files, or from any installed acoustic model (entry points `syncdiff_bench.acoustic_models`).
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from syncdiff_bench import registry
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Audio, Clip
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.options import nearest
from syncdiff_bench.origins import foreign

SYMBOLS = 29  # a space, a to z, the apostrophe, and CTC's blank
WINDOW = 16
RATE = 50.0  # rows of scores per second


class AcousticModel(Protocol):
    """A CTC speech recogniser, as far as its character scores go. Registered as a class without arguments.

    rate: rows per second; scores of another rate than 50 are interpolated.
    It may have an `origin` (`syncdiff_bench.origins.Origin`): what it was trained on.
    """

    rate: float

    def logits(self, audio: Audio) -> NDArray[np.float32]:
        """(N,) int16 mono 16 kHz -> (M, 29) scores before the softmax; the blank is the last column."""


class AudioNet(nn.Module):
    """A window of scores to `dim` numbers: four convolutions, two linear layers (docs/spec/difftalk.md#encoders)."""

    def __init__(self, dim: int = 64, symbols: int = SYMBOLS) -> None:
        super().__init__()
        self.symbols = symbols
        widths = (symbols, 32, 32, 64, 64)
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [nn.Conv1d(inside, outside, kernel_size=3, stride=2, padding=1), nn.LeakyReLU(0.02)]
        self.encoder_conv = nn.Sequential(*layers)
        self.encoder_fc1 = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.02), nn.Linear(64, dim))

    def forward(self, windows: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(..., 16, 29) float32 -> (..., dim). padding_mask is not used: a frame is looked at alone."""
        flat = windows.flatten(0, -3).transpose(1, 2)
        encoded: Tensor = self.encoder_fc1(self.encoder_conv(flat).squeeze(-1))
        return encoded.reshape(*windows.shape[:-2], -1)


def score_windows(scores: NDArray[np.float32], n_frames: int, rate: float = RATE) -> NDArray[np.float32]:
    """The 16 rows of scores around each video frame, zeros beyond the ends (AD-NeRF's and VOCA's windows).

    scores: (M, symbols) at `rate` rows per second, interpolated to 50 per second where it is another; missing rows at
        the end repeat the last one, as interpolation there does.
    Returns (n_frames, 16, symbols) float32: frame t sees rows 2 t - 8 .. 2 t + 7.
    """
    rows = np.arange(2 * n_frames) * rate / RATE
    columns = [np.interp(rows, np.arange(len(scores)), column) for column in scores.T]
    even = np.pad(np.stack(columns, axis=1).astype(np.float32), ((WINDOW // 2, WINDOW // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(even, WINDOW, axis=0)[: 2 * n_frames : 2]
    centred: NDArray[np.float32] = windows.transpose(0, 2, 1).copy()
    return centred


def clip_windows(clip: Clip, n_frames: int, logits: str) -> NDArray[np.float32]:
    """(n_frames, 16, 29) float32 of one clip.

    logits: a folder of `<clip id>.npy`, each (M, 29) scores at 50 Hz or ready-made (T, 16, 29) windows; or the name of
        an acoustic model.
    Raises UsageError for neither, ClipError (`features`) where a clip's file is missing or not of that shape.
    """
    if logits and Path(logits).is_dir():
        return _saved_windows(Path(logits) / f"{clip.id}.npy", n_frames)
    if not len(clip.audio):
        raise ClipError("no-audio", "the clip has no audio samples to take features from; give it an audio track")
    model = acoustic_model(logits)
    scores = model.logits(clip.audio)
    if scores.ndim != 2 or scores.shape[1] != SYMBOLS or not len(scores):
        raise ClipError("features", f"acoustic model {logits} gave scores of shape {scores.shape}, expected (M, 29)")
    return score_windows(scores, n_frames, model.rate)


@cache
def acoustic_model(name: str) -> AcousticModel:
    """The installed acoustic model of that name, made once. Raises UsageError where there is none."""
    known = registry.names("acoustic_model")
    if name not in known:
        raise UsageError(
            f"audio.logits={name!r} is neither a folder of scores nor an installed acoustic model"
            f"{nearest(name, known, 'installed')}"
        )
    return cast("AcousticModel", registry.load_class("acoustic_model", name)())


def foreign_recogniser(logits: str, dataset: str, method: str) -> tuple[Caveat, ...]:
    """The caveat of an acoustic model that was trained on other data than `dataset`; none of scores in files."""
    if not logits or Path(logits).is_dir():
        return ()
    return foreign(getattr(acoustic_model(logits), "origin", None), dataset, f"{method} hears by a recogniser")


def _saved_windows(path: Path, n_frames: int) -> NDArray[np.float32]:
    try:
        saved = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ClipError("features", f"{path}: no readable DeepSpeech scores ({error}); compute them again") from None
    if saved.dtype.kind == "f" and len(saved):
        if saved.ndim == 2 and saved.shape[1] == SYMBOLS:
            return score_windows(saved.astype(np.float32), n_frames)
        if saved.ndim == 3 and saved.shape[1:] == (WINDOW, SYMBOLS):
            rows = np.minimum(np.arange(n_frames), len(saved) - 1)
            windows: NDArray[np.float32] = saved[rows].astype(np.float32)
            return windows
    raise ClipError(
        "features",
        f"{path}: scores have shape {saved.shape} of {saved.dtype}, expected (M, 29) at 50 Hz or (T, 16, 29) floats",
    )
