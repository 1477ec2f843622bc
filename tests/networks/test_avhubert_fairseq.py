"""AV-HuBERT's transformer, decoder and beam search against fairseq itself, where it is installed.

av_hubert builds its encoder from fairseq's wav2vec 2.0 transformer, and its decoder and generator are copies of
fairseq's. Its ResNet front-end is its own; stored numbers stand for it (test_avhubert_parity.py).
Installing fairseq: CONTRIBUTING.md, "Reference implementations".
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from syncdiff_bench.networks.avhubert.beam import Hypothesis, beam_search
from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    fairseq = pytest.importorskip("fairseq", reason="fairseq-fixed is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")


def their_encoder(config: AVHubertConfig) -> Any:
    """The transformer behind the fusion of the streams."""
    from fairseq.models.wav2vec.wav2vec2 import TransformerEncoder, Wav2Vec2Config

    return TransformerEncoder(
        Wav2Vec2Config(
            encoder_layers=config.encoder_layers,
            encoder_embed_dim=config.dim,
            encoder_ffn_embed_dim=config.ffn_dim,
            encoder_attention_heads=config.heads,
            conv_pos=config.conv_pos,
            conv_pos_groups=config.conv_pos_groups,
            layer_norm_first=True,
        )
    ).eval()


def their_dictionary(vocab: int) -> Any:
    dictionary = fairseq.data.Dictionary()
    for index in range(len(dictionary), vocab):
        dictionary.add_symbol(f"piece{index}")
    return dictionary


def their_decoder(config: AVHubertConfig, dictionary: Any) -> Any:
    from fairseq.models.transformer import TransformerConfig, TransformerDecoderBase

    cfg = TransformerConfig()
    cfg.decoder.embed_dim = cfg.decoder.input_dim = cfg.decoder.output_dim = config.dim
    cfg.encoder.embed_dim = config.dim  # the width of what the decoder attends to
    cfg.decoder.ffn_embed_dim = config.decoder_ffn
    cfg.decoder.layers, cfg.decoder.attention_heads = config.decoder_layers, config.decoder_heads
    cfg.decoder.normalize_before = True
    cfg.no_scale_embedding = True
    cfg.share_decoder_input_output_embed = True
    cfg.max_target_positions = 2048
    embedding = torch.nn.Embedding(config.vocab, config.dim, padding_idx=dictionary.pad())
    return TransformerDecoderBase(cfg, dictionary, embedding).eval()


def load(theirs: torch.nn.Module, ours: torch.nn.Module, tied: tuple[str, ...] = ()) -> None:
    """Fill fairseq's module from ours; every name must be known to both, but for `tied` and bookkeeping."""
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not unexpected
    assert set(missing) <= {*tied, "version"}


@pytest.fixture(scope="module", params=["tiny", "tiny_c"])
def ours(request: pytest.FixtureRequest, models: dict[str, AVHubertSeq2Seq]) -> AVHubertSeq2Seq:
    return models[request.param]


@pytest.fixture(scope="module")
def theirs(ours: AVHubertSeq2Seq) -> Any:
    """fairseq's decoder with our weights, in the shape that its generator asks for."""
    from fairseq.models import BaseFairseqModel, FairseqEncoder

    dictionary = their_dictionary(ours.config.vocab)
    decoder = their_decoder(ours.config, dictionary)
    load(decoder, ours.decoder, tied=("output_projection.weight",))

    class Encoded(FairseqEncoder):  # type: ignore[misc]
        """Features that are there already."""

        def forward(self, source: Tensor, padding_mask: Tensor) -> dict[str, list[Tensor]]:
            return {"encoder_out": [source.transpose(0, 1)], "encoder_padding_mask": [padding_mask]}

        def reorder_encoder_out(self, out: dict[str, list[Tensor]], order: Tensor) -> dict[str, list[Tensor]]:
            steps, mask = out["encoder_out"][0], out["encoder_padding_mask"][0]
            return {
                "encoder_out": [steps.index_select(1, order)],
                "encoder_padding_mask": [mask.index_select(0, order)],
            }

    class Reader(BaseFairseqModel):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = Encoded(dictionary), decoder

        def max_decoder_positions(self) -> int:
            return 2048

    return Reader().eval()


def official_search(model: Any, features: Tensor, mask: Tensor, beam: int, lenpen: float) -> list[list[Hypothesis]]:
    from fairseq.sequence_generator import SequenceGenerator

    settings = {"max_len_a": 1.0, "max_len_b": 0, "min_len": 1, "len_penalty": lenpen}
    generator = SequenceGenerator([model], model.decoder.dictionary, beam_size=beam, **settings)
    found = generator.generate([model], {"net_input": {"source": features, "padding_mask": mask}})
    return [[Hypothesis(tuple(one["tokens"].tolist()), float(one["score"])) for one in clip] for clip in found]


def long_clips(dim: int) -> tuple[Tensor, Tensor]:
    """Features of three clips of 40, 33 and 12 frames, and their mask."""
    lengths = torch.tensor([40, 33, 12])
    features = torch.randn(3, 40, dim, generator=torch.Generator().manual_seed(5))
    return features, torch.arange(40) >= lengths[:, None]


@torch.no_grad()
def test_encoder(ours: AVHubertSeq2Seq, clips: tuple[Tensor, Tensor]) -> None:
    video, mask = clips
    encoder = ours.encoder.w2v_model
    theirs = their_encoder(ours.config)
    load(theirs, encoder.encoder)
    seen = encoder.see(video)
    fused = encoder.post_extract_proj(encoder.layer_norm(torch.cat([torch.zeros_like(seen), seen], dim=-1)))
    official, _ = theirs(fused, padding_mask=mask)
    assert (official - ours.encode(video=video, padding_mask=mask))[~mask].abs().max() < 1e-5


@torch.no_grad()
def test_a_layer_in_the_middle(ours: AVHubertSeq2Seq) -> None:
    """`stop=1` is the activation behind the first layer, without the last norm."""
    encoder = ours.encoder.w2v_model
    theirs = their_encoder(ours.config)
    load(theirs, encoder.encoder)
    audio = torch.randn(2, 9, 104, generator=torch.Generator().manual_seed(1))
    heard = encoder.hear(audio)
    fused = encoder.post_extract_proj(encoder.layer_norm(torch.cat([heard, torch.zeros_like(heard)], dim=-1)))
    official, _ = theirs(fused, layer=0)
    assert (official - encoder(audio, stop=1)).abs().max() < 1e-5


@torch.no_grad()
def test_decoder_logits(ours: AVHubertSeq2Seq, theirs: Any) -> None:
    features, mask = long_clips(ours.config.dim)
    tokens = torch.randint(4, ours.config.vocab, (3, 20), generator=torch.Generator().manual_seed(2))
    tokens[:, 0] = 2
    official, _ = theirs.decoder(tokens, encoder_out=theirs.encoder(features, mask))
    assert (official - ours.decoder(tokens, features, mask)).abs().max() < 1e-5


@pytest.mark.parametrize(("beam", "lenpen"), [(1, 1.0), (5, 1.0), (20, 1.0), (50, 1.0), (5, 0.0)])
def test_beam_search(ours: AVHubertSeq2Seq, theirs: Any, beam: int, lenpen: float) -> None:
    """The best ten of every clip of a padded batch, in order, under the official cap (the padded length)."""
    features, mask = long_clips(ours.config.dim)
    official = official_search(theirs, features, mask, beam, lenpen)
    found = beam_search(ours.decoder, features, mask, beam=beam, lenpen=lenpen, max_lengths=[40] * 3)
    for mine, reference in zip(found, official, strict=True):
        assert [one.tokens for one in mine[:10]] == [one.tokens for one in reference[:10]]
        assert [one.score for one in mine] == pytest.approx([one.score for one in reference], rel=1e-5)
