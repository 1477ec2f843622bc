"""SyncNet against the official network: names and shapes of its state dict, MFCC, embeddings."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from tiny_networks import filled_syncnet
from torch import Tensor

from syncdiff_bench.errors import WeightsError
from syncdiff_bench.networks.syncnet import (
    SyncNet,
    SyncNetConfig,
    embed_frames,
    embed_mfcc,
    load_syncnet,
    mfcc,
    prepare_for_inference,
)

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "syncnet_golden.npz")
WINDOWS = 15


def golden_audio() -> np.ndarray:
    n = np.arange(32_000)
    tones = 8000 * np.sin(2 * np.pi * 220 * n / 16000) + 4000 * np.sin(2 * np.pi * (440 + 0.05 * n) * n / 16000)
    return np.round(tones).astype(np.int16)


def golden_frames() -> np.ndarray:
    y, x = np.mgrid[:224, :224]
    waves = [[127.5 + 100 * np.sin(0.03 * y + 0.02 * x + 0.4 * t + c) for c in range(3)] for t in range(20)]
    return np.round(np.moveaxis(np.array(waves), 1, 3)).astype(np.uint8)


def written(tensors: dict[str, Tensor], folder: Path) -> Path:
    torch.save(tensors, folder / "file.pth")
    return folder / "file.pth"


@pytest.fixture(scope="module")
def network() -> SyncNet:
    golden = SyncNet()
    golden.load_state_dict(filled_syncnet())
    return prepare_for_inference(golden, "cpu")


def test_state_dict_is_the_published_one():
    ours = {key: str(tuple(value.shape)) for key, value in SyncNet().state_dict().items()}
    assert ours == dict(zip(GOLDEN["keys"].tolist(), GOLDEN["shapes"].tolist(), strict=True))
    assert sum(p.numel() for p in SyncNet().parameters()) == 13_631_616


def test_mfcc_equals_the_official_features():
    assert_allclose(mfcc(golden_audio()), GOLDEN["mfcc"], rtol=1e-9, atol=1e-9)


def test_embeddings_equal_the_official_ones(network: SyncNet):
    lips = embed_frames(network, golden_frames(), WINDOWS, batch=20)
    sound = embed_mfcc(network, mfcc(golden_audio()), WINDOWS, batch=20)
    assert lips.shape == sound.shape == (WINDOWS, 1024)
    for ours, official in ((lips, GOLDEN["lip"]), (sound, GOLDEN["aud"])):
        assert_allclose(ours[::2, ::8], official, rtol=0, atol=1e-5 * np.abs(official).max())


def test_batches_change_nothing_but_rounding():
    torch.manual_seed(0)
    network = prepare_for_inference(SyncNet(SyncNetConfig(width=1 / 16, embedding=32)), "cpu")
    frames, features = golden_frames()[:12], mfcc(golden_audio())
    for whole, parts in (
        (embed_frames(network, frames, 8, batch=20), embed_frames(network, frames, 8, batch=3)),
        (embed_mfcc(network, features, 8, batch=20), embed_mfcc(network, features, 8, batch=3)),
    ):
        assert_allclose(whole, parts, rtol=0, atol=1e-5 * float(whole.abs().max()))


def test_a_clip_in_one_pass_equals_its_windows_one_by_one():
    torch.manual_seed(0)
    small = SyncNet(SyncNetConfig(width=1 / 32, embedding=8)).eval()
    clip = torch.rand(1, 3, 7, 224, 224)
    windows = torch.cat([clip[:, :, start : start + 5] for start in range(3)])
    with torch.no_grad():
        assert_allclose(small.embed_lips(clip), small.embed_lips(windows), rtol=0, atol=1e-6)


@pytest.mark.parametrize("width", [1 / 64, 3 / 64, 0.125, 0.25])
def test_a_narrow_network_comes_back_from_its_own_tensors(width: float, tmp_path: Path):
    saved = SyncNet(SyncNetConfig(width, embedding=32))
    loaded = load_syncnet(written(saved.state_dict(), tmp_path))
    assert loaded.config == saved.config
    assert not loaded.training
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in saved.state_dict().items())


def test_a_file_without_batch_counters_loads(tmp_path: Path):
    tensors = SyncNet(SyncNetConfig(1 / 64)).state_dict()
    without = {key: value for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    assert len(without) == len(tensors) - 14
    load_syncnet(written(without, tmp_path))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"netcnnlip.4.weight": None}, "netcnnlip.4.weight is missing"),
        ({"module.netcnnlip.4.weight": torch.zeros(1)}, "module.netcnnlip.4.weight is unexpected"),
        ({"netfclip.3.bias": torch.zeros(7)}, r"netfclip.3.bias has shape \(7,\) instead of \(16,\)"),
        ({"netcnnaud.0.weight": None}, "no usable netcnnaud.0.weight"),
    ],
)
def test_another_network_is_refused_by_name(change: dict[str, Tensor | None], complaint: str, tmp_path: Path):
    tensors = {**SyncNet(SyncNetConfig(1 / 64, embedding=16)).state_dict(), **change}
    with pytest.raises(WeightsError, match=f"^{tmp_path}/file.pth .*{complaint}") as caught:
        load_syncnet(written({k: v for k, v in tensors.items() if v is not None}, tmp_path))
    assert not re.search("\n", str(caught.value))
