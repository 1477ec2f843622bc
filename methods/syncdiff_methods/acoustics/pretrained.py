"""The recogniser that ships, as an acoustic model (entry-point group `syncdiff_bench.acoustic_models`).

DIR/config.json                 network.RecogniserConfig
DIR/recogniser.safetensors      its tensors
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Audio
from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.options import options_from_values
from syncdiff_bench.origins import origin_of
from syncdiff_bench.weights.loading import check_state_dict, load_tensors, save_network
from syncdiff_methods.acoustics.network import Recogniser, RecogniserConfig, scores_of
from syncdiff_methods.syncdiff.deepspeech import RATE

PRETRAINED = Path(__file__).parent / "pretrained"
CONFIG, TENSORS = "config.json", "recogniser.safetensors"


class PocketRecogniser:
    """A `deepspeech.AcousticModel`, trained on pocket by `syncdiff-bench train acoustics/pocket-acoustics`."""

    rate = RATE

    def __init__(self) -> None:
        self.origin = origin_of(PRETRAINED / "pocket")
        self._network = load_recogniser(PRETRAINED / "pocket")

    def logits(self, audio: Audio) -> NDArray[np.float32]:
        """(N,) int16 mono 16 kHz, N >= 1 -> (M, 29) float32 scores before the softmax, blank last, at 50 Hz."""
        return scores_of(self._network, audio)


def load_recogniser(folder: Path) -> Recogniser:
    """In evaluation mode, on the CPU. Raises WeightsError where the folder holds no recogniser."""
    path = folder / CONFIG
    try:
        config = options_from_values(RecogniserConfig, json.loads(path.read_text()), str(path))
    except (OSError, ValueError, UsageError) as error:
        raise WeightsError(f"{path}: not a readable recogniser ({error}); train it again") from None
    network = Recogniser(config)
    check_state_dict(network, load_tensors(folder / TENSORS, float32=True), str(folder / TENSORS))
    return network.eval()


def save_recogniser(network: Recogniser, folder: Path, *, half: bool) -> None:
    """half: weights as float16, biases as float32."""
    save_network(network, folder / TENSORS, half=half)
    (folder / CONFIG).write_text(json.dumps(asdict(network.config), indent=1) + "\n")
