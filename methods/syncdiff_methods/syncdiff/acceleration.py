"""How the networks run while sampling: number format, memory layout, packing, compilation. For inference, in place."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from syncdiff_methods.syncdiff.model import SyncDiffModel

Precision = Literal["auto", "fp32", "bf16"]
Compile = Literal["off", "on", "graphs"]


@dataclass(frozen=True)
class Acceleration:
    """precision: of the UNet; auto is bf16 on a GPU that has it, else fp32 (on a CPU bf16 is several times slower).
    The autoencoder stays in fp32, its quantiser needs it, and so do the latents between steps.

    compile: torch.compile of the UNet; `on` with frozen weights on a CPU, `graphs` with CUDA graphs.
    channels_last: layout of all convolutions. On a CPU, what is float32 and not compiled has its weights packed.
    """

    precision: Precision = "auto"
    compile: Compile = "off"
    channels_last: bool = True

    def resolved(self, device: torch.device) -> Acceleration:
        """Without `auto`. Raises UsageError for what the device cannot do."""
        import torch

        gpu = device.type == "cuda"
        precision = self.precision
        if precision == "auto":
            precision = "bf16" if gpu and torch.cuda.is_bf16_supported() else "fp32"
        if self.compile == "graphs" and not gpu:
            raise UsageError(f"compile=graphs needs a CUDA device, this is {device.type}; use compile=on or off")
        if self.compile == "on" and device.type == "cpu" and not _cpp_compiler():
            raise UsageError(
                "compile=on needs a C++ compiler (g++ or clang++) on a CPU; install one or use compile=off"
            )
        return Acceleration(precision, self.compile, self.channels_last)


def accelerate(model: SyncDiffModel, acceleration: Acceleration) -> Acceleration:
    """Apply it to a model that lies on its device and will not be trained; returns what `auto` came to."""
    import torch

    from syncdiff_methods.syncdiff.packing import can_pack, pack

    unet = model.denoiser.unet
    chosen = acceleration.resolved(unet.device)
    if chosen.channels_last:
        for network in (unet, model.autoencoder):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if chosen.precision == "bf16":
        unet.to(torch.bfloat16)
    if can_pack(unet.device):
        pack(model.autoencoder)
        if (chosen.precision, chosen.compile) == ("fp32", "off"):
            pack(unet)
    if chosen.compile != "off":
        _compile(unet, chosen.compile)
    return chosen


def _compile(unet: nn.Module, how: Compile) -> None:
    # Batches shrink as clips end: the first size compiles, the second for all others, a clip alone once more.
    if how == "graphs":
        unet.compile(mode="reduce-overhead")
    elif next(unet.parameters()).device.type == "cpu":
        import torch._inductor.config

        # As an option of `compile` it comes too late: the weights are inputs of the graph by then, none is frozen.
        torch._inductor.config.freezing = True
        unet.compile()
    else:
        unet.compile()


def _cpp_compiler() -> bool:
    return any(shutil.which(name) for name in ("g++", "clang++"))
