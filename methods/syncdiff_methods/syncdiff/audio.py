"""Audio condition: features, then the learnable temporal filter, one token per frame (paper 3.2).

    AV-HuBERT    log-mel (T, 104) ──▶ AVHubertEncoder ──▶ (T, dim) ──▶ temporal filter ──▶ tokens (T, dim)
    DeepSpeech   character scores (M, 29) at 50 Hz ──▶ windows (T, 16, 29) ──▶ AudioNet ──▶ (T, dim) ──▶ temporal filter

DeepSpeech features are DiffTalk's, and those of SyncDiff's DS row (docs/spec/difftalk.md#data). The scores come from
files, from any installed acoustic model (entry points `syncdiff_bench.acoustic_models`), or from one that was trained
here, by its folder.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from syncdiff_bench import registry
from syncdiff_bench.arrays import load_array
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Audio, Clip, WeightsUsed
from syncdiff_bench.errors import ClipError, UsageError, WeightsError
from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder
from syncdiff_bench.networks.avhubert.features import audio_features
from syncdiff_bench.options import nearest
from syncdiff_bench.origins import foreign
from syncdiff_methods.model_folder import CONFIG
from syncdiff_methods.syncdiff.config import AudioConfig

SYMBOLS = 29  # a space, a to z, the apostrophe, and CTC's blank
WINDOW = 16
RATE = 50.0  # rows of scores per second


class TemporalFilter(nn.Module):
    """Attention over a window of audio frames (Neural Voice Puppetry's AudioAttNet; docs/spec/difftalk.md#encoders).

    Five convolutions over time reduce the features to one channel, a linear layer and a softmax turn that into one
    weight per frame of the window, and the token is the weighted sum of the features.

    attended: how many of the features, the first ones, decide the weights; None for all (DiffTalk: 32 of its 64).
    """

    def __init__(self, dim: int, window: int, attended: int | None = None) -> None:
        super().__init__()
        self.window = window
        self.attended = dim if attended is None else attended
        widths = (self.attended, 16, 8, 4, 2, 1)
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [nn.Conv1d(inside, outside, kernel_size=3, padding=1), nn.LeakyReLU(0.02)]
        self.attention_conv = nn.Sequential(*layers)
        self.attention_net = nn.Sequential(nn.Linear(window, window), nn.Softmax(dim=1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, window, dim) -> (B, dim)."""
        attended = features[..., : self.attended].transpose(1, 2)
        weights = self.attention_net(self.attention_conv(attended).squeeze(1))
        return torch.einsum("bw,bwd->bd", weights, features)


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


class AudioCondition(nn.Module):
    """Audio features of a clip -> (T, dim), row t the condition token of frame t.

    Features (`clip_features`) are (T, 104) for AV-HuBERT and (T, 16, 29) for DeepSpeech.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config)
        self.filter = TemporalFilter(config.dim, config.window) if config.window > 1 else None
        if isinstance(self.encoder, AVHubertEncoder):
            _freeze(self.encoder, config.frozen_layers)

    def forward(self, features: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Tokens of whole clips: (B, T, 104) float32 and (B, T) bool (True: padding) -> (B, T, dim)."""
        return self.tokens(self.encode(self.frozen_activations(features), padding_mask))

    @torch.no_grad()
    def frozen_activations(self, features: Tensor) -> Tensor:
        """What enters the first trained layer, constant over a training: (B, T, 104) of whole clips -> (B, T, dim).

        With NF = 0, and with DeepSpeech, nothing is constant and `features` come back as they are.
        """
        if not isinstance(self.encoder, AVHubertEncoder) or self.config.frozen_layers == 0:
            return features
        return self.encoder(features, stop=self.config.frozen_layers)  # type: ignore[no-any-return]

    def encode(self, activations: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """The rest of the encoder, on what `frozen_activations` gives: (B, T, dim), zero on padding."""
        frozen = self.config.frozen_layers
        if isinstance(self.encoder, AVHubertEncoder) and frozen > 0:
            encoded = self.encoder.final_norm(self.encoder.run_layers(activations, frozen, None, padding_mask))
        else:
            encoded = self.encoder(activations, padding_mask=padding_mask)
        return encoded if padding_mask is None else encoded.masked_fill(padding_mask.unsqueeze(-1), 0.0)

    def tokens_at(self, activations: Tensor, padding_mask: Tensor, frames: Tensor) -> Tensor:
        """Tokens of one frame per clip, `frames` (B,) long: (B, dim). What a training step needs.

        activations: (B, T, dim) of `frozen_activations`.
        """
        encoded = self.encode(activations, padding_mask)
        rows = torch.arange(len(frames), device=frames.device)
        if self.filter is None:
            return encoded[rows, frames]
        windows = around(encoded, self.config.window)
        return self.filter(windows[rows, frames])  # type: ignore[no-any-return]

    def tokens(self, encoded: Tensor) -> Tensor:
        """(B, T, dim) encoder output -> (B, T, dim) filtered over the window around each frame."""
        if self.filter is None:
            return encoded
        windows = around(encoded, self.config.window)
        return self.filter(windows.flatten(0, 1)).unflatten(0, windows.shape[:2])  # type: ignore[no-any-return]


def around(rows: Tensor, count: int) -> Tensor:
    """(B, T, dim) -> (B, T, count, dim): rows t - count / 2 .. t + count / 2 - 1, zeros beyond the ends."""
    before = count // 2
    padded = F.pad(rows, (0, 0, before, count - 1 - before))
    return padded.unfold(1, count, 1).transpose(2, 3)


def build_encoder(config: AudioConfig) -> AVHubertEncoder | AudioNet:
    """The network that turns features into `dim` numbers per frame."""
    if config.features == "deepspeech":
        return AudioNet(config.dim)
    return AVHubertEncoder(
        AVHubertConfig(
            encoder_layers=config.layers,
            dim=config.dim,
            ffn_dim=config.ffn_dim,
            heads=config.heads,
            conv_pos=config.position_kernel,
            conv_pos_groups=config.position_groups,
            video=False,
            pretraining_units=0,
            decoder_layers=0,
        )
    )


def _freeze(encoder: AVHubertEncoder, layers: int) -> None:
    """NF > 0 freezes the first NF layers and all below them; NF of all layers freezes the final norm too."""
    if layers == 0:
        return
    transformer = encoder.encoder
    encoder.requires_grad_(False)
    for layer in transformer.layers[layers:]:
        layer.requires_grad_(True)
    transformer.layer_norm.requires_grad_(layers < len(transformer.layers))


# ---------------------------------------------------------------------- features of a clip


def clip_features(clip: Clip, config: AudioConfig) -> NDArray[np.float32]:
    """One row per video frame: (T, 104) log-mel rows for AV-HuBERT, (T, 16, 29) score windows for DeepSpeech.

    Raises ClipError where the clip has no audio or no scores.
    """
    n_frames = len(clip.frames)
    if config.features == "deepspeech":
        return clip_windows(clip, n_frames, config.logits)
    return audio_features(clip.audio, n_frames)


class AcousticModel(Protocol):
    """A CTC ASR model, as far as its character scores go. Registered as a class without arguments.

    rate: rows per second; scores of another rate than 50 are interpolated.
    It may have an `origin` (`syncdiff_bench.origins.Origin`): what it was trained on; and a class method
    `from_pretrained(folder)` that loads what `train` made of its kind, with its `weights` (`WeightsUsed`), and raises
    WeightsError for another folder.
    """

    rate: float

    def logits(self, audio: Audio) -> NDArray[np.float32]:
        """(N,) int16 mono 16 kHz -> (M, 29) scores before the softmax; the blank is the last column."""


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

    logits: a folder of `<clip id>.npy`, each (M, 29) scores at 50 Hz or ready-made (T, 16, 29) windows; or an acoustic
        model, by its name or the folder that it was trained into.
    Raises UsageError for neither, ClipError (`features`) where a clip's file is missing or not of that shape.
    """
    if not heard_by_model(logits):
        return _saved_windows(Path(logits) / f"{clip.id}.npy", n_frames)
    if not len(clip.audio):
        raise ClipError("no-audio", "the clip has no audio samples to take features from; give it an audio track")
    model = acoustic_model(logits)
    scores = model.logits(clip.audio)
    if scores.ndim != 2 or scores.shape[1] != SYMBOLS or not len(scores):
        raise ClipError("features", f"acoustic model {logits} gave scores of shape {scores.shape}, expected (M, 29)")
    return score_windows(scores, n_frames, model.rate)


def heard_by_model(logits: str) -> bool:
    """Whether `logits` stands for an acoustic model, and not for a folder of scores."""
    folder = Path(logits)
    return not logits or not folder.is_dir() or (folder / CONFIG).is_file()


@cache
def acoustic_model(which: str) -> AcousticModel:
    """An installed acoustic model by its name, or a trained one by its folder; loaded once.

    Raises UsageError where there is none, WeightsError where no installed kind reads the folder.
    """
    known = registry.names("acoustic_model")
    if which in known:
        return cast("AcousticModel", registry.load_class("acoustic_model", which)())
    if not which or not (Path(which) / CONFIG).is_file():
        raise UsageError(
            f"audio.logits={which!r} is neither a folder (of scores, or of a trained acoustic model) nor an installed"
            f" acoustic model{nearest(which, known, 'installed')}"
        )
    reasons = []
    for name in known:
        kind = registry.load_class("acoustic_model", name)
        if hasattr(kind, "from_pretrained"):
            try:
                return cast("AcousticModel", kind.from_pretrained(Path(which)))
            except WeightsError as error:
                reasons.append(str(error))
    raise WeightsError("; ".join(reasons) or f"{which}: no installed acoustic model reads folders")


def acoustic_weights(logits: str) -> tuple[WeightsUsed, ...]:
    """Of an acoustic model that is given by its folder; a name stands for the version of its package."""
    return getattr(acoustic_model(logits), "weights", ()) if logits and heard_by_model(logits) else ()


def foreign_acoustic_model(logits: str, dataset: str, method: str) -> tuple[Caveat, ...]:
    """The caveat of an acoustic model that was trained on other data than `dataset`; none of scores in files."""
    if not logits or not heard_by_model(logits):
        return ()
    return foreign(getattr(acoustic_model(logits), "origin", None), dataset, f"{method} hears by an ASR model")


def _saved_windows(path: Path, n_frames: int) -> NDArray[np.float32]:
    try:
        saved = load_array(path)
    except (OSError, ValueError) as error:
        raise ClipError("features", f"{path}: no readable DeepSpeech scores ({error}); compute them again") from None
    if saved.dtype.kind == "f" and saved.size:
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
