"""Wav2Lip and TalkLip against the official scripts on pocket: video file and boxes in, frames out.

How the official numbers were made: tests/data/official/README.md. The networks are those of conftest.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import syncdiff_datasets
from syncdiff_bench.contracts import Clip, Media
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.media.writing import write_video
from syncdiff_methods.talklip.method import TalkLip, TalkLipOptions
from syncdiff_methods.talklip.network import TalkLip as TalkLipNetwork
from syncdiff_methods.wav2lip.generator import Wav2Lip as Generator
from syncdiff_methods.wav2lip.inference import for_inference
from syncdiff_methods.wav2lip.mel import mel_spectrogram
from syncdiff_methods.wav2lip.method import Wav2Lip, Wav2LipOptions

POCKET = Path(syncdiff_datasets.__file__).parent / "pocket" / "data" / "mvlrs_v1"
DATA = Path(__file__).parents[1] / "data" / "official" / "lipsync.npz"
WHOLE = "3000000000000000005/00001"
SHORT = 14  # frames of the copy
# what is stored: every fifth frame of the copy, every twelfth of the whole clip, of them every third row and column
STEPS = {"short": 5, "small": 5, "whole": 12}

WAV2LIP: dict[str, dict[str, Any]] = {
    "default": {},
    "nosmooth": {"pads": (0, 0, 0, 0), "smooth": False},
    "pads": {"pads": (3, 5, 7, 2)},
}


def short_copy(folder: Path, name: str = "short") -> Clip:
    """The first frames of a clip without loss, a sound that no codec rounds, and boxes that tremble.

    `small`: half the box, so that a mouth has to shrink from the network's 96 pixels.
    """
    frames = read_media(POCKET / "main" / f"{WHOLE}.mp4").frames[:SHORT]
    t = np.arange(640 * SHORT) / 16_000
    tones = 9000 * np.sin(2 * np.pi * (200 * t + 900 * t * t)) * np.sin(2 * np.pi * 4 * t) ** 2
    noise = 700 * np.random.RandomState(4).standard_normal(len(t))
    write_video(folder / f"{name}.mp4", Media(frames, np.round(tones + noise).astype(np.int16)))
    boxes = np.load(POCKET / "boxes" / f"{WHOLE}.npy")[:SHORT].astype(np.int32)
    if name == "small":
        boxes = boxes // 2 + 40
    np.save(folder / f"{name}.npy", boxes + np.random.RandomState(3).randint(-7, 8, boxes.shape))
    return Clip(name, "pocket", folder / f"{name}.mp4", boxes_path=folder / f"{name}.npy")


def whole_clip() -> Clip:
    return Clip(WHOLE, "pocket", POCKET / "main" / f"{WHOLE}.mp4", boxes_path=POCKET / "boxes" / f"{WHOLE}.npy")


def made_to_listen(network: Any) -> Any:
    """Filled networks hardly hear anything: what comes out of the sound is made eight times as large."""
    hearing = network.audio_map if hasattr(network, "audio_map") else network.audio_encoder[-1].conv_block[1]
    for parameter in (hearing.weight, hearing.bias):
        parameter.data.mul_(8)
    return network


@pytest.fixture(scope="module")
def official() -> Mapping[str, NDArray[Any]]:
    with np.load(DATA, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clip]:
    folder = tmp_path_factory.mktemp("copies")
    return {"short": short_copy(folder), "small": short_copy(folder, "small"), "whole": whole_clip()}


@pytest.fixture(scope="module")
def wav2lip_inference(wav2lip: Generator) -> Generator:
    return for_inference(made_to_listen(deepcopy(wav2lip)), "cpu")


@pytest.fixture(scope="module")
def talklip_inference(talklip: TalkLipNetwork) -> TalkLipNetwork:
    return for_inference(made_to_listen(deepcopy(talklip)), "cpu")


def cut_to(frames: int, clip: Clip, folder: Path) -> Clip:
    """The first `frames` of a clip, with all its sound: inference.py drops what its spectrogram has no window for."""
    np.save(folder / "boxes.npy", np.load(clip.boxes_path)[:frames])  # type: ignore[arg-type]
    media = replace(clip.media, frames=clip.media.frames[:frames], planes=None)
    return Clip(clip.id, clip.dataset, clip.path, boxes_path=folder / "boxes.npy", preloaded=media)


def differences(ours: NDArray[np.uint8], official: Mapping[str, NDArray[Any]], name: str, whole: str) -> NDArray[Any]:
    """Of the grey levels of the stored pixels; ours are RGB, the official frames BGR."""
    assert len(ours) == official[f"{name}|frames"]
    stored = ours[:: STEPS[whole], ::3, ::3, ::-1]
    return np.abs(stored.astype(int) - official[name])


@pytest.mark.parametrize(
    ("which", "options"),
    [
        *(("short", name) for name in WAV2LIP),
        ("small", "default"),
        pytest.param("whole", "default", marks=pytest.mark.slow),
    ],
)
def test_wav2lip_draws_what_inference_py_draws(
    which: str,
    options: str,
    clips: dict[str, Clip],
    wav2lip_inference: Generator,
    official: Mapping[str, NDArray[Any]],
    tmp_path: Path,
) -> None:
    """Its boxes are padded and smoothed, its mouths pasted; a rounding may fall on the other side of a grey level.

    The official sound of the whole clip ends with AAC's padding, which the very last windows hear.
    """
    name = f"wav2lip|{which}|{options}"
    clip = cut_to(int(official[f"{name}|frames"]), clips[which], tmp_path)
    method = Wav2Lip(Wav2LipOptions(reference="same", **WAV2LIP[options]))
    method.__dict__["generator"] = wav2lip_inference  # the cached property, filled by hand
    ((_, ours),) = method.generate([clip], seed=0)
    assert isinstance(ours, np.ndarray)
    difference = differences(ours, official, name, which)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 2e-4


@pytest.mark.parametrize(
    ("which", "largest", "share"),
    [("short", 1, 2e-4), ("small", 1, 2e-4), pytest.param("whole", 1, 0.03, marks=pytest.mark.slow)],
)
def test_talklip_draws_what_inf_test_py_draws(
    which: str,
    largest: int,
    share: float,
    clips: dict[str, Clip],
    talklip_inference: TalkLipNetwork,
    official: Mapping[str, NDArray[Any]],
) -> None:
    """Every frame hears the whole sound, so all of the whole clip hear AAC's padding behind the official one."""
    method = TalkLip(TalkLipOptions())
    method.__dict__["network"] = talklip_inference
    ((_, ours),) = method.generate([clips[which]], seed=0)
    assert isinstance(ours, np.ndarray)
    difference = differences(ours, official, f"talklip|{which}", which)
    assert difference.max() <= largest
    assert (difference > 0).mean() < share


@pytest.mark.parametrize("which", ["short", "whole"])
def test_the_mel_spectrogram_is_librosas(
    which: str, clips: dict[str, Clip], official: Mapping[str, NDArray[np.float32]]
) -> None:
    """Every fourth band. Of the whole clip, up to the columns that hear AAC's padding; decoders of AAC round some
    samples otherwise, which quiet bands show.
    """
    ours, expected = mel_spectrogram(clips[which].audio)[::4], official[f"mel|{which}"]
    if which == "short":
        np.testing.assert_allclose(ours, expected, atol=2e-6)
    else:
        difference = np.abs(ours[:, :-3] - expected[:, : ours.shape[1] - 3])
        assert np.quantile(difference, 0.95) < 2e-4
        assert difference.max() < 0.01
