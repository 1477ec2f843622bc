"""Sizes, names and refusals of the AV-HuBERT networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from official_files import listed, shapes
from tiny_networks import BASE, LARGE, avhubert

from syncdiff_bench.errors import UsageError
from syncdiff_bench.networks.avhubert.beam import beam_search
from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq
from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder, Streams, encode_clips
from syncdiff_bench.networks.inference import padded_batches

SMALL = avhubert(encoder_layers=3, ffn_dim=64, heads=2, video=False)


def on_meta(network: type[torch.nn.Module], config: AVHubertConfig) -> torch.nn.Module:
    with torch.device("meta"):
        return network(config)


@pytest.mark.parametrize(("config", "listing"), [(BASE, "statedict_base"), (LARGE, "statedict_large")])
def test_names_and_shapes_are_those_of_the_official_checkpoints(config, listing):
    assert shapes(on_meta(AVHubertSeq2Seq, config).state_dict()) == listed(listing)


def test_talklip_names_are_those_of_its_checkpoint():
    prefix = "audio_encoder.w2v_model."
    names = listed("keys_talklip").items()
    official = {name.removeprefix(prefix): shape for name, shape in names if name.startswith(prefix)}
    assert shapes(on_meta(AVHubertEncoder, BASE).state_dict()) == official


def test_an_audio_encoder_has_no_resnet_and_learns():
    encoder = AVHubertEncoder(SMALL)
    assert not any("video" in name or "label_embs" in name for name, _ in encoder.named_parameters())
    encoder(torch.randn(2, 9, 104)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    encoder = AVHubertEncoder(replace(SMALL, dropout=0.5))
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


# ---------------------------------------------------------------------------- several clips in one pass


LENGTHS = (7, 12, 3)


@pytest.fixture(scope="module")
def model() -> AVHubertSeq2Seq:
    torch.manual_seed(0)
    config = avhubert(decoder_layers=2, decoder_ffn=48, decoder_heads=4, vocab=30)
    network = AVHubertSeq2Seq(config).eval().requires_grad_(False)
    network.decoder.embed_tokens.weight.mul_(4)  # decided, so that clips say different things
    return network


@pytest.fixture(scope="module")
def encoder(model: AVHubertSeq2Seq) -> AVHubertEncoder:
    return model.encoder.w2v_model


def video(frames: int) -> torch.Tensor:
    return torch.randn(1, 1, frames, 88, 88, generator=torch.Generator().manual_seed(frames))


def audio(frames: int) -> torch.Tensor:
    return torch.randn(1, frames, 104, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize("streams", ["audio", "video", "both"])
def test_every_clip_is_what_it_is_alone(encoder: AVHubertEncoder, streams: str) -> None:
    heard = [None if streams == "video" else audio(n) for n in LENGTHS]
    seen = [None if streams == "audio" else video(n) for n in LENGTHS]
    clips = [
        Streams(None if a is None else encoder.hear(a)[0], None if v is None else encoder.see(v)[0])
        for a, v in zip(heard, seen, strict=True)
    ]
    features, mask = encode_clips(encoder, clips)
    assert mask is not None
    assert (~mask).sum(dim=1).tolist() == list(LENGTHS)
    for row, a, v, n in zip(features, heard, seen, LENGTHS, strict=True):
        torch.testing.assert_close(row[:n], encoder(audio=a, video=v)[0], rtol=1e-5, atol=1e-5)


def test_clips_with_and_without_sound_share_a_pass(encoder: AVHubertEncoder) -> None:
    seen = encoder.see(video(7))[0]
    features, mask = encode_clips(encoder, [Streams(encoder.hear(audio(7))[0], seen), Streams(None, seen)])
    assert mask is None
    for row, sound in zip(features, (audio(7), None), strict=True):
        torch.testing.assert_close(row, encoder(audio=sound, video=video(7))[0], rtol=1e-5, atol=1e-5)


def test_hypotheses_are_those_of_each_clip_alone(model: AVHubertSeq2Seq, encoder: AVHubertEncoder) -> None:
    features, mask = encode_clips(encoder, [Streams(None, encoder.see(video(n))[0]) for n in LENGTHS])
    together = beam_search(model.decoder, features, mask, beam=5)
    alone = [beam_search(model.decoder, encoder(video=video(n)), beam=5)[0] for n in LENGTHS]
    assert len({hypotheses[0].tokens for hypotheses in alone}) > 1
    for ours, theirs in zip(together, alone, strict=True):
        assert [h.tokens for h in ours] == [h.tokens for h in theirs]
        assert [h.score for h in ours] == pytest.approx([h.score for h in theirs], abs=1e-5)


def test_batches_are_bounded_once_filled_up() -> None:
    lengths = [10, 40, 30, 12, 200, 1]
    batches = padded_batches(lengths, 80)
    assert sorted(index for batch in batches for index in batch) == list(range(6))
    assert batches[0] == [4]
    for batch in batches[1:]:
        assert len(batch) * max(lengths[i] for i in batch) <= 80
    assert padded_batches([], 80) == []
