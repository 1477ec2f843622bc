"""Sizes of an AV-HuBERT, encoder and decoder (docs/spec/avhubert.md#sizes)."""

from __future__ import annotations

from dataclasses import dataclass

from syncdiff_bench.errors import UsageError


@dataclass(frozen=True)
class AVHubertConfig:
    """Architecture of one network; the defaults are the published Base.

    encoder_layers, dim, ffn_dim, heads: the Transformer encoder; the decoder shares `dim`.
    conv_pos, conv_pos_groups: kernel and groups of the convolutional position embedding.
    audio_feat_dim: four stacked log-mel frames of 26 bands.
    video: whether the ResNet front-end exists; an audio-only encoder leaves it out.
    resnet_width: channels of the ResNet stem and first stage (doubled in each of the next three).
    pretraining_units: rows of `label_embs_concat` (k-means units + 4 specials), which published files carry
        although only pre-training reads it; 0 leaves it and `mask_emb` out.
    dropout: after the embedding and on every residual branch, in training mode only.
    decoder_layers: 0 where there is no decoder.
    vocab: word pieces of the decoder, specials included.

    Raises UsageError where the sizes do not divide.
    """

    encoder_layers: int = 12
    dim: int = 768
    ffn_dim: int = 3072
    heads: int = 12
    conv_pos: int = 128
    conv_pos_groups: int = 16
    audio_feat_dim: int = 104
    video: bool = True
    resnet_width: int = 64
    pretraining_units: int = 2004
    dropout: float = 0.0
    decoder_layers: int = 6
    decoder_ffn: int = 3072
    decoder_heads: int = 4
    vocab: int = 1000

    def __post_init__(self) -> None:
        for name in ("heads", "conv_pos_groups", "decoder_heads"):
            divisor = getattr(self, name)
            if divisor < 1 or self.dim % divisor:
                raise UsageError(f"AV-HuBERT: dim {self.dim} is not a multiple of {name} {divisor}; change one of them")
        if self.decoder_layers and self.dim % 2:
            raise UsageError(f"AV-HuBERT: dim {self.dim} is odd; the decoder's sinusoidal positions need an even one")
