"""The audio-visual encoder of AV-HuBERT, any layer out (docs/spec/avhubert.md#encoder).

Module names are those of the published checkpoints, below their prefix `encoder.w2v_model.`.
Everything is batch-first: activations are (B, T, dim) float32 at 25 Hz, row t belongs to video frame t.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.visual import VideoFeatures

PRETRAINING_DIM = 256  # width of the unit embeddings


class WeightNormConv1d(nn.Module):
    """Grouped 1-D convolution whose weight is normalised per kernel tap (weight norm over dim 2).

    Own module, because torch's parametrization renames `weight_g` and `weight_v`, the names of every
    checkpoint.
    """

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.bias = nn.Parameter(torch.zeros(dim))
        self.weight_g = nn.Parameter(torch.empty(1, 1, kernel))
        self.weight_v = nn.Parameter(torch.empty(dim, dim // groups, kernel))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal, as in the published training; each tap of the norm that it then has."""
        dim, _, kernel = self.weight_v.shape
        nn.init.zeros_(self.bias)
        nn.init.normal_(self.weight_v, std=math.sqrt(4 / (kernel * dim)))
        with torch.no_grad():
            self.weight_g.copy_(self._norm())

    def _norm(self) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(self.weight_v, dim=(0, 1), keepdim=True)
        return norm

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim, T) -> (B, dim, T); the surplus last step of an even kernel is dropped.

        Always in float32: on processors with AMX, oneDNN's grouped convolution in bfloat16 is wrong by more than its
        own size (measured with torch 2.13; AVX-512 is right), and a VSR model then reads nothing.
        """
        kernel = self.weight_v.shape[2]
        with torch.autocast(x.device.type, enabled=False):
            weight = self.weight_v * (self.weight_g / self._norm())
            out = F.conv1d(x.to(weight.dtype), weight, self.bias, padding=kernel // 2, groups=self.groups)
        return out[..., : x.shape[-1]]


class KeysValues(NamedTuple):
    """Projected keys and values, each (N, heads, steps, dim / heads)."""

    keys: Tensor
    values: Tensor

    def select(self, rows: Tensor) -> KeysValues:
        return KeysValues(self.keys.index_select(0, rows), self.values.index_select(0, rows))


class Attention(nn.Module):
    """Multi-head attention whose keys and values may come from elsewhere, or from a cache."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def project(self, source: Tensor) -> KeysValues:
        """Keys and values of `source` (N, S, dim)."""
        return KeysValues(self._split(self.k_proj(source)), self._split(self.v_proj(source)))

    def forward(self, x: Tensor, past: KeysValues, *, keep: Tensor | None = None, causal: bool = False) -> Tensor:
        """x: (N, L, dim) queries; keep: bool, broadcast to (N, heads, L, S). Returns (N, L, dim)."""
        attended = F.scaled_dot_product_attention(self._split(self.q_proj(x)), *past, attn_mask=keep, is_causal=causal)
        return self.out_proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        """(N, S, dim) -> (N, heads, S, dim / heads)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Pre-norm block: self-attention, then a feed-forward of exact GELU."""

    def __init__(self, config: AVHubertConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.self_attn = Attention(config.dim, config.heads)
        self.self_attn_layer_norm = nn.LayerNorm(config.dim)
        self.fc1 = nn.Linear(config.dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, config.dim)
        self.final_layer_norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, keep: Tensor | None) -> Tensor:
        normed = self.self_attn_layer_norm(x)
        x = x + self._drop(self.self_attn(normed, self.self_attn.project(normed), keep=keep))
        return x + self._drop(self.fc2(F.gelu(self.fc1(self.final_layer_norm(x)))))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class TransformerEncoder(nn.Module):
    """Container of the position embedding, the layers and the final norm, under the published names."""

    def __init__(self, config: AVHubertConfig) -> None:
        super().__init__()
        self.pos_conv = nn.Sequential(WeightNormConv1d(config.dim, config.conv_pos, config.conv_pos_groups), nn.GELU())
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.layer_norm = nn.LayerNorm(config.dim)


class AVHubertEncoder(nn.Module):
    """Audio, video or both to one vector per frame.

    `forward` is `hear` and `see`, `embed`, `run_layers`, `final_norm` in a row. A caller that keeps the first layers
    frozen caches `forward(audio, stop=NF)` per clip and trains on `final_norm(run_layers(cached, NF))`.
    """

    def __init__(self, config: AVHubertConfig) -> None:
        super().__init__()
        self.config = config
        if config.pretraining_units:
            self.mask_emb = nn.Parameter(torch.empty(config.audio_feat_dim))
            self.label_embs_concat = nn.Parameter(torch.empty(config.pretraining_units, PRETRAINING_DIM))
        # (B, T, 104) -> (B, T, dim)
        self.feature_extractor_audio = nn.Sequential(OrderedDict(proj=nn.Linear(config.audio_feat_dim, config.dim)))
        self.feature_extractor_video = VideoFeatures(config) if config.video else None
        self.layer_norm = nn.LayerNorm(2 * config.dim)
        self.post_extract_proj = nn.Linear(2 * config.dim, config.dim)
        self.encoder = TransformerEncoder(config)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """BERT initialisation of the linear layers, as in the published training; the rest as its modules draw it."""
        if self.config.pretraining_units:
            nn.init.uniform_(self.mask_emb)
            nn.init.uniform_(self.label_embs_concat)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        audio: Tensor | None = None,
        video: Tensor | None = None,
        padding_mask: Tensor | None = None,
        *,
        stop: int | None = None,
    ) -> Tensor:
        """Features of every frame.

        audio: (B, T, 104) float32 of `features.audio_features`, or None.
        video: (B, 1, T, 88, 88) float32 of `visual.normalise_patches`, or None.
        padding_mask: (B, T) bool, True on the steps that only fill up the batch, or None. A clip's own steps
            do not depend on them; the output on them is meaningless.
        stop: None for the network's output (final norm applied); n for the activations behind its first n
            layers, without the final norm.
        Returns (B, T, dim) float32. Raises UsageError where neither stream is given, the encoder has no video
        front-end, or the network has fewer layers.
        """
        heard, seen = (None if audio is None else self.hear(audio)), (None if video is None else self.see(video))
        x = self.run_layers(self.embed(heard, seen, padding_mask), 0, stop, padding_mask)
        return self.final_norm(x) if stop is None else x

    def hear(self, audio: Tensor) -> Tensor:
        """The audio front-end alone: (B, T, 104) -> (B, T, dim)."""
        return self.feature_extractor_audio(audio)  # type: ignore[no-any-return]

    def see(self, video: Tensor) -> Tensor:
        """The video front-end alone: (B, 1, T, 88, 88) -> (B, T, dim). Raises UsageError where there is none."""
        if self.feature_extractor_video is None:
            raise UsageError("this AV-HuBERT has no video front-end; build it with video=True")
        return self.feature_extractor_video(video)  # type: ignore[no-any-return]

    def embed(self, heard: Tensor | None, seen: Tensor | None, padding_mask: Tensor | None = None) -> Tensor:
        """Fusion of what `hear` and `see` gave, and position embedding: what enters layer 0, all (B, T, dim).

        A missing stream counts as zeros of the encoder's width; audio comes first in the concatenation.
        """
        known = seen if heard is None else heard
        if known is None:
            raise UsageError("AV-HuBERT needs audio, video or both; both are None")
        zeros = torch.zeros_like(known)
        streams = torch.cat([zeros if heard is None else heard, zeros if seen is None else seen], dim=-1)
        x = self.post_extract_proj(self.layer_norm(streams))
        if padding_mask is not None:
            x = x.masked_fill(padding_mask.unsqueeze(-1), 0.0)
        x = x + self.encoder.pos_conv(x.transpose(1, 2)).transpose(1, 2)
        return F.dropout(x, self.config.dropout, self.training)

    def run_layers(
        self, x: Tensor, start: int = 0, stop: int | None = None, padding_mask: Tensor | None = None
    ) -> Tensor:
        """Layers `start` to `stop` (exclusive; None: the rest) on (B, T, dim); equal bounds: x."""
        count = len(self.encoder.layers)
        end = count if stop is None else stop
        if not 0 <= start <= end <= count:
            raise UsageError(
                f"AV-HuBERT has {count} layers, so {start}..{end} cannot be run; give 0 <= start <= stop <= {count}"
            )
        keep = None if padding_mask is None else ~padding_mask[:, None, None, :]
        for layer in self.encoder.layers[start:end]:
            x = layer(x, keep)
        return x

    def final_norm(self, x: Tensor) -> Tensor:
        """The LayerNorm behind the last layer, (B, T, dim) -> (B, T, dim)."""
        return self.encoder.layer_norm(x)  # type: ignore[no-any-return]


class EncoderSlot(nn.Module):
    """The encoder under the name that fine-tuned checkpoints and TalkLip's give it."""

    def __init__(self, config: AVHubertConfig) -> None:
        super().__init__()
        self.w2v_model = AVHubertEncoder(config)


# ---------------------------------------------------------------------------- several clips in one pass


class Streams(NamedTuple):
    """What the front-ends made of one clip: (T, dim) each of the same T, None for a stream that is left out."""

    heard: Tensor | None
    seen: Tensor | None

    @property
    def frames(self) -> int:
        return max(0 if stream is None else len(stream) for stream in self)


def encode_clips(encoder: AVHubertEncoder, clips: Sequence[Streams]) -> tuple[Tensor, Tensor | None]:
    """The encoder's output for clips of any lengths, as each would have it alone to float rounding.

    clips: at least one; every one has a stream. Those with audio and those without may be mixed.
    Returns features (B, T, dim) with T the longest clip, and a padding mask (B, T), True on the steps that fill up
    and whose features mean nothing; None where all are of one length.
    """
    lengths = [clip.frames for clip in clips]
    longest = max(lengths)
    heard, seen = (_filled([clip[number] for clip in clips], longest) for number in range(2))
    known = seen if heard is None else heard
    mask = None
    if min(lengths) < longest and known is not None:
        steps = torch.arange(longest, device=known.device)
        mask = steps >= torch.tensor(lengths, device=known.device)[:, None]
    x = encoder.embed(heard, seen, mask)
    return encoder.final_norm(encoder.run_layers(x, padding_mask=mask)), mask


def _filled(streams: Sequence[Tensor | None], frames: int) -> Tensor | None:
    """(B, frames, dim), zeros behind the end of a clip and for a missing stream; None where all are missing."""
    known = next((stream for stream in streams if stream is not None), None)
    if known is None:
        return None
    filled = known.new_zeros(len(streams), frames, known.shape[-1])
    for row, stream in zip(filled, streams, strict=True):
        if stream is not None:
            row[: len(stream)] = stream
    return filled
