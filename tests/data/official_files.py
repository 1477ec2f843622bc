"""What stands in for published files: weights by the rules of docs/spec/parity.md, tensor lists, fairseq's pickles."""

from __future__ import annotations

import gzip
import io
import math
import pickle
import sys
import types
import zlib
from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from syncdiff_bench.networks.lpips import ALEX, VGG

DATA = Path(__file__).parent


# ------------------------------------------------------------------------------------------- by name, by number


def by_name(name: str, shape: Sequence[int]) -> Tensor:
    """The values of a tensor of this official name (docs/spec/parity.md#by-name)."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(tuple(shape), dtype=torch.int64)
    drawn = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF).standard_normal(math.prod(shape))
    z = drawn.astype(np.float32).reshape(tuple(shape))
    if name.endswith("running_var"):
        z = 1 + 0.1 * np.abs(z)
    elif name.endswith("running_mean"):
        z = 0.1 * z
    elif name.endswith("embedding.weight"):
        pass
    elif len(shape) >= 2:
        z = z * np.float32(1 / math.sqrt(math.prod(shape[1:])))
    elif name.endswith(("weight", "weight_g")):
        z = 1 + 0.1 * z
    else:
        z = 0.05 * z
    return torch.from_numpy(np.asarray(z, dtype=np.float32))


def fill_by_name(network: nn.Module, prefix: str = "") -> None:
    """prefix: what the official names have before ours."""
    network.load_state_dict({name: by_name(prefix + name, old.shape) for name, old in network.state_dict().items()})


def by_number(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Other values for the tensors of a state dict, in its order (docs/spec/parity.md#by-number)."""
    number_of = {name: number for number, name in enumerate(sorted(tensors))}
    return {name: _numbered(number_of[name], name, old) for name, old in tensors.items()}


def _numbered(number: int, name: str, old: Tensor) -> Tensor:
    if name.endswith("_float_tensor"):
        return old
    z = np.random.RandomState(1000 + number).standard_normal(old.numel()).reshape(old.shape)
    if name.endswith("num_batches_tracked"):
        z = np.zeros(old.shape)
    elif name.endswith("running_var"):
        z = 1 + 0.2 * np.abs(z)
    elif name.endswith("embed_tokens.weight"):
        z = 0.6 * z
    elif name.endswith("weight_g") or (old.ndim == 1 and name.endswith("weight")):
        prelu = "relu" in name or name.endswith("frontend3D.2.weight")
        z = 0.25 + 0.05 * z if prelu else 1 + 0.1 * z
    elif old.ndim >= 2:
        z = 1.3 / math.sqrt(old.numel() / old.shape[0]) * z
    else:
        z = 0.1 * z
    return torch.from_numpy(np.asarray(z, dtype=np.float32)).to(old.dtype)


def listed(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of an official file."""
    with gzip.open(DATA / "official" / "tensors" / f"{name}.txt.gz", "rt", encoding="utf-8") as file:
        rows = [line.split("\t") for line in file.read().splitlines()]
    return {row[0]: literal_eval(row[1]) for row in rows}


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


# ------------------------------------------------------------------------------------------------------ fairseq


class OldProcessor:
    """What sentencepiece pickled when the official files were written: the serialized model alone."""

    __module__, __qualname__ = "sentencepiece", "SentencePieceProcessor"

    def __init__(self, model: bytes) -> None:
        self.model = model

    def __getstate__(self) -> bytes:
        return self.model


@contextmanager
def fairseq_classes() -> Iterator[Mapping[str, type]]:
    """Empty classes under the names that official files pickle, by their last name."""
    places = {"fairseq.data.dictionary": "Dictionary", "fairseq.data.encoders.sentencepiece_bpe": "SentencepieceBPE"}
    made = {name: type(name, (), {"__module__": module}) for module, name in places.items()}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fairseq", "fairseq.data", "fairseq.data.encoders", *places):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        for module, name in places.items():
            setattr(sys.modules[module], name, made[name])
        yield made


def save_with_old_processors(content: Mapping[str, Any], path: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sentencepiece.SentencePieceProcessor", OldProcessor)
        torch.save(content, path)
    return path


def sentencepiece_model(sentences: Iterable[str], pieces: int) -> bytes:
    """A unigram model with the ids of the published one: bos 0, pad 1, eos 2, unk 3."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    special = {"bos_id": 0, "pad_id": 1, "eos_id": 2, "unk_id": 3}
    SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, vocab_size=pieces, minloglevel=2, **special
    )
    return model.getvalue()


# -------------------------------------------------------------------------------------------------------- LPIPS


def lpips_file(path: Path, net: str = "alex", scope: str = "") -> Path:
    """Made-up weights in the layout of the published file: normals by number, made as large as what they weigh.

    scope: the name of the network in the file, where it is to be a wrong one.
    """
    stages = ALEX if net == "alex" else VGG
    convs = [conv for stage in stages for conv in stage]
    widths = [3, *(conv[0] for conv in convs)]
    scope = scope or {"alex": "AlexNet_0", "vgg": "VGG16_0"}[net]
    content: dict[str, Any] = {scope: {}}
    for number, ((inputs, outputs), (_, kernel, _, _)) in enumerate(zip(pairwise(widths), convs, strict=True)):
        drawn = np.random.RandomState(2000 + number).standard_normal((outputs, inputs, kernel, kernel))
        weight = (drawn * np.sqrt(2 / (inputs * kernel**2))).astype(np.float32)
        bias = (0.1 * np.random.RandomState(2100 + number).standard_normal(outputs)).astype(np.float32)
        content[scope][f"Conv_{number}"] = {"kernel": weight.transpose(2, 3, 1, 0), "bias": bias}
    for number, stage in enumerate(stages):
        head = np.abs(np.random.RandomState(2200 + number).standard_normal(stage[-1][0])).astype(np.float32)
        content[f"NetLinLayer_{number}"] = {"Conv_0": {"kernel": head[None, None, :, None]}}
    path.write_bytes(pickle.dumps(content, protocol=3))
    return path
