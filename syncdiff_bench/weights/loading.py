"""The only place where checkpoints are read. Nothing in a file is ever executed.

safetensors hold tensors and nothing else; files of torch are read with `weights_only`; other pickles are read
with an allow-list whose globals are stand-ins of this project. What a file holds besides is refused by name.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

# how torch names what it refuses to call
_FOREIGN = re.compile(r"\bGLOBAL ([\w.]+)")

MEND = "it is truncated or another file; fetch or copy it again"


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a state-dict file, on the CPU with the dtypes of the file.

    path: `.safetensors`, or a file of `torch.save` (zip or legacy) that holds the tensors themselves or under
        "state_dict", beside plain values such as a step count.
    Raises WeightsError where the file is missing, broken, holds other classes, or anything but tensors.
    """
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    content = load_torch(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    return _only_tensors(content, path)


def load_torch(path: Path) -> Any:
    """Content of a file of `torch.save`: tensors and plain values. Raises WeightsError as `load_tensors`."""
    return load_torch_with_stubs(path, {})


def load_torch_with_stubs(path: Path, stubs: Mapping[str, type]) -> Any:
    """Content of a file of `torch.save` that also pickles classes of a library that is not here.

    stubs: full name of the pickled class (`fairseq.data.dictionary.Dictionary`) -> the class that takes its
    place.
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


def _only_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    from torch import Tensor

    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, expected named tensors: {MEND}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise WeightsError(f"{path}: {key!r} is a {type(value).__name__}, expected named tensors: {MEND}")
    return dict(content)


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
