"""Networks with the weights of the official numbers, made from names; a few clips, a small autoencoder, threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from official_files import fill_by_name

from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.syncdiff.config import AutoencoderConfig
from syncdiff_methods.syncdiff.model import Autoencoder, save_autoencoder
from syncdiff_methods.talklip.network import TalkLip
from syncdiff_methods.wav2lip.generator import Wav2Lip

TINY = AVHubertConfig(encoder_layers=2, dim=96, ffn_dim=192, heads=4, conv_pos=16, conv_pos_groups=4, decoder_layers=0)


class FewClips(Pocket):
    """The first clips of pocket's test split."""

    count = 3

    def clip_ids(self, split: str) -> tuple[str, ...]:
        return super().clip_ids(split)[: self.count]


@pytest.fixture(scope="module")
def few_clips(request: pytest.FixtureRequest) -> Iterator[None]:
    """Trainings read the first three clips of pocket's test split (the module's CLIPS of them), whatever they name."""
    dataset = FewClips()
    dataset.count = getattr(request.module, "CLIPS", 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("syncdiff_bench.plugins.load_dataset", lambda *_: dataset)
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `vq`, a small autoencoder of random weights; caches go there too."""
    folder = tmp_path_factory.mktemp("home")
    torch.manual_seed(0)
    config = AutoencoderConfig(channels=(8, 8, 8), layers_per_block=1, codes=16, norm_groups=1, mid_attention=False)
    save_autoencoder(Autoencoder(config), config, 32, folder / "vq")
    return folder


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads, put back after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def wav2lip() -> Wav2Lip:
    network = Wav2Lip().eval()
    fill_by_name(network)
    return network


@pytest.fixture(scope="session")
def talklip() -> TalkLip:
    network = TalkLip(TINY).eval()
    fill_by_name(network)
    return network
