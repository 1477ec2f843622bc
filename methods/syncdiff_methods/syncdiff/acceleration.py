"""How the networks run while sampling (number format, memory layout, prepacking, compilation), and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.estimates.counting import flops_of, peak_bytes_of
from syncdiff_bench.estimates.machine import available_bytes, flops_per_second
from syncdiff_bench.runtime import MEMORY_SHARE, Workload
from syncdiff_bench.training.device import has_cpp_compiler
from syncdiff_methods.syncdiff.attention import cross_attention
from syncdiff_methods.syncdiff.config import Compile, DiffusionConfig, Precision, SyncDiffConfig
from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_methods.syncdiff.prepacked import can_prepack, prepack
from syncdiff_methods.syncdiff.sampling import CHUNK

Sized: TypeAlias = Callable[[int, int], Any]


@dataclass(frozen=True)
class Acceleration:
    """How the networks run while sampling.

    precision: of the UNet; auto is bf16 on a GPU that has it, else fp32 (on a CPU bf16 is several times slower), and
        fp32 for a distilled model that predicts epsilon. The autoencoder stays in fp32, its quantiser needs it, and so
        do the latents between steps.
    compile: torch.compile of the UNet; `on` with frozen weights on a CPU, `graphs` with CUDA graphs.
    channels_last: layout of all convolutions. On a CPU, what is float32 and not compiled has its weights prepacked.
    """

    precision: Precision = "auto"
    compile: Compile = "off"
    channels_last: bool = True

    def resolved(self, device: torch.device, diffusion: DiffusionConfig) -> Acceleration:
        """Without `auto`, for a model of that diffusion. Raises UsageError for what the device cannot do."""
        gpu = device.type == "cuda"
        precision = self.precision
        if precision == "auto":
            # Its first step divides the rounding of epsilon by 0.012 (docs/spec/syncdiff.md#few-steps).
            exact = (diffusion.sampler, diffusion.prediction) == ("consistency", "epsilon")
            precision = "bf16" if gpu and not exact and torch.cuda.is_bf16_supported() else "fp32"
        if self.compile == "graphs" and not gpu:
            raise UsageError(f"compile=graphs needs a CUDA device, this is {device.type}; use compile=on or off")
        if self.compile == "on" and device.type == "cpu" and not has_cpp_compiler():
            raise UsageError(
                "compile=on needs a C++ compiler (g++ or clang++) on a CPU; install one or use compile=off"
            )
        return Acceleration(precision, self.compile, self.channels_last)


def accelerate(model: SyncDiffModel, acceleration: Acceleration) -> Acceleration:
    """Apply it to a model that lies on its device and will not be trained; returns what `auto` came to."""
    unet = model.denoiser.unet
    chosen = acceleration.resolved(unet.device, model.config.diffusion)
    if chosen.channels_last:
        for network in (unet, model.autoencoder):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if chosen.precision == "bf16":
        unet.to(torch.bfloat16)
    if can_prepack(unet.device):
        prepack(model.autoencoder)
        if model.denoiser.temporal is not None:
            prepack(model.denoiser.temporal)
        if (chosen.precision, chosen.compile) == ("fp32", "off"):
            prepack(unet)
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


# -------------------------------------------------------------------------------------- what it costs


class _Networks:
    """A model's parts as calls of (batch, side of the latent); its weights are zeros, or nothing at all on "meta"."""

    def __init__(self, config: SyncDiffConfig, device: str) -> None:
        self.config = config
        self.device = device
        with torch.device("meta"):
            self.model = SyncDiffModel(config).eval()
        if device != "meta":
            self.model.to_empty(device=device)
            for tensor in self.model.state_dict().values():
                tensor.zero_()

    @property
    def calls(self) -> dict[str, Sized]:
        made: dict[str, Sized] = {"step": self.step, "encode": self.encode, "decode": self.decode}
        return made if self.model.denoiser.temporal is None else {**made, "context": self.context}

    def step(self, batch: int, side: int) -> Tensor:
        denoiser, condition = self.model.denoiser, self.config.condition
        dtype = denoiser.unet.dtype
        noisy, visual = self._made(batch, 3, side, side), self._made(batch, condition.channels - 3, side, side)
        with cross_attention(denoiser.unet, condition) as outputs:
            context = outputs(self._made(batch, condition.context_tokens, self.config.audio.dim).to(dtype))
            timestep = torch.zeros((), dtype=torch.long, device=self.device)
            made: Tensor = denoiser(noisy.to(dtype), timestep, visual.to(dtype), context)
        return made

    def context(self, batch: int, side: int) -> Tensor:
        previous = [self._made(batch, 3, side, side)] * self.config.condition.previous_frames
        audio, area = self._made(batch, self.config.audio.dim), self._made(batch, side, side)
        return self.model.denoiser.context(audio, previous, area)

    def encode(self, batch: int, side: int) -> Tensor:
        scale = self.config.frame_size // self.config.latent_size
        return self.model.autoencoder.encode(self._made(batch, 3, side * scale, side * scale))

    def decode(self, batch: int, side: int) -> Tensor:
        return self.model.autoencoder.decode(self._made(batch, 3, side, side))

    def _made(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self.device)


@torch.inference_mode()
def part_flops(config: SyncDiffConfig) -> dict[str, int]:
    """FLOPs of sampling one clip: a `step` of the UNet as it is run here, to `encode` a frame, to `decode` one; where
    previous frames are tokens, to make the `context` of a frame of them."""
    return _part_flops(_Networks(config, "meta"))


def _part_flops(shapes: _Networks) -> dict[str, int]:
    side = shapes.config.latent_size
    return {name: flops_of(partial(call, 1, side)) for name, call in shapes.calls.items()}


@torch.inference_mode()
def workload(
    config: SyncDiffConfig, frames: Sequence[int], batch: int, acceleration: Acceleration, device: str
) -> Workload:
    """Of generating clips of so many frames, `batch` at once. The audio encoder is left out of time: it is below 1 %.

    Time is that of the plain networks: compiled ones are faster once they are compiled.
    """
    shapes, side = _Networks(config, "meta"), config.latent_size
    flops = _part_flops(shapes)
    memory = {name: peak_bytes_of(partial(call, 1, side)) for name, call in shapes.calls.items()}

    total, condition = sum(frames), config.condition
    again = condition.reads_generated and config.feedback == "pixel"
    encoded = 1 + again + (condition.previous_at_test == "true")
    per_frame = {"step": config.diffusion.steps, "encode": encoded, "decode": 1, "context": 1}
    chosen = acceleration.resolved(torch.device(device), config.diffusion)
    weights = 4 * _parameters(shapes.model)
    if chosen.precision == "bf16":
        weights -= 2 * _parameters(shapes.model.denoiser.unet)
        memory["step"] //= 2
    clip_bytes = max(memory.values())
    constant = weights + max(0, CHUNK * memory["encode"] - batch * clip_bytes)

    seconds = None
    if weights + clip_bytes < MEMORY_SHARE * available_bytes(device):
        real = _Networks(config, device)
        accelerate(real.model, Acceleration(chosen.precision, "off", chosen.channels_last))
        speed = {
            name: flops_per_second(_trials(real.calls[name], call, side, batch), device)
            for name, call in shapes.calls.items()
        }
        seconds = sum(total * per_frame[name] * flops[name] / speed[name] for name in flops)
    return Workload(
        flops=total * sum(per_frame[name] * flops[name] for name in flops),
        seconds=seconds,
        constant_bytes=constant,
        clip_bytes=clip_bytes,
        batch=batch,
    )


def _trials(real: Sized, shapes: Sized, side: int, batch: int) -> Iterator[tuple[Callable[[], Any], int]]:
    """Growing ones, up to the whole batch at its true size; each with its FLOPs."""
    sizes = [(1, side // 4), (1, side // 2), (1, side), (min(4, batch), side), (batch, side)]
    for n, s in dict.fromkeys(sizes):
        yield partial(real, n, s), flops_of(partial(shapes, n, s))


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
