"""FLOPs and memory of a call, from shapes alone: works on tensors without storage (torch's meta device)."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def flops_of(function: Callable[[], Any]) -> int:
    """Floating-point operations of a call, forward and backward, 2 per multiply-add.

    torch.utils.flop_counter, with the attention kernel of CPUs, which it does not know.
    """
    from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

    # Both are given the shapes of the operation's arguments.
    attention = {
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
            lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v)  # type: ignore[no-untyped-call]
        ),
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
            lambda gradient, q, k, v, *_, **__: sdpa_backward_flop_count(gradient, q, k, v)  # type: ignore[no-untyped-call]
        ),
    }
    with FlopCounterMode(display=False, custom_mapping=attention) as counter:
        function()
    return int(counter.get_total_flops())


def peak_bytes_of(function: Callable[[], Any]) -> int:
    """The most bytes that tensors made during a call, without autograd, hold at one time; workspaces not included."""
    with _LiveStorages() as storages:
        function()
    return int(storages.peak)


def saved_bytes_of(function: Callable[[], Tensor], model: nn.Module) -> int:
    """Bytes that autograd keeps for the backward pass of what `function` returns, parameters aside."""
    sizes: dict[int, int] = {}
    owned = {p.untyped_storage()._cdata for p in (*model.parameters(), *model.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in owned:
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = function()  # held until the sizes are added up, so that no storage is used twice
    total = sum(sizes.values())
    del result
    return total


class _LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds a storage up when its first tensor appears, and takes it off when its last tensor is gone."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._tensors: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_storage(tensor) for tensor in _tensors(args)} - self._tensors.keys()
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            if _storage(tensor) not in given:
                self._hold(tensor)
        return result

    def _hold(self, tensor: Tensor) -> None:
        key, size = _storage(tensor), tensor.untyped_storage().nbytes()
        if not self._tensors[key]:
            self.now += size
            self.peak = max(self.peak, self.now)
        self._tensors[key] += 1
        weakref.finalize(tensor, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._tensors[key] -= 1
        if not self._tensors[key]:
            del self._tensors[key]
            self.now -= size


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
