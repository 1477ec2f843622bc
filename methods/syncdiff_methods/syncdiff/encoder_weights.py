"""Where the frozen part of the audio encoder comes from: a published AV-HuBERT, or another SyncDiff (paper 3.2)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from syncdiff_bench.errors import UsageError
from syncdiff_bench.weights.catalog import installed
from syncdiff_bench.weights.loading import check_state_dict, load_tensors
from syncdiff_methods.syncdiff.audio import AudioCondition
from syncdiff_methods.syncdiff.model import PRETRAINED, locate

if TYPE_CHECKING:
    from torch import Tensor

# What AV-HuBERT's files hold beside the audio path: the video front-end, and what only pre-training reads.
UNREAD = ("feature_extractor_video.", "mask_emb", "label_embs_concat")


def fill_encoder(condition: AudioCondition, where: str) -> None:
    """Load the weights that training starts from.

    where: a fairseq checkpoint of AV-HuBERT (`.pt`, pre-trained or fine-tuned), its name in the weights catalogue, or
        a SyncDiff model (a directory or a shipped name), whose encoder is taken.
    Raises UsageError where there is none, WeightsError where it has other sizes.
    """
    tensors, source = _tensors(where)
    check_state_dict(condition.encoder, {name: tensor.float() for name, tensor in tensors.items()}, source)


def _tensors(where: str) -> tuple[dict[str, Tensor], str]:
    path = Path(where)
    if path.is_dir() or (PRETRAINED / where).is_dir():
        file = locate(where) / "audio.safetensors"
        prefix = "encoder."
        found = {name: tensor for name, tensor in load_tensors(file).items() if name.startswith(prefix)}
        return {name.removeprefix(prefix): tensor for name, tensor in found.items()}, str(file)
    if not path.is_file():
        if where not in installed().entries:
            raise UsageError(
                f"no audio encoder {where!r}; give an AV-HuBERT checkpoint, its catalogue name, or a SyncDiff model"
            )
        from syncdiff_bench.weights.store import WeightsStore

        path = WeightsStore().ensure(where)
    from syncdiff_bench.networks.avhubert.checkpoint import read_checkpoint

    encoder = read_checkpoint(path).encoder
    return {name: tensor for name, tensor in encoder.items() if not name.startswith(UNREAD)}, str(path)
