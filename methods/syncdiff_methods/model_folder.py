"""A model as one folder: config.json, and NAME.safetensors for each of its networks.

Models of this project may share an autoencoder: `"autoencoder_from": "pocket"` in config.json stands for the file of
that shipped SyncDiff model. What `save_pretrained` writes has a file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypedDict, TypeVar

import torch
from torch import nn

from syncdiff_bench.contracts import WeightsUsed
from syncdiff_bench.documents import WrongValue, check, parse_json, read_json
from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.options import options_from_values
from syncdiff_bench.weights.digests import sha256_of
from syncdiff_bench.weights.loading import check_state_dict, load_tensors

CONFIG = "config.json"
SHARED = "autoencoder_from"  # of config.json: the shipped SyncDiff model whose autoencoder this one uses
SHARED_IN = Path(__file__).parent / "syncdiff" / "pretrained"
ConfigT = TypeVar("ConfigT")
ModelT = TypeVar("ModelT", bound="FolderModel")


class _Shared(TypedDict, total=False):
    autoencoder_from: str


class FolderModel(nn.Module):
    """Networks that are built from one config and kept in one folder.

    Config: dataclass of config.json, which `__init__` takes.
    parts: attributes that hold the networks, each a file of that name.
    title: of the method, in messages.
    mend: what to do about a config that cannot be read.
    shipped: folder of the models that come with the package, by name.
    """

    Config: ClassVar[type[Any]]
    parts: ClassVar[tuple[str, ...]]
    title: ClassVar[str]
    mend: ClassVar[str]
    shipped: ClassVar[Path]
    config: Any

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def locate(cls, where: str | Path) -> Path:
        """The folder behind a shipped model's name or a path. Raises UsageError where it holds no config."""
        for folder in (cls.shipped / str(where), Path(where)):
            if (folder / CONFIG).is_file():
                return folder
        shipped = sorted(path.parent.name for path in cls.shipped.glob(f"*/{CONFIG}"))
        raise UsageError(
            f"no {cls.title} model at {str(where)!r}; give a directory with config.json and safetensors, or one of the"
            f" shipped: {', '.join(shipped)}"
        )

    @classmethod
    def read_config(cls, where: str | Path) -> Any:
        """The config of a shipped model's name or a folder. Raises UsageError where it cannot be read."""
        return read_config(cls.Config, cls.locate(where), f"{cls.title} config", cls.mend)

    @classmethod
    def from_pretrained(cls: type[ModelT], where: str | Path) -> ModelT:
        """Load a folder, or a shipped model by its name ("pocket"), in evaluation mode.

        Raises UsageError where there is no such model, WeightsError where its files do not fit its config.
        """
        folder = cls.locate(where)
        model = cls(cls.read_config(folder))
        for part, path in part_files(folder, cls.parts).items():
            if not path.is_file():
                holds = f"a {cls.title} directory holds {', '.join(cls.parts)} and config.json"
                raise WeightsError(f"{path}: no such file; {holds}")
            load_part(getattr(model, part), path)
        return model.eval()

    def save_pretrained(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write config and weights; float16 halves a shipped checkpoint."""
        write_config(self.config, folder)
        for part in self.parts:
            save_part(getattr(self, part), folder / f"{part}.safetensors", dtype)

    @classmethod
    def weights_used(cls, where: str | Path, method: str) -> tuple[WeightsUsed, ...]:
        """Name and digest of each file."""
        folder = cls.locate(where)
        files = part_files(folder, cls.parts).items()
        return tuple(WeightsUsed(f"{method}/{folder.name}/{part}", sha256_of(file), file) for part, file in files)


def write_config(config: Any, folder: Path) -> None:
    """Write a dataclass as config.json of a folder, which is made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")


def read_config(
    cls: type[ConfigT], folder: Path, what: str, mend: str, error: type[UsageError | WeightsError] = UsageError
) -> ConfigT:
    """config.json of a folder as a dataclass. Raises `error` where there is none that fits."""
    path = folder / CONFIG
    try:
        values = parse_json(path.read_bytes())
        check(values, Mapping[str, Any])
        values.pop(SHARED, None)
        config: ConfigT = options_from_values(cls, values, path.name)
    except (OSError, WrongValue, UsageError) as problem:
        raise error(f"{path}: not a readable {what} ({problem}); {mend}") from None
    return config


def part_files(folder: Path, parts: Sequence[str]) -> dict[str, Path]:
    """The weights file of each part of a model's folder; a shared autoencoder lies in the package."""
    files = {part: folder / f"{part}.safetensors" for part in parts}
    if (folder / CONFIG).is_file():
        config = read_json(folder / CONFIG, "is no config of a model", "convert or train it again", _Shared)
        if SHARED in config:
            files["autoencoder"] = SHARED_IN / config["autoencoder_from"] / "autoencoder.safetensors"
    return files


def save_part(network: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a network's floating-point tensors as `dtype`, everything else as it is."""
    from safetensors.torch import save_file

    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous().cpu()
        for name, tensor in network.state_dict().items()
    }
    save_file(tensors, path)


def load_part(network: nn.Module, path: Path) -> None:
    """Fill a network, strictly, floating-point tensors as float32. Raises WeightsError naming the file."""
    check_state_dict(network, load_tensors(path, float32=True), str(path))
