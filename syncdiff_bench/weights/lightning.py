"""Checkpoints of PyTorch Lightning, read without Lightning (docs/spec/difftalk.md#checkpoints).

Such a file pickles classes besides its tensors (the keys of `callbacks` are classes). Those of Lightning, and of the
training script that wrote the file, are replaced by a class that does nothing; everything else is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncdiff_bench.errors import WeightsError
from syncdiff_bench.weights.loading import load_tensors, load_torch_with_stubs

if TYPE_CHECKING:
    from torch import Tensor

# `main` and `__main__`: CompVis' training script defines its callbacks itself
INERT = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "main.", "__main__.", "omegaconf.")


class Inert:
    """Stands in for any class whose content nobody reads."""

    def __new__(cls, *_arguments: Any, **_named: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        """Takes whatever the file gives."""

    def __setstate__(self, _state: Any) -> None:
        """Forgets it."""


def load_state_dict(path: Path) -> dict[str, Tensor]:
    """The `state_dict` of a Lightning checkpoint (or of any file that `load_tensors` reads), on the CPU.

    Raises WeightsError where the file is missing, broken, holds other classes, or no tensors.
    """
    if path.suffix == ".safetensors":
        return load_tensors(path)
    from torch import Tensor

    content = load_torch_with_stubs(path, dict.fromkeys(_inert_classes(path), Inert))
    state = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds a {type(state).__name__}, expected named tensors; copy the file again")
    # Counters among the tensors (`global_step`) are plain numbers in some files.
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no named tensors; give a checkpoint with a state_dict")
    return tensors


def _inert_classes(path: Path) -> list[str]:
    """Names of the pickled classes that may be replaced; finding them runs nothing of the file."""
    import torch

    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    # Missing, broken or legacy: `load_torch_with_stubs` says what is wrong, or reads it.
    except Exception:
        return []
    return [name for name in found if name.startswith(INERT)]
