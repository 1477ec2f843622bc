"""Sizes, names and refusals of the AV-HuBERT networks."""

import gzip
from pathlib import Path

import pytest
import torch

from syncdiff_bench.errors import UsageError
from syncdiff_bench.networks.avhubert.config import BASE, LARGE, AVHubertConfig
from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq
from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder, WeightNormConv1d

TENSORS = Path(__file__).parents[1] / "data" / "official" / "tensors"
SMALL = AVHubertConfig(
    encoder_layers=3,
    dim=32,
    ffn_dim=64,
    heads=2,
    conv_pos=8,
    conv_pos_groups=4,
    video=False,
    pretraining_units=0,
    decoder_layers=0,
)


def listed(name: str) -> dict[str, str]:
    """Names and shapes of the tensors of an official file."""
    with gzip.open(TENSORS / f"{name}.gz", "rt", encoding="utf-8") as file:
        return dict(line.split("\t") for line in file.read().splitlines())


def on_meta(network: type[torch.nn.Module], config: AVHubertConfig) -> torch.nn.Module:
    with torch.device("meta"):
        return network(config)


def parameter_count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("network", "config", "count"),
    [
        (AVHubertSeq2Seq, BASE, 160_613_608),
        (AVHubertSeq2Seq, LARGE, 477_332_200),
        (AVHubertEncoder, BASE, 103_133_416),  # TalkLip's audio encoder
    ],
)
def test_parameter_counts_of_the_published_networks(network, config, count):
    assert parameter_count(on_meta(network, config)) == count


@pytest.mark.parametrize(("config", "listing"), [(BASE, "statedict_base.txt"), (LARGE, "statedict_large.txt")])
def test_names_and_shapes_are_those_of_the_official_checkpoints(config, listing):
    official = listed(listing)
    state = on_meta(AVHubertSeq2Seq, config).state_dict()
    ours = {name: str(tuple(tensor.shape)) for name, tensor in state.items()}
    assert ours == official


def test_talklip_names_are_those_of_its_checkpoint():
    prefix = "audio_encoder.w2v_model."
    names = listed("keys_talklip.txt").items()
    official = {name.removeprefix(prefix): shape for name, shape in names if name.startswith(prefix)}
    state = on_meta(AVHubertEncoder, BASE).state_dict()
    assert {name: str(tuple(tensor.shape)) for name, tensor in state.items()} == official


def test_an_audio_encoder_has_no_resnet_and_learns():
    encoder = AVHubertEncoder(SMALL)
    assert not any("video" in name or "label_embs" in name for name, _ in encoder.named_parameters())
    encoder(torch.randn(2, 9, 104)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_padding_does_not_reach_a_clip():
    torch.manual_seed(0)
    encoder = AVHubertEncoder(SMALL).eval()
    audio = torch.randn(1, 6, 104)
    padded = torch.cat([audio, torch.randn(1, 5, 104)], dim=1)
    mask = torch.tensor([[False] * 6 + [True] * 5])
    torch.testing.assert_close(encoder(padded, padding_mask=mask)[:, :6], encoder(audio), atol=1e-5, rtol=1e-5)


def test_weight_norm_equals_torchs_own():
    torch.manual_seed(0)
    conv = WeightNormConv1d(16, 6, 4)
    with torch.no_grad():
        conv.weight_g.mul_(torch.rand(1, 1, 6) + 0.5)
        conv.bias.normal_()
    reference = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv1d(16, 16, 6, padding=3, groups=4), dim=2)
    reference.load_state_dict(
        {
            "bias": conv.bias,
            "parametrizations.weight.original0": conv.weight_g,
            "parametrizations.weight.original1": conv.weight_v,
        }
    )
    x = torch.randn(2, 16, 11)
    torch.testing.assert_close(conv(x), reference(x)[..., :11])


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    encoder = AVHubertEncoder(AVHubertConfig(**{**vars(SMALL), "dropout": 0.5}))
    audio = torch.randn(1, 5, 104)
    assert not torch.equal(encoder(audio), encoder(audio))
    encoder.eval()
    assert torch.equal(encoder(audio), encoder(audio))


def test_misuse_is_told_in_one_line():
    encoder = AVHubertEncoder(SMALL)
    with pytest.raises(UsageError, match="both are None"):
        encoder()
    with pytest.raises(UsageError, match="no video front-end"):
        encoder(video=torch.zeros(1, 1, 2, 88, 88))
    with pytest.raises(UsageError, match=r"3 layers, so 0\.\.4"):
        encoder(torch.zeros(1, 4, 104), stop=4)
    with pytest.raises(UsageError, match="not a multiple of heads 5"):
        AVHubertConfig(heads=5)
