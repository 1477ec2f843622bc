"""SyncDiff's networks as one object and one directory.

DIR/config.json                 config.SyncDiffConfig
DIR/autoencoder.safetensors     frames <-> latents
DIR/denoiser.safetensors        UNet and bottleneck (EMA weights)
DIR/audio.safetensors           AV-HuBERT audio encoder and temporal filter

Models of this project may share an autoencoder: `"autoencoder_from": "pocket"` in config.json stands for the file of
that shipped model. What `save_pretrained` writes has a file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from syncdiff_bench.contracts import WeightsUsed
from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.options import options_from_values
from syncdiff_bench.weights.digests import sha256_of
from syncdiff_methods.syncdiff.audio import AudioCondition
from syncdiff_methods.syncdiff.autoencoder import Autoencoder
from syncdiff_methods.syncdiff.config import AutoencoderConfig, SyncDiffConfig
from syncdiff_methods.syncdiff.denoiser import Denoiser

PRETRAINED = Path(__file__).parent / "pretrained"
PARTS = ("autoencoder", "denoiser", "audio")
SHARED = "autoencoder_from"  # of config.json: the shipped model whose autoencoder this one uses


class SyncDiffModel(nn.Module):
    """autoencoder, denoiser and audio condition, built from one config."""

    def __init__(self, config: SyncDiffConfig) -> None:
        super().__init__()
        self.config = config
        self.autoencoder = Autoencoder(config.autoencoder)
        self.denoiser = Denoiser(config)
        self.audio = AudioCondition(config.audio)

    @classmethod
    def from_pretrained(cls, where: str | Path) -> SyncDiffModel:
        """Load a directory, or one shipped with this package by its name ("pocket").

        Raises UsageError where there is no such directory, WeightsError where its files do not fit its config.
        """
        folder = locate(where)
        model = cls(read_config(folder))
        for part, file in part_files(folder, PARTS).items():
            load_part(getattr(model, part), file)
        return model.eval()

    def save_pretrained(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write config and weights; float16 halves a shipped checkpoint."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config.to_dict(), indent=1) + "\n")
        for part in PARTS:
            save_part(getattr(self, part), folder / f"{part}.safetensors", dtype)


def save_part(module: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write one network's floating-point tensors as `dtype`, everything else as it is."""
    from safetensors.torch import save_file

    tensors = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous().cpu()
        for name, tensor in module.state_dict().items()
    }
    save_file(tensors, path)


def load_part(module: nn.Module, path: Path) -> None:
    """Fill one network from a safetensors file, strictly. Raises WeightsError naming the file."""
    from syncdiff_bench.weights.loading import check_state_dict, load_tensors

    if not path.is_file():
        raise WeightsError(f"{path}: no such file; a SyncDiff directory holds {', '.join(PARTS)} and config.json")
    check_state_dict(module, load_tensors(path, float32=True), str(path))


def locate(where: str | Path) -> Path:
    """The directory of a shipped model's name or of a path."""
    for folder in (PRETRAINED / str(where), Path(where)):
        if (folder / "config.json").is_file():
            return folder
    shipped = sorted(p.parent.name for p in PRETRAINED.glob("*/config.json"))
    raise UsageError(
        f"no SyncDiff model at {str(where)!r}; give a directory with config.json and safetensors, or one of the"
        f" shipped: {', '.join(shipped)}"
    )


def autoencoder_folder(where: str | Path) -> Path:
    """The folder of an autoencoder trained alone, or imported (autoencoder.json); else that of a SyncDiff model, whose
    autoencoder is taken. Raises UsageError where there is neither.
    """
    folder = Path(where)
    if (folder / "autoencoder.json").is_file():
        return folder
    try:
        return locate(where)
    except UsageError:
        raise UsageError(
            f"{folder / 'autoencoder.json'}: no such file; train an autoencoder first and name its model folder"
        ) from None


def read_autoencoder(where: str | Path) -> tuple[AutoencoderConfig, int]:
    """Config and frame size. Raises UsageError as `autoencoder_folder`."""
    folder = autoencoder_folder(where)
    path = folder / "autoencoder.json"
    if not path.is_file():
        whole = read_config(folder)
        return whole.autoencoder, whole.frame_size
    known = json.loads(path.read_text())
    config: AutoencoderConfig = options_from_values(AutoencoderConfig, known["autoencoder"], str(path))
    return config, int(known["frame_size"])


def load_autoencoder(where: str | Path) -> tuple[Autoencoder, int, Path]:
    """The autoencoder in evaluation mode, the side of its frames, and its weights file. Raises as `from_pretrained`."""
    config, frame_size = read_autoencoder(where)
    autoencoder, file = Autoencoder(config), part_files(autoencoder_folder(where), ["autoencoder"])["autoencoder"]
    load_part(autoencoder, file)
    return autoencoder.eval(), frame_size, file


def read_config(folder: Path) -> SyncDiffConfig:
    """config.json of a SyncDiff directory. Raises UsageError where it is not readable, or another method's."""
    values = read_values(folder, "SyncDiff config", "save the model again")
    values.pop(SHARED, None)
    config: SyncDiffConfig = options_from_values(SyncDiffConfig, values, str(folder / "config.json"))
    return config


def read_values(folder: Path, what: str, mend: str) -> dict[str, Any]:
    """The values of config.json. what, mend: of the message. Raises UsageError where it is no JSON table."""
    path = folder / "config.json"
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: not a readable {what} ({error}); {mend}") from None


def part_files(folder: Path, parts: Sequence[str]) -> dict[str, Path]:
    """The weights file of each part of a model directory; a shared autoencoder lies in the package."""
    files = {part: folder / f"{part}.safetensors" for part in parts}
    if (folder / "config.json").is_file():
        shared = read_values(folder, "config", "save the model again").get(SHARED)
        if shared is not None:
            files["autoencoder"] = PRETRAINED / str(shared) / "autoencoder.safetensors"
    return files


def weights_digests(where: str | Path) -> tuple[WeightsUsed, ...]:
    """sha256 of each file of a model directory."""
    folder = locate(where)
    files = part_files(folder, PARTS).items()
    return tuple(WeightsUsed(f"syncdiff/{folder.name}/{part}", sha256_of(file), file) for part, file in files)
