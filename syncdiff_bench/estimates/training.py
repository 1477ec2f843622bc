"""What a training costs, before it starts: data, FLOPs, memory, caches, time; in numbers and in words.

FLOPs and memory are counted on a model without storage (torch's FakeTensorMode), whose shapes are all that matters;
time is that of a real step, small enough to take seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from syncdiff_bench.contracts import FPS
from syncdiff_bench.errors import BenchError
from syncdiff_bench.estimates.counting import flops_of, saved_bytes_of
from syncdiff_bench.estimates.machine import available_bytes, clock, seconds_of
from syncdiff_bench.estimates.workload import GIGA, header_frames
from syncdiff_bench.runtime import MEMORY_SHARE
from syncdiff_bench.training.cache import TensorCache
from syncdiff_bench.training.task import TrainingSettings, TrainingTask

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Dataset

FLOAT32 = 4
PROBED_CLIPS = 32
PROBE_SECONDS = 2.0


# ------------------------------------------------------------------------------------------ one step


@dataclass(frozen=True)
class StepCost:
    """One step; memory is that of one process.

    trained, frozen: parameters.
    flops: of a step over all processes, forward and backward, 2 per multiply-add.
    state_bytes: weights, gradients, AdamW's two moments and the EMA, in float32.
    constant_bytes: activations that do not grow with the batch.
    example_bytes: activations that one example keeps for the backward pass (under bf16 about half).
    """

    trained: int
    frozen: int
    flops: int
    state_bytes: int
    constant_bytes: int
    example_bytes: int
    size_at_once: int

    @property
    def bytes(self) -> int:
        """About what a process needs on its device."""
        return self.state_bytes + self.constant_bytes + self.example_bytes * self.size_at_once

    @property
    def least_bytes(self) -> int:
        """With a single example at once."""
        return self.bytes - self.example_bytes * (self.size_at_once - 1)


def step_cost(task: TrainingTask, settings: TrainingSettings) -> StepCost | None:
    """Count a step; None for a task that has no `probe_batch`. Needs no data.

    Where the step reads a value (to choose a branch) or a file, which tensors without storage cannot, it runs for real.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    if task.probe_batch(1) is None:
        return None
    try:
        with FakeTensorMode():
            return _counted(task, settings, settings.size_at_once)
    except (RuntimeError, AssertionError):
        return _counted(task, settings, 1)  # what was a mistake of the task is raised again


def _counted(task: TrainingTask, settings: TrainingSettings, counted: int) -> StepCost:
    """counted: examples whose FLOPs stand for all; a micro-batch, where that costs nothing."""
    model = task.build().train()

    def loss_of(size: int) -> Tensor:
        batch = {name: torch.zeros_like(tensor, device="cpu") for name, tensor in _probe_batch(task, size).items()}
        loss: Tensor = model(**batch)["loss"]
        return loss

    one, two = (saved_bytes_of(lambda size=size: loss_of(size), model) for size in (1, 2))  # type: ignore[misc]
    flops = flops_of(lambda: torch.autograd.backward(loss_of(counted))) * settings.batch_size // counted
    parameters = list(model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    frozen = sum(p.numel() for p in parameters) - trained
    averaged = sum(p.numel() for _, p in task.averaged(model)) if settings.ema_decay else 0
    narrow = 2 if settings.mixed_precision == "bf16" else 1
    return StepCost(
        trained=trained,
        frozen=frozen,
        flops=flops,
        state_bytes=FLOAT32 * (4 * trained + frozen + averaged),
        constant_bytes=max(0, 2 * one - two) // narrow,
        example_bytes=(two - one) // narrow,
        size_at_once=settings.size_at_once,
    )


def _probe_batch(task: TrainingTask, size: int) -> Mapping[str, Tensor]:
    return task.probe_batch(size) or {}


def fitting_batch(task: TrainingTask, settings: TrainingSettings, device: str) -> int | None:
    """How many examples should fit at once in the memory of a device, 0 where none does; None where it is not known."""
    cost = step_cost(task, settings)
    if cost is None or cost.example_bytes == 0:
        return None
    free = MEMORY_SHARE * available_bytes(device) - cost.state_bytes - cost.constant_bytes
    return max(0, int(free // cost.example_bytes))


def probe_seconds(task: TrainingTask, settings: TrainingSettings, device: str, processes: int = 1) -> float | None:
    """Seconds of one step shared by `processes` like this one, on a free machine.

    By `seconds_of` at most PROBE_SECONDS' worth of examples; what more of them take beyond a single one is that of the
    others. The first example warms up; where it alone takes five times as long it is the measure. None where there is
    no `probe_batch`.
    """
    if task.probe_batch(1) is None:
        return None
    model = task.build().to(device).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.0)

    def step(size: int) -> float:
        batch = {name: tensor.to(device) for name, tensor in _probe_batch(task, size).items()}
        bf16 = settings.mixed_precision == "bf16"
        return seconds_of(lambda: _update(model, optimizer, batch, bf16=bf16, device=device), device)

    size, each, seconds = 1, 0.0, step(1)
    if seconds < 5 * PROBE_SECONDS:
        first = step(1)
        size = max(1, min(settings.size_at_once, int(PROBE_SECONDS / first)))
        seconds = step(size)
        each = max(0.0, seconds - first) / max(1, size - 1)
    others = (settings.size_at_once - size) * (each if size > 1 else seconds)
    return (seconds + others) * settings.share(processes)


def _update(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Mapping[str, Tensor], *, bf16: bool, device: str
) -> None:
    kind = device.partition(":")[0]
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=bf16):
        loss = model(**batch)["loss"]
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


# ---------------------------------------------------------------------------------------- the whole of it


@dataclass(frozen=True)
class SplitSize:
    """clips of a split, and about how many frames at 25 fps: the headers of `probed` clips, scaled up."""

    clips: int
    frames: int
    probed: int

    @property
    def hours(self) -> float:
        return self.frames / FPS / 3600


def split_size(dataset: Dataset, split: str) -> SplitSize:
    """Count clips, and estimate frames without decoding anything."""
    ids = dataset.clip_ids(split)
    frames = header_frames(dataset, ids, PROBED_CLIPS).values()
    return SplitSize(len(ids), round(sum(frames) / max(1, len(frames)) * len(ids)), len(frames))


def forecast(
    task: TrainingTask, settings: TrainingSettings, *, device: str, processes: int
) -> Iterator[tuple[str, str]]:
    """(label, text) lines; starts nothing and writes nothing. Takes seconds, and at full size minutes on a CPU."""
    data = task.data
    size = split_size(data.dataset, data.split)
    frames = f"about {size.frames} frames ({size.hours:.2f} h; headers of {size.probed} clips)"
    yield "data", f"{data.dataset.name} {data.split}: {size.clips} clips, {frames}"
    steps, examples = settings.steps, settings.batch_size
    yield "steps", f"{steps} of {examples} examples ({settings.division(processes)}), {steps * examples} in all"
    yield from _caches(task, size)

    cost = step_cost(task, settings)
    if cost is None:
        yield "model", "not estimated: this trainer makes no batch without data"
        return
    yield "model", f"{cost.trained / 1e6:.2f} M parameters trained, {cost.frozen / 1e6:.2f} M frozen"
    total = cost.flops * settings.steps
    yield "FLOPs", f"{cost.flops / 1e12:.4g} T per step, {total / 1e15:.4g} P in all"
    memory = available_bytes(device)
    parts = (
        f"{cost.state_bytes / GIGA:.2f} weights, gradients, AdamW and EMA; {cost.example_bytes / GIGA:.3f} per example"
    )
    yield "memory", f"about {cost.bytes / GIGA:.2f} GB ({parts}) of {memory / GIGA:.1f} GB on {device}"
    yield "time", _time(task, settings, cost, device, processes)


def _caches(task: TrainingTask, size: SplitSize) -> Iterator[tuple[str, str]]:
    try:
        caches = task.caches()
    except BenchError as error:
        yield "cache", f"unknown: {error}"
        return
    for cache in caches:
        hours = size.hours if cache.split == task.data.split else split_size(task.data.dataset, cache.split).hours
        yield "cache", cache_line(cache, hours)


def cache_line(cache: TensorCache, hours: float) -> str:
    """What a cache costs, and how much of it is made."""
    try:
        missing = len(cache.missing())
    except BenchError as error:
        state = str(error)
    else:
        state = f"{missing} of {cache.shards} shards to make" if missing else "complete"
    return (
        f"{cache.title}: {cache.bytes_per_hour / GIGA:.3f} GB per hour of video, about"
        f" {cache.bytes_per_hour * hours / GIGA:.3f} GB here; {state}; {cache.folder}"
    )


def _time(task: TrainingTask, settings: TrainingSettings, cost: StepCost, device: str, processes: int) -> str:
    if cost.least_bytes > available_bytes(device):
        return "not measured: not even one example fits"
    try:
        seconds = probe_seconds(task, settings, device, processes)
    except BenchError as error:  # weights to start from that are not here yet
        return f"not measured: {error}"
    assert seconds is not None
    whole = seconds * settings.steps / 3600
    rate = cost.flops / processes / seconds / 1e9
    took = f"{seconds:.3g} s per step on {device} ({rate:.4g} GFLOP/s in a trial, {clock(device)})"
    return f"{took}, about {whole:.3g} h without validation"
