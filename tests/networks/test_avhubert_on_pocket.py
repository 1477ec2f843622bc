"""AV-HuBERT against the official code on pocket's clips: file in, features and sentences out.

How the official numbers were made: tests/data/official/README.md. The weights are those of conftest.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import syncdiff_datasets
from syncdiff_bench.contracts import Media
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.networks.avhubert.beam import Hypothesis, beam_search
from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq
from syncdiff_bench.networks.avhubert.features import audio_features
from syncdiff_bench.networks.avhubert.visual import normalise_patches
from syncdiff_metrics.lip_patches import grey_frames, lip_patches

POCKET = Path(syncdiff_datasets.__file__).parent / "pocket" / "data" / "mvlrs_v1" / "main"
DATA = Path(__file__).parents[1] / "data" / "official"
OFFICIAL = json.loads((DATA / "avhubert.json").read_text(encoding="utf-8"))
CLIPS = tuple(name for name in OFFICIAL if name != "batch")
FIRST_CLIP = [CLIPS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in CLIPS[1:])]
SEARCHES = [("tiny_c", beam) for beam in ("1", "5", "20", "50", "5_lenpen0")]
SEARCHES += [(weights, beam) for weights in ("tiny", "tiny_b_V12") for beam in ("5", "5_lenpen0")]

Arrays = Mapping[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """`audio104` whole, of the encoder's outputs every fourth column."""
    with np.load(DATA / "avhubert.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def media() -> dict[str, Media]:
    return {name: read_media(POCKET / f"{name}.mp4") for name in CLIPS}


@pytest.fixture(scope="module")
def seen(tiny: AVHubertSeq2Seq, media: dict[str, Media]) -> Callable[[str], Tensor]:
    """What the encoder, the same one in all three models, makes of the frames of a clip: (1, T, 64)."""

    @cache
    def encoded(name: str) -> Tensor:
        with torch.no_grad():
            return tiny.encode(video=video_input(media[name]))

    return encoded


@pytest.fixture(scope="module")
def batch(tiny: AVHubertSeq2Seq, media: dict[str, Media]) -> tuple[Tensor, Tensor]:
    """(3, T, 64) and the mask of what is padding, (3, T): all clips at once."""
    lengths = [len(media[name].frames) for name in OFFICIAL["batch"]["clips"]]
    video = torch.zeros(len(lengths), 1, max(lengths), 88, 88)
    for row, name in enumerate(OFFICIAL["batch"]["clips"]):
        video[row, :, : lengths[row]] = video_input(media[name])[0]
    mask = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
    with torch.no_grad():
        return tiny.encode(video=video, padding_mask=mask), mask


def video_input(media: Media) -> Tensor:
    """(1, 1, T, 88, 88)."""
    return normalise_patches(lip_patches(media.frames, "native", 88))[None, None]


def sha256(array: NDArray[np.uint8]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def assert_sentences(ours: list[Hypothesis], official: list[list[Any]]) -> None:
    """The best of the official search, in its order."""
    best = ours[: len(official)]
    assert [list(one.tokens) for one in best] == [tokens for tokens, _ in official]
    np.testing.assert_allclose([one.score for one in best], [score for _, score in official], rtol=2e-6)


@pytest.mark.parametrize("name", CLIPS)
def test_patches_are_the_official_ones_to_the_bit(name: str, media: dict[str, Media]) -> None:
    assert sha256(grey_frames(media[name].frames)) == OFFICIAL[name]["grey_sha256"]
    assert sha256(lip_patches(media[name].frames, "native", 88).numpy()) == OFFICIAL[name]["patches_sha256"]
    first = video_input(media[name]).flatten()[:8].tolist()
    assert first == pytest.approx(OFFICIAL[name]["input_first8"], abs=1e-6)


@pytest.mark.parametrize("name", CLIPS)
def test_audio_features(name: str, media: dict[str, Media], arrays: Arrays) -> None:
    """Two decoders of AAC round some samples in 35,000 otherwise, which quiet bands show. The last row also hears the
    padding that AAC puts behind the track; it is cut off here.
    """
    ours = audio_features(media[name].audio, len(media[name].frames))
    difference = np.abs(ours - arrays[f"{name}|audio104"])[:-1]
    assert np.quantile(difference, 0.95) < 2e-5
    assert difference.max() < 4e-3


@pytest.mark.parametrize("name", FIRST_CLIP)
def test_features_of_the_pictures(name: str, seen: Callable[[str], Tensor], arrays: Arrays) -> None:
    np.testing.assert_allclose(seen(name)[0, :, ::4], arrays[f"{name}|encoder_v"], atol=1e-5)


@pytest.mark.parametrize("name", FIRST_CLIP)
@pytest.mark.parametrize("streams", ["a", "va"])
def test_features_of_the_sound(
    name: str, streams: str, tiny: AVHubertSeq2Seq, media: dict[str, Media], arrays: Arrays
) -> None:
    """Alone and with the pictures, of the official rows: every row of the outcome hears all of them, the last too."""
    heard = torch.from_numpy(arrays[f"{name}|audio104"])[None]
    pictures = video_input(media[name]) if "v" in streams else None
    with torch.no_grad():
        ours = tiny.encode(audio=heard, video=pictures)[0, :, ::4]
    np.testing.assert_allclose(ours, arrays[f"{name}|encoder_{streams}"], atol=1e-5)


@pytest.mark.parametrize("name", FIRST_CLIP)
@pytest.mark.parametrize(("weights", "search"), SEARCHES)
def test_sentences(
    name: str, weights: str, search: str, models: dict[str, AVHubertSeq2Seq], seen: Callable[[str], Tensor]
) -> None:
    beam, _, lenpen0 = search.partition("_")
    (found,) = beam_search(models[weights].decoder, seen(name), beam=int(beam), lenpen=0 if lenpen0 else 1)
    assert_sentences(found, OFFICIAL[name]["beams"][weights][search])


@pytest.mark.slow
def test_features_of_a_padded_batch(batch: tuple[Tensor, Tensor], arrays: Arrays) -> None:
    """Every second row of each clip; what stands behind the end of a clip means nothing."""
    features, mask = batch
    kept = ~mask[:, ::2]
    np.testing.assert_allclose(features[:, ::2, ::4][kept], arrays["batch|encoder_v"][kept], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["tiny", "tiny_c"])
def test_sentences_of_a_padded_batch(
    weights: str, models: dict[str, AVHubertSeq2Seq], batch: tuple[Tensor, Tensor]
) -> None:
    """Under the official cap, the length of the longest clip."""
    features, mask = batch
    found = beam_search(models[weights].decoder, features, mask, beam=5, max_lengths=[mask.shape[1]] * len(mask))
    for ours, official in zip(found, OFFICIAL["batch"][weights], strict=True):
        assert_sentences(ours, official)
