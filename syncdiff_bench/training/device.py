"""What a training does for the speed of a GPU, by names of `TrainingSettings`; on a CPU only `compile` does anything.

None of it was ever timed on a GPU: docs/performance.md#on-a-gpu says what was checked without one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.training.task import TrainingSettings


def adamw(parameters: Iterable[nn.Parameter], settings: TrainingSettings, device: torch.device) -> torch.optim.AdamW:
    """AdamW, on anything but a CPU as one fused kernel: on a CPU that would change the last digits of trainings."""
    fused = True if device.type != "cpu" else None  # not False, which would leave out the foreach form too
    return torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=fused)


def arranged(model: nn.Module, settings: TrainingSettings, device: torch.device) -> nn.Module:
    """The same module, its two-dimensional convolutions channels last and itself compiled where the settings say so.

    Raises UsageError for `compile` on a CPU without a C++ compiler.
    """
    if settings.channels_last and device.type != "cpu":
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    if settings.compile:
        if device.type == "cpu" and not has_cpp_compiler():
            raise UsageError(
                "training.compile = true needs a C++ compiler (g++ or clang++) on a CPU; install one or leave it out"
            )
        model.compile()  # in place, so that the names of its parameters stay
    return model


def has_cpp_compiler() -> bool:
    """Whether torch.compile can work on a CPU."""
    return any(shutil.which(name) for name in ("g++", "clang++"))


@contextmanager
def float32_products(device: torch.device, *, tf32: bool) -> Iterator[None]:
    """Within the block, float32 matrix products and convolutions of a CUDA device run in TF32, or not.

    Bfloat16 is not concerned, nor a CPU.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def pinned(batch: Mapping[str, Tensor], device: torch.device) -> Mapping[str, Tensor]:
    """A batch that `sent` can copy to a CUDA device while the CPU goes on; for any other device as it is."""
    return {name: tensor.pin_memory() for name, tensor in batch.items()} if device.type == "cuda" else batch


def sent(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """A batch on its device, without waiting for it where it is `pinned`."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
