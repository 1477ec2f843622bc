"""The only place where checkpoints are read. Nothing in a file is ever executed.

safetensors hold tensors and nothing else; files of torch are read with `weights_only`; other pickles are read with an
allow-list whose globals are stand-ins of this project. Any other class that a file holds is refused by name.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

# how torch names what it refuses to call
_FOREIGN = re.compile(r"\bGLOBAL ([\w.]+)")

MEND = "it is truncated or another file; fetch or copy it again"


def load_tensors(path: Path, *, float32: bool = False) -> dict[str, Tensor]:
    """Named tensors of a state-dict file, on the CPU.

    path: `.safetensors`, or a file of `torch.save` (zip, legacy, PyTorch Lightning) that holds the tensors themselves
        or under "state_dict". What else it holds is left out: settings, optimizers, counters (`global_step`).
    float32: make half-precision tensors float32; otherwise dtypes are those of the file.
    Raises WeightsError where the file is missing, broken, holds other classes, or no tensors.
    """
    from torch import Tensor

    if path.suffix == ".safetensors":
        tensors = _load_safetensors(path)
    else:
        content = load_torch(path, dict.fromkeys(_inert_classes(path), Inert))
        state = content.get("state_dict", content) if isinstance(content, Mapping) else content
        if not isinstance(state, Mapping):
            raise WeightsError(f"{path} holds a {type(state).__name__}, expected named tensors: {MEND}")
        tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
        if not tensors:
            raise WeightsError(f"{path} holds no named tensors; give a checkpoint with a state_dict")
    if float32:
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    return tensors


def load_torch(path: Path, stubs: Mapping[str, type] = MappingProxyType({})) -> Any:
    """Content of a file of `torch.save`: tensors, plain values, and classes that have a stand-in.

    stubs: full name of a pickled class (`fairseq.data.dictionary.Dictionary`) -> the class that takes its place.
    Raises WeightsError naming the first class that is neither plain data nor in `stubs`.
    """
    import torch

    _check_file(path)
    allowed: list[Any] = [(stub, name) for name, stub in stubs.items()]
    with torch.serialization.safe_globals(allowed) if allowed else nullcontext():
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except WeightsError as error:  # a stub refused what it was given
            raise WeightsError(f"{path}: {error}") from None
        # A broken or hostile file fails in whatever way it likes; all of them mean the same.
        except Exception as error:
            foreign = _FOREIGN.search(str(error))
            if foreign:
                raise WeightsError(f"{path}: {_refusal(foreign[1])}") from None
            raise WeightsError(f"{path} is not a readable torch checkpoint ({_brief(error)}): {MEND}") from None


def restricted_unpickle(path: Path, allowed: Mapping[str, Callable[..., Any]]) -> Any:
    """Content of a pickle in which only the named globals occur.

    allowed: full name (`numpy.core.multiarray._reconstruct`) -> what takes its place; it is called with
        whatever the file says, so it must be harmless for any arguments.
    Raises WeightsError naming the first other global (nothing of the file has run), or where the file is
    broken.
    """

    class Restricted(pickle.Unpickler):
        def find_class(self, module_name: str, global_name: str) -> Any:
            full_name = f"{module_name}.{global_name}"
            if full_name not in allowed:
                raise WeightsError(_refusal(full_name))
            return allowed[full_name]

    _check_file(path)
    with path.open("rb") as file:
        try:
            return Restricted(file).load()
        except WeightsError as error:  # a foreign global, or a stand-in refused what it was given
            raise WeightsError(f"{path}: {error}") from None
        # As above: a broken file may raise anything.
        except Exception as error:
            raise WeightsError(f"{path} is not a readable pickle ({_brief(error)}): {MEND}") from None


def load_pickled_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of a pickle that nests dictionaries of numpy arrays, named by their keys joined with "/".

    numpy's own classes are not called: the bytes are read by `PickledArray`, numbers only.
    Raises WeightsError where the pickle holds anything else.
    """
    found: dict[str, NDArray[Any]] = {}

    def collect(node: Any, name: str) -> None:
        if isinstance(node, Mapping):
            for key, child in node.items():
                collect(child, f"{name}/{key}" if name else str(key))
        elif isinstance(node, PickledArray) and node.array is not None:
            found[name] = node.array
        else:
            raise WeightsError(f"{path}: {name or 'its content'} is a {type(node).__name__}, expected arrays: {MEND}")

    collect(restricted_unpickle(path, NUMPY_STAND_INS), "")
    return found


def check_state_dict(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Fill `module` with exactly these tensors.

    name: the file or catalogue name, for the message.
    Raises WeightsError naming the first tensor that is missing, unexpected or of another shape; `module` is
    then as before.
    """
    expected = module.state_dict()
    wrong = [
        *(f"{key} is missing" for key in expected if key not in tensors),
        *(f"{key} is unexpected" for key in tensors if key not in expected),
        *(
            f"{key} has shape {tuple(tensors[key].shape)} instead of {tuple(value.shape)}"
            for key, value in expected.items()
            if key in tensors and tensors[key].shape != value.shape
        ),
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        network = type(module).__name__
        raise WeightsError(f"{name} does not fit {network}: {wrong[0]}{more}; use the weights made for this network")
    module.load_state_dict(dict(tensors))


def save_network(network: nn.Module, file: Path, *, half: bool) -> None:
    """Write its tensors as safetensors.

    half: kernels as float16. Biases, norms and their statistics stay float32: the variances of a layer that reads raw
        pixels are beyond float16.
    """
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (t.half() if half and t.is_floating_point() and t.ndim > 1 else t).detach().contiguous().cpu()
        for name, t in network.state_dict().items()
    }
    save_file(tensors, file)


# ---------------------------------------------------------------------- arrays without numpy's pickles


class PickledDtype:
    """Stands in for `numpy.dtype`: a type string of booleans or numbers, and a byte order."""

    def __init__(self, code: str, _align: bool = False, _copy: bool = False) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def dtype(self) -> np.dtype[Any]:
        dtype = np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]
        if dtype.kind not in "biuf":
            raise WeightsError(f"an array of dtype {self.code!r}, expected numbers; use the published file")
        return dtype


class PickledArray:
    """Stands in for `numpy.ndarray` and for the function that makes an empty one; its state sets `array`."""

    array: NDArray[Any] | None = None

    def __init__(self, *_arguments: Any) -> None:
        """Class, shape and dtype of the empty array: the state that follows says all of it again."""

    def __setstate__(self, state: tuple[int, tuple[int, ...], PickledDtype, bool, bytes]) -> None:
        _version, shape, dtype, column_major, data = state
        flat = np.frombuffer(data, dtype.dtype())
        self.array = flat.reshape(shape, order="F" if column_major else "C").copy()


NUMPY_STAND_INS: Mapping[str, Callable[..., Any]] = {
    "numpy.ndarray": PickledArray,
    "numpy.dtype": PickledDtype,
    "numpy.core.multiarray._reconstruct": PickledArray,
    "numpy._core.multiarray._reconstruct": PickledArray,  # as numpy 2 writes it
}


# --------------------------------------------------------------------------------------------------- details


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _check_file(path)
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, ValueError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({_brief(error)}): {MEND}") from None


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; `syncdiff-bench weights list` shows what is here")
    if path.stat().st_size == 0:
        raise WeightsError(f"{path} is empty: {MEND}")


def _refusal(full_name: str) -> str:
    return f"holds the foreign class or function {full_name}, which is not run; use the published file"


def _brief(error: Exception) -> str:
    """The first sentence of an error, in one line; torch explains at length."""
    text = " ".join(str(error).split())
    return text.partition(". ")[0][:160] or type(error).__name__


# --------------------------------------------------------------------- checkpoints of PyTorch Lightning


# `main` and `__main__`: CompVis' training script defines its callbacks itself
INERT = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "main.", "__main__.", "omegaconf.")


class Inert:
    """Stands in for any class whose content is not read."""

    def __new__(cls, *_arguments: Any, **_named: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        """Takes whatever the file gives."""

    def __setstate__(self, _state: Any) -> None:
        """Forgets it."""


def _inert_classes(path: Path) -> list[str]:
    """Names of the pickled classes that may be replaced; finding them runs nothing of the file."""
    import torch

    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    # Missing, broken or legacy: `load_torch` says what is wrong, or reads it.
    except Exception:
        return []
    return [name for name in found if name.startswith(INERT)]
