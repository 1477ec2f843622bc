"""Where the frozen layers come from: an AV-HuBERT file, or another SyncDiff."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_networks import SYNCDIFF

from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder
from syncdiff_methods.syncdiff.audio import AudioCondition
from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_methods.syncdiff.training import fill_encoder

AUDIO = replace(SYNCDIFF.audio, frozen_layers=1)


def fairseq_file(path: Path, **changes: int) -> dict[str, torch.Tensor]:
    """A pre-trained AV-HuBERT as fairseq saves it: audio, video, and what only pre-training reads."""
    torch.manual_seed(1)
    sizes = {"encoder_layers": 2, "dim": 16, "ffn_dim": 32, "heads": 2, "conv_pos": 4, "conv_pos_groups": 2, **changes}
    config = AVHubertConfig(video=True, resnet_width=4, pretraining_units=6, decoder_layers=0, **sizes)
    tensors = AVHubertEncoder(config).state_dict()
    head = {"final_proj.weight": torch.zeros(3, 16)}
    cfg = {"model": {"encoder_attention_heads": 2}, "task": {}}
    torch.save({"cfg": cfg, "model": {**tensors, **head}}, path)
    return tensors


def test_the_audio_path_of_a_published_file(tmp_path: Path) -> None:
    tensors = fairseq_file(tmp_path / "base.pt")
    condition = AudioCondition(AUDIO)
    fill_encoder(condition, str(tmp_path / "base.pt"))
    for name, tensor in condition.encoder.state_dict().items():
        assert torch.equal(tensor, tensors[name]), name


def test_other_sizes_are_refused_by_name(tmp_path: Path) -> None:
    fairseq_file(tmp_path / "deep.pt", encoder_layers=3)
    with pytest.raises(WeightsError, match=r"deep\.pt does not fit AVHubertEncoder: encoder\.layers\.2\."):
        fill_encoder(AudioCondition(AUDIO), str(tmp_path / "deep.pt"))


def test_the_encoder_of_another_model(tmp_path: Path) -> None:
    model = SyncDiffModel(SYNCDIFF)
    model.save_pretrained(tmp_path / "model")
    condition = AudioCondition(AUDIO)
    fill_encoder(condition, str(tmp_path / "model"))
    for name, tensor in condition.encoder.state_dict().items():
        assert torch.equal(tensor, model.audio.encoder.state_dict()[name]), name


def test_an_unknown_encoder_is_told() -> None:
    with pytest.raises(UsageError, match="no audio encoder 'hubert'; give an AV-HuBERT checkpoint"):
        fill_encoder(AudioCondition(AUDIO), "hubert")
