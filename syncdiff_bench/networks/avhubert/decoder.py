"""The decoding half of AV-HuBERT: word pieces out of encoder features (docs/spec/avhubert.md#decoder).

Module names are those of the published fine-tuned checkpoints: `encoder.w2v_model.*` and `decoder.*`.
Two ways through the decoder: `forward` sees a whole sentence at once (training), `start` and `step` see one
token at a time with cached keys and values (beam search).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.encoder import Attention, EncoderSlot, KeysValues
from syncdiff_bench.networks.avhubert.tokenizer import PAD


@dataclass(frozen=True)
class DecoderState:
    """What a step needs of the past, for B clips of K beams each.

    spoken: per layer, keys and values of the tokens so far, N = B K (row `clip K + beam`); None before the
    first step.
    seen: per layer, keys and values of the encoder features, N = B: the beams of a clip share them.
    keep: (B, 1, 1, T) bool, True on a clip's own frames; None where all are.
    length: tokens so far.
    """

    spoken: tuple[KeysValues, ...] | None
    seen: tuple[KeysValues, ...]
    keep: Tensor | None
    length: int

    def select(self, beam_rows: Tensor, clips: Tensor | None) -> DecoderState:
        """The state in which only beams `beam_rows` (rows of `spoken`) and `clips` (None: all) live on."""
        spoken = None if self.spoken is None else tuple(layer.select(beam_rows) for layer in self.spoken)
        if clips is None:
            return DecoderState(spoken, self.seen, self.keep, self.length)
        seen = tuple(layer.select(clips) for layer in self.seen)
        keep = None if self.keep is None else self.keep.index_select(0, clips)
        return DecoderState(spoken, seen, keep, self.length)


class DecoderLayer(nn.Module):
    """Pre-norm block: self-attention, attention over the encoder's features, feed-forward.

    The feed-forward has a ReLU where the encoder has a GELU: `activation_fn` is absent from the published
    decoder configuration, so fairseq falls back to its default.
    """

    def __init__(self, config: AVHubertConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.self_attn = Attention(config.dim, config.decoder_heads)
        self.self_attn_layer_norm = nn.LayerNorm(config.dim)
        self.encoder_attn = Attention(config.dim, config.decoder_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(config.dim)
        self.fc1 = nn.Linear(config.dim, config.decoder_ffn)
        self.fc2 = nn.Linear(config.decoder_ffn, config.dim)
        self.final_layer_norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, seen: KeysValues, keep: Tensor | None) -> Tensor:
        """A whole sentence: (N, L, dim) -> (N, L, dim), each token sees itself and the ones before."""
        normed = self.self_attn_layer_norm(x)
        x = x + self._drop(self.self_attn(normed, self.self_attn.project(normed), causal=True))
        return self._rest(x, seen, keep)

    def step(
        self, x: Tensor, spoken: KeysValues | None, seen: KeysValues, keep: Tensor | None
    ) -> tuple[Tensor, KeysValues]:
        """One token of every beam: x (B, K, dim) -> (B, K, dim), and `spoken` with this token appended."""
        clips, beams, dim = x.shape
        normed = self.self_attn_layer_norm(x).view(clips * beams, 1, dim)
        now = self.self_attn.project(normed)
        if spoken is not None:
            keys, values = (torch.cat(pair, dim=2) for pair in zip(spoken, now, strict=True))
            now = KeysValues(keys, values)
        x = x + self.self_attn(normed, now).view(clips, beams, dim)
        # the beams of a clip are the queries of one attention: its features are neither copied nor reordered
        return self._rest(x, seen, keep), now

    def _rest(self, x: Tensor, seen: KeysValues, keep: Tensor | None) -> Tensor:
        x = x + self._drop(self.encoder_attn(self.encoder_attn_layer_norm(x), seen, keep=keep))
        return x + self._drop(self.fc2(F.relu(self.fc1(self.final_layer_norm(x)))))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class SinusoidalPositions(nn.Module):
    """tensor2tensor positions: first half sines, second half cosines; the first token has index PAD + 1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        # fairseq keeps an empty tensor here to know its device; every checkpoint carries it
        self.register_buffer("_float_tensor", torch.zeros(1))

    def forward(self, start: int, count: int, device: torch.device) -> Tensor:
        """Positions of tokens `start` .. `start + count` of a sentence: (count, dim) float32."""
        half = self.dim // 2
        rate = torch.exp(torch.arange(half, device=device) * -(math.log(10000) / max(half - 1, 1)))
        index = torch.arange(start, start + count, device=device) + PAD + 1
        angle = index.unsqueeze(1) * rate
        return torch.cat([angle.sin(), angle.cos()], dim=1)


class AVHubertDecoder(nn.Module):
    """Transformer decoder; the output layer is the token embedding transposed."""

    def __init__(self, config: AVHubertConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab, config.dim, padding_idx=PAD)
        self.embed_positions = SinusoidalPositions(config.dim)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.layer_norm = nn.LayerNorm(config.dim)
        nn.init.normal_(self.embed_tokens.weight, std=config.dim**-0.5)
        with torch.no_grad():
            self.embed_tokens.weight[PAD].zero_()
        for name, parameter in self.layers.named_parameters():
            if name.endswith("weight") and parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter)

    def forward(self, tokens: Tensor, features: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Scores of the next token after every prefix (teacher forcing).

        tokens: (B, L) int64, EOS first; PAD only at the end of a row.
        features: (B, T, dim) float32, the encoder's output. padding_mask: (B, T) bool, True on filled-up
        frames.
        Returns (B, L, vocab) float32 logits; row l scores token l + 1.
        """
        x = self._embed(tokens, 0)
        keep = None if padding_mask is None else ~padding_mask[:, None, None, :]
        for layer in self._blocks():
            x = layer(x, layer.encoder_attn.project(features), keep)
        return self._logits(x)

    def start(self, features: Tensor, padding_mask: Tensor | None = None) -> DecoderState:
        """The state before the first token; arguments as in `forward`."""
        keep = None if padding_mask is None else ~padding_mask[:, None, None, :]
        seen = tuple(layer.encoder_attn.project(features) for layer in self._blocks())
        return DecoderState(None, seen, keep, 0)

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One more token of every beam: tokens (B, K) int64 -> logits (B, K, vocab), and the state after."""
        x = self._embed(tokens.reshape(-1, 1), state.length).view(*tokens.shape, -1)
        spoken: list[KeysValues] = []
        for index, layer in enumerate(self._blocks()):
            past = None if state.spoken is None else state.spoken[index]
            x, now = layer.step(x, past, state.seen[index], state.keep)
            spoken.append(now)
        return self._logits(x), DecoderState(tuple(spoken), state.seen, state.keep, state.length + 1)

    def _blocks(self) -> list[DecoderLayer]:
        return cast("list[DecoderLayer]", list(self.layers))

    def _embed(self, tokens: Tensor, start: int) -> Tensor:
        x = self.embed_tokens(tokens) + self.embed_positions(start, tokens.shape[1], tokens.device)
        return F.dropout(x, self.config.dropout, self.training)

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self.layer_norm(x), self.embed_tokens.weight)


class AVHubertSeq2Seq(nn.Module):
    """Encoder and decoder together: what reads lips."""

    def __init__(self, config: AVHubertConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = EncoderSlot(config)
        self.decoder = AVHubertDecoder(config)

    def encode(
        self, audio: Tensor | None = None, video: Tensor | None = None, padding_mask: Tensor | None = None
    ) -> Tensor:
        """Encoder features (B, T, dim); arguments as in `AVHubertEncoder.forward`."""
        return self.encoder.w2v_model(audio, video, padding_mask)  # type: ignore[no-any-return]
