"""A small CTC ASR model: DeepSpeech 0.1's layers, narrower (Hannun et al. 2014; its release for the recurrent layer).

Its features as AD-NeRF and VOCA compute them (docs/spec/difftalk.md#data): 26 MFCC, every second of 100 rows per
second, each with the 9 rows before and after it; normalised over the clip.

DIR/config.json                 RecogniserConfig
DIR/recogniser.safetensors      its tensors
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from syncdiff_bench.contracts import SAMPLE_RATE, Audio, WeightsUsed
from syncdiff_bench.errors import WeightsError
from syncdiff_bench.origins import origin_of
from syncdiff_bench.weights.digests import sha256_of
from syncdiff_bench.weights.loading import save_network
from syncdiff_methods.model_folder import load_part, read_config, write_config
from syncdiff_methods.syncdiff.audio import RATE, SYMBOLS

PRETRAINED = Path(__file__).parent / "pretrained"
TENSORS = "recogniser.safetensors"
COEFFICIENTS = 26
CONTEXT = 9  # rows before and after
INPUTS = COEFFICIENTS * (2 * CONTEXT + 1)
ALPHABET = " abcdefghijklmnopqrstuvwxyz'"  # DeepSpeech's order; CTC's blank follows
BLANK = SYMBOLS - 1
CLIPPED_AT = 20.0  # DeepSpeech's ReLU


@dataclass(frozen=True)
class RecogniserConfig:
    """Size of the network.

    width: of every layer (2048 in DeepSpeech).
    dropout: of the dense layers, in training.
    """

    width: int = 128
    dropout: float = 0.1


class Recogniser(nn.Module):
    """Rows of features to scores of characters."""

    def __init__(self, config: RecogniserConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.before = nn.Sequential(
            *(_dense(INPUTS, width, config)), *(_dense(width, width, config)), *(_dense(width, width, config))
        )
        self.recurrent = nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)
        self.after = nn.Sequential(*_dense(width, width, config), nn.Linear(width, SYMBOLS))

    def forward(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """(B, M, 494) float32 of `context_rows` and their numbers (B,) long -> (B, M, 29) scores before the softmax.

        Rows beyond a clip's own number neither reach the others nor mean anything.
        """
        packed = nn.utils.rnn.pack_padded_sequence(
            self.before(rows), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        heard, _ = nn.utils.rnn.pad_packed_sequence(
            self.recurrent(packed)[0], batch_first=True, total_length=rows.shape[1]
        )
        return self.after(heard)  # type: ignore[no-any-return]


def _dense(inside: int, outside: int, config: RecogniserConfig) -> tuple[nn.Module, ...]:
    return nn.Linear(inside, outside), nn.Hardtanh(0.0, CLIPPED_AT), nn.Dropout(config.dropout)


def coefficients(audio: Audio) -> NDArray[np.float32]:
    """(N,) int16 mono 16 kHz, N >= 1 -> (M, 26) float32 MFCC at 50 Hz, zero mean and unit variance over the clip."""
    from python_speech_features import mfcc

    rows = mfcc(audio, samplerate=SAMPLE_RATE, numcep=COEFFICIENTS)[::2]
    normalised: NDArray[np.float32] = ((rows - rows.mean()) / (rows.std() + 1e-6)).astype(np.float32)
    return normalised


def context_rows(coefficients: Tensor) -> Tensor:
    """(..., M, 26) -> (..., M, 494): each row with its neighbours, zeros beyond the ends."""
    padded = nn.functional.pad(coefficients, (0, 0, CONTEXT, CONTEXT))
    return padded.unfold(-2, 2 * CONTEXT + 1, 1).transpose(-1, -2).flatten(-2)


def symbols_of(text: str) -> list[int]:
    """Indices of the characters of the lower-cased text; what the alphabet lacks is left out."""
    return [ALPHABET.index(character) for character in text.lower() if character in ALPHABET]


def spelled(scores: NDArray[np.float32]) -> str:
    """The likeliest symbol of each row of (M, 29) scores, repetitions and blanks taken out."""
    best = np.asarray(scores).argmax(axis=1)
    kept = best[np.flatnonzero(np.diff(best, prepend=-1))]
    return "".join(ALPHABET[symbol] for symbol in kept if symbol != BLANK)


@torch.inference_mode()
def scores_of(network: Recogniser, audio: Audio) -> NDArray[np.float32]:
    """(N,) int16 mono 16 kHz, N >= 1 -> (M, 29) float32 at 50 Hz. The network is in evaluation mode, on the CPU."""
    rows = context_rows(torch.from_numpy(coefficients(audio)))[None]
    scores: NDArray[np.float32] = network(rows, torch.tensor([rows.shape[1]]))[0].numpy()
    return scores


class PocketRecogniser:
    """One of this kind as an `audio.AcousticModel` (entry-point group `syncdiff_bench.acoustic_models`).

    Without a folder the one that ships, trained on pocket by `syncdiff-bench train acoustics/pocket-acoustics`.
    Raises WeightsError for a folder that holds none.
    """

    rate = RATE

    def __init__(self, folder: Path = PRETRAINED / "pocket") -> None:
        self.origin = origin_of(folder)
        self._network = load_recogniser(folder)
        file = folder / TENSORS
        shipped = folder == PRETRAINED / "pocket"
        self.weights = () if shipped else (WeightsUsed(f"acoustics/{folder.name}", sha256_of(file), file),)

    @classmethod
    def from_pretrained(cls, folder: Path) -> PocketRecogniser:
        """What `train acoustics/...` exported. Raises WeightsError for another folder."""
        return cls(folder)

    def logits(self, audio: Audio) -> NDArray[np.float32]:
        """(N,) int16 mono 16 kHz, N >= 1 -> (M, 29) float32 scores before the softmax, blank last, at 50 Hz."""
        return scores_of(self._network, audio)


def load_recogniser(folder: Path) -> Recogniser:
    """In evaluation mode, on the CPU. Raises WeightsError where the folder holds none."""
    network = Recogniser(read_config(RecogniserConfig, folder, "recogniser", "train it again", WeightsError))
    load_part(network, folder / TENSORS)
    return network.eval()


def save_recogniser(network: Recogniser, folder: Path, *, half: bool) -> None:
    """half: weights as float16, biases as float32."""
    write_config(network.config, folder)
    save_network(network, folder / TENSORS, half=half)
