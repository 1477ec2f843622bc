"""Read a SyncNet checkpoint: the published `syncnet_v2.model`, or a narrower one trained by this project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from syncdiff_bench.errors import WeightsError
from syncdiff_bench.networks.syncnet.network import SyncNet, SyncNetConfig
from syncdiff_bench.weights.loading import check_state_dict, load_tensors

_STEM = "netcnnaud.0.weight"
_EMBEDDING = "netfcaud.3.weight"
_PUBLISHED_STEM = 64  # output channels of _STEM at width 1


def load_syncnet(path: Path) -> SyncNet:
    """The network of a checkpoint, on the CPU and in evaluation mode; its width is read from its tensors.

    Raises WeightsError where the file cannot be read, or is of another network.
    """
    return syncnet_from_tensors(load_tensors(path), name=str(path))


def syncnet_from_tensors(tensors: Mapping[str, Tensor], *, name: str) -> SyncNet:
    """Build the network that the tensors belong to and fill it.

    name: the file, for the error message.
    Raises WeightsError naming the first tensor that is missing, unexpected or of another shape.
    """
    network = SyncNet(_config_of(tensors, name))
    # evaluation does not use these counters, and files of old torch versions have none
    counters = {key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")}
    check_state_dict(network, {**counters, **tensors}, name)
    return network.eval()


def _config_of(tensors: Mapping[str, Tensor], name: str) -> SyncNetConfig:
    stem, embedding = tensors.get(_STEM), tensors.get(_EMBEDDING)
    if stem is None or embedding is None or stem.ndim != 4 or embedding.ndim != 2:
        raise WeightsError(
            f"{name} is not a SyncNet checkpoint: it has no usable {_STEM} and {_EMBEDDING}; "
            "give the published syncnet_v2.model or a checkpoint of this project"
        )
    return SyncNetConfig(width=stem.shape[0] / _PUBLISHED_STEM, embedding=embedding.shape[0])
