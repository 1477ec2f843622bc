"""fairseq checkpoints of AV-HuBERT, read without fairseq (docs/spec/avhubert.md#checkpoints).

A file is never unpickled freely: the few classes that official files pickle are replaced by the stubs below,
and any other class is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq
from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder
from syncdiff_bench.networks.avhubert.tokenizer import WordPieces
from syncdiff_bench.networks.avhubert.visual import MOUTH
from syncdiff_bench.weights.loading import check_state_dict, load_torch

NetworkT = TypeVar("NetworkT", bound=nn.Module)

ENCODER = "encoder.w2v_model."
DECODER = "decoder."
HEAD_DIM = 64  # of both published encoders; used where a file does not carry the encoder's configuration
DECODER_HEADS = 4  # default of the fine-tuning configuration

# what a configuration may say, because the network here is that one and no other; absent means the same
_PUBLISHED_ENCODER = {
    "layer_norm_first": True,
    "modality_fuse": "concat",
    "activation_fn": "gelu",
    "resnet_relu_type": "prelu",
    "sub_encoder_layers": 0,
}
_PUBLISHED_DECODER = {
    "decoder_normalize_before": True,
    "decoder_learned_pos": False,
    "share_decoder_input_output_embed": True,
    "no_scale_embedding": True,
    "no_token_positional_embeddings": False,
}
_PRETRAINING_HEAD = ("final_proj.", "target_glu.")  # unit classifier of pre-trained files, nothing reads it


# --------------------------------------------------------------------------- stand-ins for pickled classes


class AttributesStub:
    """Stands in for a class of which at most attributes are read."""


class SentencePieceStub:
    """Stands in for `sentencepiece.SentencePieceProcessor`, whose pickled state is its serialized model.

    Newer releases of sentencepiece put the model into a table beside their settings.
    """

    model: bytes

    def __setstate__(self, state: bytes | Mapping[str, Any]) -> None:
        self.model = state["model_proto"] if isinstance(state, Mapping) else state


class Latin1Bytes(bytes):
    """Stands in for `_codecs.encode`, through which old pickle protocols write bytes as Latin-1 text."""

    def __new__(cls, text: str, encoding: str = "latin1") -> Latin1Bytes:
        if encoding not in ("latin1", "latin-1"):
            raise WeightsError(
                f"a pickled byte string is encoded as {encoding!r}, expected latin1; use a published file"
            )
        return super().__new__(cls, text.encode("latin1"))


STUBS: Mapping[str, type] = {
    "fairseq.data.dictionary.Dictionary": AttributesStub,  # its `symbols`
    "fairseq.data.encoders.sentencepiece_bpe.SentencepieceBPE": AttributesStub,  # its `sp`
    "sentencepiece.SentencePieceProcessor": SentencePieceStub,
    "_codecs.encode": Latin1Bytes,
    "argparse.Namespace": AttributesStub,  # of files older than the nested configuration
    "builtins.int": int,  # one of the settings that newer sentencepiece pickles
}


# ----------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class PatchNormalisation:
    """How frames become what the network reads: grey, their middle `crop` pixels, `(x / 255 - mean) / std`.

    frame_size: pixels of the square that whole frames are stretched to first, for a small model of this project.
    """

    frame_size: int = 160
    crop: int = MOUTH
    mean: float = 0.421
    std: float = 0.165


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file holds.

    encoder, decoder: tensors without their prefix; decoder is None in a pre-trained file.
    pieces: the word pieces of a fine-tuned file.
    """

    path: Path
    config: AVHubertConfig
    encoder: Mapping[str, Tensor]
    decoder: Mapping[str, Tensor] | None
    pieces: WordPieces | None
    patches: PatchNormalisation


@dataclass(frozen=True, eq=False)
class VSRModel:
    """A fine-tuned network with its word pieces, in evaluation mode on the CPU."""

    model: AVHubertSeq2Seq
    pieces: WordPieces
    patches: PatchNormalisation


def load_encoder(path: Path) -> tuple[AVHubertEncoder, PatchNormalisation]:
    """The encoder of a pre-trained or fine-tuned file, on the CPU, frozen and in evaluation mode, and what it sees.

    Raises WeightsError where the file is not an AV-HuBERT of the published architecture, or is blind.
    """
    checkpoint = read_checkpoint(path)
    if not checkpoint.config.video:
        raise WeightsError(f"{path}: no video front-end inside; give an AV-HuBERT that hears and sees")
    return _filled(AVHubertEncoder, checkpoint.config, checkpoint.encoder, path), checkpoint.patches


def load_vsr_model(path: Path) -> VSRModel:
    """Encoder, decoder and word pieces of a fine-tuned file.

    Raises WeightsError where the file is not a fine-tuned AV-HuBERT with its tokeniser.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.decoder is None or checkpoint.pieces is None:
        raise WeightsError(f"{path}: no decoder or no word pieces inside; lip reading needs a fine-tuned checkpoint")
    if len(checkpoint.pieces) != checkpoint.config.vocab:
        raise WeightsError(
            f"{path}: {len(checkpoint.pieces)} word pieces for {checkpoint.config.vocab} outputs; get the file again"
        )
    tensors = {ENCODER + name: tensor for name, tensor in checkpoint.encoder.items()}
    tensors |= {DECODER + name: tensor for name, tensor in checkpoint.decoder.items()}
    model = _filled(AVHubertSeq2Seq, checkpoint.config, tensors, path)
    return VSRModel(model, checkpoint.pieces, checkpoint.patches)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a fairseq file: `cfg`, `model` and `task_state`.

    Sizes come from the tensors; the configuration adds the numbers of heads, which tensors cannot tell, and
    is checked for switches that this network does not have. Raises WeightsError for anything else.
    """
    content = load_torch(path, STUBS)
    model = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(model, Mapping) or not all(isinstance(tensor, Tensor) for tensor in model.values()):
        raise WeightsError(f"{path}: no `model` tensors inside; expected a fairseq checkpoint of AV-HuBERT")
    prefix = ENCODER if any(name.startswith(ENCODER) for name in model) else ""
    encoder = _below(model, prefix, _PRETRAINING_HEAD)
    decoder = (_below(model, DECODER) or None) if prefix else None
    stated, decoding, task = _configurations(path, content.get("cfg"), fine_tuned=bool(prefix))
    try:
        config = _config(encoder, decoder, stated, decoding)
    except (KeyError, IndexError, ValueError, UsageError):
        raise WeightsError(
            f"{path}: tensors are not those of an AV-HuBERT; expected the published checkpoint"
        ) from None
    patches = PatchNormalisation(
        crop=int(task.get("image_crop_size", MOUTH)),
        mean=float(task.get("image_mean", 0.421)),
        std=float(task.get("image_std", 0.165)),
    )
    pieces = _word_pieces(path, content.get("task_state")) if decoder else None
    return Checkpoint(path, config, encoder, decoder, pieces, patches)


def _below(tensors: Mapping[str, Tensor], prefix: str, unread: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix`, named without it, except those that nothing reads."""
    named = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in named.items() if not name.startswith(unread or ("\0",))}


def _configurations(
    path: Path, cfg: Any, *, fine_tuned: bool
) -> tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]:
    """Encoder, decoder and task parts of `cfg`; fine-tuned files nest the encoder's in `model.w2v_args`."""
    model, task = _section(cfg, "model"), _section(cfg, "task")
    encoder = _section(model.get("w2v_args"), "model") if fine_tuned else model
    for section, published in (
        (encoder, _PUBLISHED_ENCODER),
        (model, _PUBLISHED_DECODER if fine_tuned else {}),
    ):
        for key, value in published.items():
            if section.get(key, value) != value:
                raise WeightsError(
                    f"{path}: {key} is {section[key]!r}, supported is {value!r}; use a published AV-HuBERT"
                )
    return encoder, model if fine_tuned else {}, task


def _section(parent: Any, name: str) -> Mapping[str, Any]:
    """A nested table of the configuration; empty where it is missing (old files, `w2v_args: null`)."""
    section = parent.get(name) if isinstance(parent, Mapping) else None
    return section if isinstance(section, Mapping) else {}


def _config(
    encoder: Mapping[str, Tensor],
    decoder: Mapping[str, Tensor] | None,
    stated: Mapping[str, Any],
    decoding: Mapping[str, Any],
) -> AVHubertConfig:
    """Sizes by the shapes of the tensors, numbers of heads by the configuration."""
    dim, audio_feat_dim = encoder["feature_extractor_audio.proj.weight"].shape
    _, per_group, conv_pos = encoder["encoder.pos_conv.0.weight_v"].shape
    stem = encoder.get("feature_extractor_video.resnet.frontend3D.0.weight")
    units = encoder.get("label_embs_concat")
    sizes: dict[str, Any] = {
        "encoder_layers": _count_layers(encoder, "encoder."),
        "dim": dim,
        "ffn_dim": encoder["encoder.layers.0.fc1.weight"].shape[0],
        "heads": int(stated.get("encoder_attention_heads", max(dim // HEAD_DIM, 1))),
        "conv_pos": conv_pos,
        "conv_pos_groups": dim // per_group,
        "audio_feat_dim": audio_feat_dim,
        "video": stem is not None,
        "resnet_width": 64 if stem is None else stem.shape[0],
        "pretraining_units": 0 if units is None else units.shape[0],
        "decoder_layers": 0,
    }
    if decoder is not None:
        sizes["decoder_layers"] = _count_layers(decoder, "")
        sizes["decoder_ffn"] = decoder["layers.0.fc1.weight"].shape[0]
        sizes["decoder_heads"] = int(decoding.get("decoder_attention_heads", DECODER_HEADS))
        sizes["vocab"] = decoder["embed_tokens.weight"].shape[0]
    return AVHubertConfig(**sizes)


def _count_layers(names: Iterable[str], prefix: str) -> int:
    pattern = re.compile(re.escape(prefix) + r"layers\.(\d+)\.")
    return 1 + max((int(match[1]) for match in map(pattern.match, names) if match), default=-1)


def _word_pieces(path: Path, task_state: Any) -> WordPieces | None:
    """Dictionary and SentencePiece model of a fine-tuned file's `task_state`."""
    state = task_state if isinstance(task_state, Mapping) else {}
    symbols = getattr(state.get("target_dictionary"), "symbols", None)
    if symbols is None:
        return None
    model = getattr(getattr(state.get("s2s_tokenizer"), "sp", None), "model", None)
    try:
        return WordPieces(symbols, None if model is None else bytes(model))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def _filled(network: type[NetworkT], config: AVHubertConfig, tensors: Mapping[str, Tensor], path: Path) -> NetworkT:
    """The network with exactly these tensors, float32, frozen and in evaluation mode."""
    with torch.device("meta"):  # no time for weights that are replaced at once
        model = network(config)
    model = model.to_empty(device="cpu")
    check_state_dict(model, tensors, str(path))
    return model.eval().requires_grad_(False)
