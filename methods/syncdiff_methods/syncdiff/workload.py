"""What generating with a model costs: counted on its shapes, timed on networks of its size with empty weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from syncdiff_bench.contracts import MEMORY_SHARE, Workload
from syncdiff_bench.estimates.counting import flops_of, peak_bytes_of
from syncdiff_bench.estimates.machine import available_bytes, flops_per_second
from syncdiff_methods.syncdiff.acceleration import Acceleration, accelerate
from syncdiff_methods.syncdiff.config import SyncDiffConfig
from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_methods.syncdiff.one_token import one_token_attention
from syncdiff_methods.syncdiff.sampling import ENCODED_TOGETHER, reads_generated

Sized = Callable[[int, int], Any]


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

    def step(self, batch: int, side: int) -> Tensor:
        denoiser = self.model.denoiser
        dtype = denoiser.unet.dtype
        noisy, visual = (
            self._made(batch, 3, side, side),
            self._made(batch, self.config.condition.channels - 3, side, side),
        )
        with one_token_attention(denoiser.unet) as outputs:
            context = outputs(self._made(batch, self.config.audio.dim).to(dtype))
            timestep = torch.zeros((), dtype=torch.long, device=self.device)
            made: Tensor = denoiser(noisy.to(dtype), timestep, visual.to(dtype), context)
        return made

    def encode(self, batch: int, side: int) -> Tensor:
        scale = self.config.frame_size // self.config.latent_size
        return self.model.autoencoder.encode(self._made(batch, 3, side * scale, side * scale))

    def decode(self, batch: int, side: int) -> Tensor:
        return self.model.autoencoder.decode(self._made(batch, 3, side, side))

    def _made(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self.device)


@torch.inference_mode()
def workload(
    config: SyncDiffConfig, frames: Sequence[int], batch: int, acceleration: Acceleration, device: str
) -> Workload:
    """Of generating clips of so many frames, `batch` at once. The audio encoder is left out of time: it is below 1 %.

    Time is that of the plain networks: compiled ones are faster once they are compiled.
    """
    shapes, side = _Networks(config, "meta"), config.latent_size
    calls: dict[str, Sized] = {"step": shapes.step, "encode": shapes.encode, "decode": shapes.decode}
    flops = {name: flops_of(partial(call, 1, side)) for name, call in calls.items()}
    memory = {name: peak_bytes_of(partial(call, 1, side)) for name, call in calls.items()}

    total = sum(frames)
    per_frame = {"step": config.diffusion.steps, "encode": 1 + reads_generated(config), "decode": 1}
    chosen = acceleration.resolved(torch.device(device))
    weights = 4 * _parameters(shapes.model)
    if chosen.precision == "bf16":
        weights -= 2 * _parameters(shapes.model.denoiser.unet)
        memory["step"] //= 2
    clip_bytes = max(memory.values())
    constant = weights + max(0, ENCODED_TOGETHER * memory["encode"] - batch * clip_bytes)

    seconds = None
    if weights + clip_bytes < MEMORY_SHARE * available_bytes(device):
        real = _Networks(config, device)
        accelerate(real.model, Acceleration(chosen.precision, "off", chosen.channels_last))
        speed = {
            name: flops_per_second(_trials(getattr(real, name), call, side, batch), device)
            for name, call in calls.items()
        }
        seconds = sum(total * times * flops[name] / speed[name] for name, times in per_frame.items())
    return Workload(
        flops=total * sum(times * flops[name] for name, times in per_frame.items()),
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
