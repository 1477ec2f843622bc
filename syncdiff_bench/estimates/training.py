"""What a step of a training costs, before it starts: FLOPs, memory, time.

FLOPs and memory are counted on a model without storage (torch's FakeTensorMode), whose shapes are all that matters;
time is that of a real step, small enough to take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from syncdiff_bench.estimates.counting import flops_of
from syncdiff_bench.estimates.machine import available_bytes, seconds_of
from syncdiff_bench.training.task import TrainingSettings, TrainingTask

FLOAT32 = 4
PROBE_SECONDS = 2.0
MARGIN = 0.9  # of the memory that is there


@dataclass(frozen=True)
class StepCost:
    """One step of one process.

    trained, frozen: parameters. flops: of all batches of a step, forward and backward, 2 per multiply-add.
    state_bytes: weights, gradients, AdamW's two moments and the EMA, in float32. example_bytes: activations that one
    example keeps for the backward pass (under bf16 about half); constant_bytes: those that do not grow with the batch.
    """

    trained: int
    frozen: int
    flops: int
    state_bytes: int
    constant_bytes: int
    example_bytes: int
    batch_size: int

    @property
    def bytes(self) -> int:
        """About what a process needs on its device."""
        return self.state_bytes + self.constant_bytes + self.example_bytes * self.batch_size


def step_cost(task: TrainingTask, settings: TrainingSettings) -> StepCost | None:
    """Count a step; None for a task that has no `probe_batch`. Needs no data.

    Where the step reads a value (to choose a branch) or a file, which tensors without storage cannot, it runs for real.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    if task.probe_batch(1) is None:
        return None
    try:
        with FakeTensorMode():
            return _counted(task, settings)
    except (RuntimeError, AssertionError):
        return _counted(task, settings)  # what was a mistake of the task is raised again


def _counted(task: TrainingTask, settings: TrainingSettings) -> StepCost:
    model = task.build().train()

    def loss_of(size: int) -> Tensor:
        given = {
            name: torch.zeros_like(tensor, device="cpu") for name, tensor in (task.probe_batch(size) or {}).items()
        }
        loss: Tensor = model(**given)["loss"]
        return loss

    one, two = (saved_bytes_of(lambda size=size: loss_of(size), model) for size in (1, 2))  # type: ignore[misc]
    size = settings.batch_size
    flops = flops_of(lambda: torch.autograd.backward(loss_of(1))) * size * settings.gradient_accumulation
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
        batch_size=size,
    )


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


def fitting_batch(task: TrainingTask, settings: TrainingSettings, device: str) -> int | None:
    """The largest batch that should fit in the memory of a device, 0 where none does; None where it is not known."""
    cost = step_cost(task, settings)
    if cost is None or cost.example_bytes == 0:
        return None
    free = MARGIN * available_bytes(device) - cost.state_bytes - cost.constant_bytes
    return max(0, int(free // cost.example_bytes))


def probe_seconds(task: TrainingTask, settings: TrainingSettings, device: str) -> float | None:
    """Seconds of one step of one process on a free machine, by `seconds_of` at most PROBE_SECONDS' worth of examples.

    The first example warms up; where it alone takes five times as long it is the measure. None where there is no
    `probe_batch`.
    """
    if task.probe_batch(1) is None:
        return None
    model = task.build().to(device).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.0)

    def step(size: int) -> float:
        given = {name: tensor.to(device) for name, tensor in (task.probe_batch(size) or {}).items()}
        bf16 = settings.mixed_precision == "bf16"
        return seconds_of(lambda: _update(model, optimizer, given, bf16=bf16, device=device), device)

    size, seconds = 1, step(1)
    if seconds < 5 * PROBE_SECONDS:
        seconds = step(1)
        size = max(1, min(settings.batch_size, int(PROBE_SECONDS / seconds)))
        seconds = step(size)
    return seconds * settings.batch_size / size * settings.gradient_accumulation


def _update(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Mapping[str, Tensor], *, bf16: bool, device: str
) -> None:
    kind = device.partition(":")[0]
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=bf16):
        loss = model(**batch)["loss"]
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
