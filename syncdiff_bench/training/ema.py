"""Exponential moving average of trained parameters, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError


class EMA:
    """CompVis' warm-up: decay min(ceiling, (1 + n) / (10 + n)), n updates so far (docs/spec/ldm.md#ema)."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], decay: float) -> None:
        from diffusers.training_utils import EMAModel

        self._parameters = dict(parameters)
        # Two kernels in place of three for each of them, rounded once less: not on a CPU, whose averages stay the bytes
        # that they were.
        foreach = any(parameter.device.type != "cpu" for parameter in self._parameters.values())
        self._average = EMAModel(self._parameters.values(), decay=decay, foreach=foreach)

    def step(self) -> None:
        """Take the current values in."""
        self._average.step(self._parameters.values())

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages in place of the parameters, for as long as the block lasts."""
        self._average.store(self._parameters.values())
        self._average.copy_to(self._parameters.values())
        try:
            yield
        finally:
            self._average.restore(self._parameters.values())

    @property
    def updates(self) -> int:
        return int(self._average.optimization_step)

    def tensors(self) -> dict[str, Tensor]:
        """Name -> average, on the CPU."""
        return {
            name: average.detach().cpu().contiguous()
            for name, average in zip(self._parameters, self._average.shadow_params, strict=True)
        }

    def restore(self, tensors: Mapping[str, Tensor], updates: int, source: str) -> None:
        """Go on from saved averages. Raises UsageError where a parameter has none."""
        missing = [name for name in self._parameters if name not in tensors]
        if missing:
            raise UsageError(
                f"{source}: holds no average of {missing[0]}; it is of another model, choose another --out"
            )
        with torch.no_grad():
            for (name, _), average in zip(self._parameters.items(), self._average.shadow_params, strict=True):
                average.copy_(tensors[name])
        self._average.optimization_step = updates
