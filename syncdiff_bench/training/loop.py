"""The training loop: accelerate underneath, any number of processes, resumable, nothing lost.

OUT/checkpoints/step-N/    accelerate state (weights, optimizer, schedule, RNG) and the EMA; complete or absent
OUT/log.jsonl              one line per logged step and per validation
OUT/model/                 what the task exports at the end (EMA weights)
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from syncdiff_bench.errors import BenchError
from syncdiff_bench.training.settings import TrainingSettings
from syncdiff_bench.training.task import TrainingTask

if TYPE_CHECKING:
    from accelerate import Accelerator
    from diffusers.training_utils import EMAModel
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR


def train(task: TrainingTask, settings: TrainingSettings, out: Path, *, cpu: bool = False) -> Path:
    """Train to the end, resuming from the newest checkpoint under `out`; returns the exported model's folder.

    Raises BenchError when the loss stops being a number: the last good checkpoint is kept.
    """
    from accelerate import Accelerator
    from accelerate.utils import set_seed

    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=settings.mixed_precision,
        gradient_accumulation_steps=settings.gradient_accumulation,
    )
    set_seed(settings.seed)
    if accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        task.prepare()
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        task.prepare()

    model = task.build()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings))
    model, optimizer = accelerator.prepare(model, optimizer)
    # Not prepared: accelerate would advance it once per process and micro-batch, ours counts optimizer steps.
    accelerator.register_for_checkpointing(schedule)
    ema = _ema(parameters, settings)
    if ema is not None:
        accelerator.register_for_checkpointing(ema)

    start = _resume(accelerator, out)
    _run_steps(accelerator, task, settings, model, optimizer, schedule, ema, start, out)

    folder = out / "model"
    if accelerator.is_main_process:
        with _averaged(ema, parameters):
            task.export(accelerator.unwrap_model(model).eval(), folder)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return folder


def _run_steps(
    accelerator: Accelerator,
    task: TrainingTask,
    settings: TrainingSettings,
    model: nn.Module,
    optimizer: Optimizer,
    schedule: LambdaLR,
    ema: EMAModel | None,
    start: int,
    out: Path,
) -> None:
    bare = accelerator.unwrap_model(model)
    parameters = [p for p in bare.parameters() if p.requires_grad]
    began = time.monotonic()
    with _progress(accelerator, settings.steps, start) as advance:
        for step in range(start, settings.steps):
            model.train()
            task.between(bare, step)
            for part in range(settings.gradient_accumulation):
                draw = step * settings.gradient_accumulation + part
                batch = task.batch(settings.seed, draw, accelerator.process_index, settings.batch_size)
                with accelerator.accumulate(model):
                    losses = model(**{key: tensor.to(accelerator.device) for key, tensor in batch.items()})
                    accelerator.backward(losses["loss"])
                    if accelerator.sync_gradients:
                        accelerator.clip_grad_norm_(parameters, settings.gradient_clip)
                    optimizer.step()
                    optimizer.zero_grad()
            schedule.step()
            _require_finite(losses["loss"], step, out)
            if ema is not None:
                ema.step(parameters)
            done = step + 1
            advance({name: float(value.detach()) for name, value in losses.items()})
            if done % settings.log_every == 0:
                rate = (done - start) / (time.monotonic() - began)
                figures = {name: float(value.detach()) for name, value in losses.items()}
                _log(
                    accelerator,
                    out,
                    {"step": done, **figures, "lr": schedule.get_last_lr()[0], "steps_per_s": rate},
                )
            if done % settings.validate_every == 0 or done == settings.steps:
                _validate(accelerator, task, bare, ema, parameters, done, out)
            if done % settings.checkpoint_every == 0 or done == settings.steps:
                _save(accelerator, out, done, settings.keep_last)


def _rate(step: int, settings: TrainingSettings) -> float:
    """Factor on the learning rate: linear warm-up, then constant or half a cosine down to zero."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return 1.0
    span = max(1, settings.steps - settings.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - settings.warmup_steps) / span)))


def _ema(parameters: list[nn.Parameter], settings: TrainingSettings) -> EMAModel | None:
    if settings.ema_decay == 0:
        return None
    from diffusers.training_utils import EMAModel

    return EMAModel(parameters, decay=settings.ema_decay)


@contextmanager
def _averaged(ema: EMAModel | None, parameters: list[nn.Parameter]) -> Iterator[None]:
    """The EMA weights in place of the raw ones, for as long as the block lasts."""
    if ema is None:
        yield
        return
    ema.store(parameters)
    ema.copy_to(parameters)
    try:
        yield
    finally:
        ema.restore(parameters)


def _validate(
    accelerator: Accelerator,
    task: TrainingTask,
    model: nn.Module,
    ema: EMAModel | None,
    parameters: list[nn.Parameter],
    step: int,
    out: Path,
) -> None:
    if not accelerator.is_main_process:
        return
    model.eval()
    with _averaged(ema, parameters), torch.no_grad():
        figures = task.validation(model)
    _log(accelerator, out, {"step": step, "validation": dict(figures)})


def _require_finite(loss: torch.Tensor, step: int, out: Path) -> None:
    if not torch.isfinite(loss):
        raise BenchError(
            f"loss is {loss.item()} at step {step} (batch {step} of this seed); the last good checkpoint is in"
            f" {out / 'checkpoints'}; lower training.learning_rate and run the same command again"
        )


# -------------------------------------------------------------------------------- checkpoints and log


def _save(accelerator: Accelerator, out: Path, step: int, keep: int) -> None:
    """Write a checkpoint under another name, then rename it: a killed training leaves complete ones only."""
    final = out / "checkpoints" / f"step-{step:08d}"
    partial = final.with_name(f".{final.name}.part")
    accelerator.save_state(str(partial))
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)  # noqa: PTH105
        for old in sorted(final.parent.glob("step-*"))[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def _resume(accelerator: Accelerator, out: Path) -> int:
    """Load the newest complete checkpoint; returns the step to go on with."""
    found = sorted((out / "checkpoints").glob("step-*"))
    if not found:
        return 0
    accelerator.load_state(str(found[-1]))
    step = int(found[-1].name.removeprefix("step-"))
    accelerator.print(f"resumed from {found[-1]}")
    return step


def _log(accelerator: Accelerator, out: Path, row: Mapping[str, Any]) -> None:
    if accelerator.is_main_process:
        with (out / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


@contextmanager
def _progress(accelerator: Accelerator, steps: int, start: int) -> Iterator[Any]:
    """A progress bar with the running loss and the time left, on the main process of a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, disable=not accelerator.is_main_process) as bar:
        row = bar.add_task("", total=steps, completed=start)

        def advance(losses: Mapping[str, float]) -> None:
            bar.update(row, advance=1, description=" ".join(f"{name} {value:.4f}" for name, value in losses.items()))

        yield advance
