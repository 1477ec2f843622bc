"""The training loop: accelerate underneath, any number of processes, resumable, nothing lost.

OUT/checkpoints/step-N/    see `checkpoints`
OUT/log.jsonl              one line per logged step and per validation
OUT/samples/step-N.png     what the model generates, for tasks that generate
OUT/model/                 what the task exports at the end (EMA weights), and `trained.json`: on what data (`origins`)
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from syncdiff_bench.files import replace_folder
from syncdiff_bench.origins import write_origin
from syncdiff_bench.training.checkpoints import resume, save
from syncdiff_bench.training.ema import EMA
from syncdiff_bench.training.failures import FittingBatch, ending_plainly, require_finite
from syncdiff_bench.training.record import Record, progress, require_trackers
from syncdiff_bench.training.task import TrainingSettings, TrainingTask

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.optim import Optimizer


def train(
    task: TrainingTask,
    settings: TrainingSettings,
    out: Path,
    *,
    cpu: bool = False,
    fitting_batch: FittingBatch | None = None,
) -> Path:
    """Train to the end, resuming from the newest checkpoint under `out`; returns the exported model's folder.

    fitting_batch: the estimate behind the advice after running out of memory; half the batch without one.
    Raises BenchError, in one line, when the loss stops being a number, memory runs out, another process dies or
    SIGTERM comes: the last good checkpoint is kept. Raises UsageError for a tracker that is not installed and a
    checkpoint of another model.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState
    from accelerate.utils import set_seed

    require_trackers(settings)
    AcceleratorState._reset_state()  # else a second training of this process cannot choose another precision
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=settings.mixed_precision,
        gradient_accumulation_steps=settings.gradient_accumulation,
        log_with=list(settings.trackers) or None,
        project_dir=str(out),
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=task.unused_parameters, gradient_as_bucket_view=True)
        ],
    )
    with ending_plainly(accelerator, task, settings, out, fitting_batch):
        if accelerator.is_main_process:
            out.mkdir(parents=True, exist_ok=True)
            task.prepare()
        accelerator.wait_for_everyone()
        if not accelerator.is_main_process:
            task.prepare()

        set_seed(settings.seed)  # the first weights do not depend on what had to be prepared
        model = task.build()
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        optimizer = torch.optim.AdamW(trained.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        model, optimizer = accelerator.prepare(model, optimizer)
        bare = accelerator.unwrap_model(model)
        ema = EMA(task.averaged(bare), settings.ema_decay) if settings.ema_decay else None
        record = Record(accelerator, out)
        start = resume(accelerator, out, ema, list(trained))
        record.begin(start, settings, task.options)
        try:
            _run_steps(accelerator, task, settings, model, optimizer, ema, start, out, record)
        finally:
            record.end()

        folder = out / "model"
        if accelerator.is_main_process:
            with ema.in_place() if ema is not None else nullcontext():
                _export(task, bare.eval(), folder)
        accelerator.wait_for_everyone()
    return folder


def _export(task: TrainingTask, model: nn.Module, folder: Path) -> None:
    """Under another name, then renamed: where there is a model, it is a complete one."""
    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    task.export(model, partial)
    write_origin(partial, task.data.dataset)
    replace_folder(partial, folder)


def _run_steps(
    accelerator: Accelerator,
    task: TrainingTask,
    settings: TrainingSettings,
    model: nn.Module,
    optimizer: Optimizer,
    ema: EMA | None,
    start: int,
    out: Path,
    record: Record,
) -> None:
    bare = accelerator.unwrap_model(model)
    began = time.monotonic()
    batches = _drawn_ahead(task, settings, accelerator.process_index, start)
    with progress(accelerator, settings.steps, start) as advance:
        for step in range(start, settings.steps):
            model.train()
            task.between(bare, step)
            for group in optimizer.param_groups:
                group["lr"] = settings.rate(step)
            parts: dict[int, dict[str, Tensor]] = {}
            for _ in range(settings.gradient_accumulation):
                number, batch = next(batches)
                with accelerator.accumulate(model):
                    losses = model(**{key: tensor.to(accelerator.device) for key, tensor in batch.items()})
                    parts[number] = {name: value.detach().float() for name, value in losses.items()}
                    accelerator.backward(losses["loss"])
                    if accelerator.sync_gradients:
                        norm = accelerator.clip_grad_norm_(
                            [p for p in bare.parameters() if p.requires_grad], settings.gradient_clip
                        )
                        loss_of = {number: values["loss"] for number, values in parts.items()}
                        require_finite(accelerator, task, settings, out, norm, loss_of)
                    optimizer.step()
                    optimizer.zero_grad()
            if ema is not None:
                ema.step()

            done, last = step + 1, step + 1 == settings.steps
            means = _means(parts)
            advance(dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True)))
            if done % settings.log_every == 0:
                rate = (done - start) / (time.monotonic() - began)
                figures = {name: value.item() for name, value in accelerator.reduce(means, "mean").items()}
                record.write(
                    done,
                    {**figures, "gradient_norm": norm.item(), "lr": settings.rate(done), "steps_per_s": rate},
                )
            validates = done % settings.validate_every == 0 or last
            samples = settings.sample_every > 0 and (done % settings.sample_every == 0 or last)
            if accelerator.is_main_process and (validates or samples):
                _look(task, bare, ema, record, done, validates=validates, samples=samples)
            if done % settings.checkpoint_every == 0 or last:
                save(accelerator, out, done, ema, settings.keep_last)


def _drawn_ahead(
    task: TrainingTask, settings: TrainingSettings, rank: int, start: int
) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
    """(number, batch) of every batch from step `start` to the last one, of this rank.

    Each is drawn in a second thread, while the step before it runs.
    """
    first, end = (step * settings.gradient_accumulation for step in (start, settings.steps))

    def draw(number: int) -> Mapping[str, Tensor]:
        return task.batch(settings.seed, number, rank, settings.batch_size)

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        waiting: Future[Mapping[str, Tensor]] | None = thread.submit(draw, first) if first < end else None
        for number in range(first, end):
            assert waiting is not None
            batch = waiting.result()
            waiting = thread.submit(draw, number + 1) if number + 1 < end else None
            yield number, batch


def _means(parts: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Each loss over the batches of a step."""
    rows = list(parts.values())
    return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}


def _look(
    task: TrainingTask,
    model: nn.Module,
    ema: EMA | None,
    record: Record,
    step: int,
    *,
    validates: bool,
    samples: bool,
) -> None:
    """Validation figures and sample images, with the EMA weights."""
    model.eval()
    with ema.in_place() if ema is not None else nullcontext(), torch.no_grad():
        if validates:
            record.write(step, {"validation": dict(task.validation(model))})
        picture = task.samples(model) if samples else None
    if picture is not None:
        record.picture(step, picture)
