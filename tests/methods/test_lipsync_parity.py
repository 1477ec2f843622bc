"""Wav2Lip and TalkLip against numbers of the official classes (docs/spec/parity.md#by-name)."""

from __future__ import annotations

import math
import zlib
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from official_files import listed, shapes
from torch import Tensor, nn

from syncdiff_methods.talklip.network import TalkLip
from syncdiff_methods.wav2lip.generator import Wav2Lip
from syncdiff_methods.wav2lip.inference import for_inference

DATA = Path(__file__).parents[1] / "data"


def generator(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)


def uniform(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    drawn: NDArray[np.float32] = generator(f"input:{name}").random_sample(math.prod(shape)).astype(np.float32)
    return drawn.reshape(shape)


def normal(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    drawn: NDArray[np.float32] = generator(f"input:{name}").standard_normal(math.prod(shape)).astype(np.float32)
    return drawn.reshape(shape)


def masked(faces: NDArray[np.float32]) -> Tensor:
    """(N, 6, 96, 96) with the lower half of the first picture zero."""
    faces[:, :3, 48:] = 0
    return torch.from_numpy(faces)


def mel(name: str, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.clip(1.5 * normal(name, shape), -4, 4))


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    """Every eighth pixel of what came out."""
    with np.load(DATA / "wav2lip_golden.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize(("network", "names"), [(Wav2Lip, "keys_wav2lip"), (TalkLip, "keys_talklip")])
def test_tensors_are_the_official_ones(network: type[nn.Module], names: str) -> None:
    with torch.device("meta"):
        assert shapes(network().state_dict()) == listed(names)


def test_wav2lip_draws_what_the_official_generator_draws(
    wav2lip: Wav2Lip, golden: dict[str, NDArray[np.float32]]
) -> None:
    heard, faces = mel("w2l.mel", (4, 1, 80, 16)), masked(uniform("w2l.face", (4, 6, 96, 96)))
    with torch.no_grad():
        np.testing.assert_allclose(wav2lip.audio_encoder(heard)[..., 0, 0], golden["audio_emb"], atol=1e-5)
        np.testing.assert_allclose(wav2lip(heard, faces)[..., ::8, ::8], golden["out"], atol=1e-5)


def test_wav2lip_with_a_time_axis(wav2lip: Wav2Lip, golden: dict[str, NDArray[np.float32]]) -> None:
    heard = mel("w2l.mel5", (2, 5, 1, 80, 16))
    faces = torch.from_numpy(uniform("w2l.face5", (2, 6, 5, 96, 96)))
    with torch.no_grad():
        np.testing.assert_allclose(wav2lip(heard, faces)[..., ::8, ::8], golden["out5"], atol=1e-5)


def test_talklip_draws_what_the_official_generator_draws(talklip: TalkLip) -> None:
    """A padded batch of two clips, 34 faces that hear rows of both."""
    with np.load(DATA / "avhubert_talklip.npz", allow_pickle=False) as file:
        features, padding = torch.from_numpy(file["fbank"]), torch.from_numpy(file["padding_mask"])
    with np.load(DATA / "talklip_golden.npz", allow_pickle=False) as file:
        rows, expected = torch.from_numpy(file["rows"]), file["out"]
    faces = masked(uniform("talklip_tiny.face", (34, 6, 96, 96)))
    with torch.no_grad():
        drawn = talklip(features, faces, rows, padding)
    np.testing.assert_allclose(drawn[..., ::8, ::8], expected, atol=1e-5)


def test_folding_the_norms_changes_nothing(wav2lip: Wav2Lip, golden: dict[str, NDArray[np.float32]]) -> None:
    heard, faces = mel("w2l.mel", (4, 1, 80, 16)), masked(uniform("w2l.face", (4, 6, 96, 96)))
    with torch.inference_mode():
        network = for_inference(deepcopy(wav2lip), "cpu")
        drawn = network(heard, faces)
    np.testing.assert_allclose(drawn[..., ::8, ::8], golden["out"], atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
