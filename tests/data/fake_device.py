"""A computer with an accelerator that computes shapes: what a GPU would be asked, counted without one.

Values on the CPU are real; those on the device do not exist, and where one is read it is 1. An operator that is given
tensors of both raises, as on a GPU. Float32 only: autocast and `torch.Generator` know nothing of the device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

NAME = "fake"
NO_KERNEL = ("_unsafe_view", "lift_fresh", "empty", "new_empty", "set_")  # beside views; beginnings of names
NO_WORK = ("prim", "profiler")  # namespaces


@cache
def device() -> torch.device:
    """The device, registered once per process; skips the test where this version of torch has no such thing."""
    try:
        from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
    except ImportError:
        pytest.skip("this torch cannot register a device in Python")
    _setup_privateuseone_for_python_backend(NAME)
    torch.get_device_module(NAME).get_amp_supported_dtype = list  # `torch.autocast(..., enabled=False)` asks
    return torch.device(NAME)


class Counted(TorchDispatchMode):
    """What the device was asked for since `clear`.

    launches: by operator; views and allocations are none. A foreach operator is one, though a GPU starts tens of
        kernels for it.
    waits: operators for which the CPU waits for the device: a value read, a copy to the CPU.
    copies: operators that bring something to the device.
    blocking: those of them that do not say `non_blocking`, and operators that are given an index on the CPU.
    """

    def __init__(self, shapes: FakeTensorMode) -> None:
        super().__init__()
        self.shapes = shapes
        self.clear()

    def clear(self) -> None:
        self.launches: Counter[str] = Counter()
        self.waits: list[str] = []
        self.copies: list[str] = []
        self.blocking: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "aten":
            with self:  # under inference_mode, operators that are made of others arrive whole
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [tensor for tensor in tensors if isinstance(tensor, FakeTensor)]
        here = [tensor for tensor in tensors if not isinstance(tensor, FakeTensor)]
        name, target = func._schema.name.partition("::")[2], kwargs.get("device")
        to_device = target is not None and torch.device(target).type == NAME
        if not there and not to_device:
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if there and (name == "_local_scalar_dense" or (target is not None and not to_device)):
            self.waits.append(name)
            with unset_fake_temporarily():
                read = torch.ones(there[0].shape, dtype=kwargs.get("dtype") or there[0].dtype)
                return read.item() if name == "_local_scalar_dense" else read
        if there and name == "copy_" and here and args[0] is here[0]:
            self.waits.append(name)
            with unset_fake_temporarily():
                return args[0].fill_(1)
        if any(tensor.dim() for tensor in here) or (here and to_device):
            self.copies.append(name)
            if not (kwargs.get("non_blocking") or (name == "copy_" and True in args[2:])):
                self.blocking.append(name)
        if not (func.is_view or func.namespace in NO_WORK or name.startswith(NO_KERNEL)):
            self.launches[name] += 1
        # Where all are on the CPU, the mode below would compute for real.
        args = args if there else tree_map_only(Tensor, self.shapes.from_tensor, args)
        return func(*args, **kwargs)


@contextmanager
def computer() -> Iterator[tuple[torch.device, Counted]]:
    """The device and the counter, for as long as the block lasts; networks are built on it under `with device:`."""
    # Modules of diffusers make tensors as they are imported, which is at their first use.
    from diffusers import (  # noqa: F401
        DDIMScheduler,
        DPMSolverMultistepScheduler,
        LCMScheduler,
        UNet2DConditionModel,
        UniPCMultistepScheduler,
        VQModel,
    )

    there = device()
    shapes = FakeTensorMode(allow_non_fake_inputs=True)
    with pytest.MonkeyPatch.context() as patch, shapes, Counted(shapes) as counted:
        # Else the norm of the gradient is not computed in the foreach form that it has on a GPU.
        patch.setattr("torch.utils._foreach_utils._foreach_supported_types", [Tensor, FakeTensor])
        patch.setattr(FakeTensor, "tolist", lambda tensor: tensor.cpu().tolist())  # its own reads one by one
        yield there, counted
