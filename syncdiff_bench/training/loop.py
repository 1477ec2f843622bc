"""The training loop: accelerate underneath, any number of processes, resumable, nothing lost.

OUT/training.json          what is trained on what, see `folder`
OUT/checkpoints/step-N/    see `checkpoints`
OUT/log.jsonl              one line per logged step and per validation, and one on how steps are shared out
OUT/samples/step-N.png     what the model generates, for tasks that generate
OUT/model/                 what the task exports at the end (EMA weights), and of what it is: `trained.json` (`origins`)
"""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from syncdiff_bench.characters import visible
from syncdiff_bench.files import replace_folder
from syncdiff_bench.origins import write_origin
from syncdiff_bench.progress import QUIET, Progress, stderr_progress
from syncdiff_bench.training.cache import fill_together
from syncdiff_bench.training.checkpoints import discard_unfinished, resume, save, written
from syncdiff_bench.training.device import adamw, arranged, float32_products, pinned, sent
from syncdiff_bench.training.ema import EMA
from syncdiff_bench.training.failures import FittingBatch, ending_plainly, require_finite
from syncdiff_bench.training.folder import check, facts_of, settle
from syncdiff_bench.training.peers import meet
from syncdiff_bench.training.processes import LostError, alone, for_all
from syncdiff_bench.training.record import Record, require_trackers, telling
from syncdiff_bench.training.task import TrainingSettings, TrainingTask
from syncdiff_bench.views import require_boxes

if TYPE_CHECKING:
    from accelerate import Accelerator

PATIENCE = timedelta(hours=24)  # of processes that wait for the first one: a validation, a slow disk


def train(
    task: TrainingTask,
    settings: TrainingSettings,
    out: Path,
    *,
    cpu: bool = False,
    fitting_batch: FittingBatch | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train to the end, resuming from the newest checkpoint under `out`; returns the exported model's folder.

    fitting_batch: the estimate behind the advice after running out of memory; half the batch without one.
    progress: who follows it; a bar on a terminal, else a line now and then.
    Raises BenchError, in one line, when the loss stops being a number, memory runs out or another process dies, and
    Stopped when SIGTERM comes: the last good checkpoint is kept. Raises UsageError for a tracker that is not
    installed, for a number of processes that cannot share a step, and for a checkpoint of another model.
    """
    from accelerate.utils import set_seed

    require_trackers(settings)
    progress = progress or stderr_progress()
    accelerator = _accelerator(task, settings, out, cpu=cpu)
    with alone(accelerator, out), ending_plainly(accelerator, task, settings, out, fitting_batch):
        facts = facts_of(task, settings)
        for_all(accelerator, lambda: discard_unfinished(out))
        for_all(accelerator, lambda: _say(accelerator, check(out, facts)))
        needed = task.boxed_clips()
        for_all(accelerator, lambda: require_boxes(task.data.dataset, needed))
        peers = meet(accelerator)
        fill_together(task.caches(), peers, progress)
        task.prepare()
        peers.wait()
        for_all(accelerator, lambda: settle(out, facts, task.data))
        set_seed(settings.seed)  # the first weights do not depend on what had to be prepared
        training = _Training(accelerator, task, settings, out, progress)
        with float32_products(accelerator.device, tf32=settings.tf32):
            training.run()
        if accelerator.is_main_process:
            training.export(out / "model")
        accelerator.wait_for_everyone()
    return out / "model"


def _say(accelerator: Accelerator, notes: Sequence[str]) -> None:
    for note in () if QUIET.get() else notes:
        accelerator.print(visible(f"note: {note}"))


def _accelerator(task: TrainingTask, settings: TrainingSettings, out: Path, *, cpu: bool) -> Accelerator:
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # else a second training of this process cannot choose another precision
    distributed = DistributedDataParallelKwargs(
        find_unused_parameters=task.unused_parameters, gradient_as_bucket_view=True
    )
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=settings.mixed_precision,
        log_with=list(settings.trackers) or None,
        project_dir=str(out),
        kwargs_handlers=[distributed, InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    accelerator.gradient_accumulation_steps = settings.share(accelerator.num_processes)
    return accelerator


class _Training:
    """model: as accelerate wraps it; bare: the same as the task built it.

    step, examples: done and seen so far; examples are None where a checkpoint of an older version does not say it.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        task: TrainingTask,
        settings: TrainingSettings,
        out: Path,
        progress: Progress,
    ) -> None:
        self.accelerator = accelerator
        self.progress = progress
        self.task = task
        self.settings = settings
        self.out = out
        model = arranged(task.build(), settings, accelerator.device)
        self.trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        optimizer = adamw(self.trained.values(), settings, accelerator.device)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.bare: nn.Module = accelerator.unwrap_model(self.model)
        self.ema = EMA(task.averaged(self.bare), settings.ema_decay) if settings.ema_decay else None
        self.record = Record(accelerator, out)
        self.step, self.examples = 0, None  # type: int, int | None

    def run(self) -> None:
        """All steps from the newest checkpoint on."""
        settings = self.settings
        self.step, self.examples = resume(self.accelerator, self.out, self.ema, list(self.trained))
        start = self.step
        self.record.begin(start, settings, self.task.options)
        self._look(start, again=True)
        began, self.away = time.monotonic(), 0.0
        batches = _drawn_ahead(self.task, settings, self.accelerator, start)
        try:
            with telling(self.progress, self.accelerator, self.task, settings.steps, start) as advance:
                for step in range(start, settings.steps):
                    means, figures, norm = self._step(step, batches)
                    advance(figures)
                    self.step = done = step + 1
                    self.examples = None if self.examples is None else self.examples + settings.batch_size
                    if done % settings.log_every == 0:
                        self._log(done, means, norm, (done - start) / (time.monotonic() - began - self.away))
                    paused = time.monotonic()
                    if done % settings.checkpoint_every == 0 or done == settings.steps:
                        save(self.accelerator, self.out, done, self.examples, self.ema, settings.keep_last)
                    self._look(done)
                    self.away += time.monotonic() - paused
        finally:
            batches.close()  # here, not wherever its thread would be waited for once the last reference is gone
            self.record.end()

    def _step(
        self, step: int, batches: Iterator[tuple[int, Mapping[str, Tensor]]]
    ) -> tuple[dict[str, Tensor], dict[str, float], float]:
        """One update of the weights; each loss over this process's part of the batch, twice, and the gradient's norm.

        All three are read together, the one time in a step that the CPU waits for the device.
        """
        accelerator, optimizer = self.accelerator, self.optimizer
        self.model.train()
        self._seed(step, self.settings.parts)
        self.task.between(self.bare, step)
        for group in optimizer.param_groups:
            group["lr"] = self.settings.rate(step)
        parts: dict[int, dict[str, Tensor]] = {}
        for _ in range(accelerator.gradient_accumulation_steps):
            part, batch = next(batches)
            self._seed(step, part)
            with accelerator.accumulate(self.model):
                losses = self.model(**sent(batch, accelerator.device))
                parts[part] = {name: value.detach().float() for name, value in losses.items()}
                accelerator.backward(losses["loss"])
                if accelerator.sync_gradients:
                    gradient = accelerator.clip_grad_norm_(
                        [p for p in self.bare.parameters() if p.requires_grad], self.settings.gradient_clip
                    )
                    means = _means(list(parts.values()))
                    each = [values["loss"] for values in parts.values()]
                    norm, *read = torch.stack([gradient, *means.values(), *each]).tolist()
                    loss_of = dict(zip(parts, read[len(means) :], strict=True))
                    require_finite(accelerator, self.task, self.settings, self.out, step, norm, loss_of)
                optimizer.step()
                optimizer.zero_grad()
        if self.ema is not None:
            self.ema.step()
        return means, dict(zip(means, read, strict=False)), norm

    def _seed(self, step: int, part: int) -> None:
        """Let what the network draws itself (dropout) hang on the micro-batch, not on the process that computes it.

        A step of one micro-batch goes on with the generator as it is.
        """
        if self.settings.parts > 1:
            words = np.random.SeedSequence([self.settings.seed, step, part]).generate_state(1, np.uint64)
            torch.manual_seed(int(words[0]))

    def _log(self, step: int, means: Mapping[str, Tensor], norm: float, steps_per_s: float) -> None:
        figures = {name: value.item() for name, value in self.accelerator.reduce(means, "mean").items()}
        rate = self.settings.rate(step)
        self.record.write(step, {**figures, "gradient_norm": norm, "lr": rate, "steps_per_s": steps_per_s})

    def _look(self, step: int, *, again: bool = False) -> None:
        """Validation figures and sample images where they are due, with the EMA weights, by the main process.

        again: after a kill; only what the step still lacks. The generators of random numbers stay as they are.
        """
        settings, last = self.settings, step == self.settings.steps
        validates = step % settings.validate_every == 0 or last
        samples = settings.sample_every > 0 and (step % settings.sample_every == 0 or last)
        if again:
            validates = step > 0 and validates and not self.record.holds(step, "validation")
            samples = step > 0 and samples and not self.record.picture_of(step).exists()
        if not self.accelerator.is_main_process or not (validates or samples):
            return
        device = self.accelerator.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), self._averaged(), torch.no_grad():
            if validates:
                self.record.write(step, {"validation": dict(self.task.validation(self.bare))})
            if samples:
                self._sample(step)

    def _sample(self, step: int) -> None:
        """A picture is no reason to lose a training: what goes wrong with it is a note in the log."""
        try:
            picture = self.task.samples(self.bare)
            if picture is not None:
                self.record.picture(step, picture)
        except LostError:
            raise
        except Exception as error:
            note = f"no sample image: {type(error).__name__}: {' '.join(str(error).split())}"
            self.record.write(step, {"note": note})
            _say(self.accelerator, [f"step {step}: {note}"])

    def export(self, folder: Path) -> None:
        """Write the model under another name, then rename it: where there is a model, it is a complete one."""
        partial = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        shared = self.settings.shared(self.accelerator.num_processes)
        with written(partial):
            with self._averaged():
                self.task.export(self.bare, partial)
            how = {"steps": self.step, "examples": self.examples, **shared}
            write_origin(partial, self.task.data.dataset, how, self.task.boxes_behind())
            replace_folder(partial, folder)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model with its EMA weights, where it has an EMA, ready to be looked at."""
        self.bare.eval()
        with self.ema.in_place() if self.ema is not None else nullcontext():
            yield


def _drawn_ahead(
    task: TrainingTask, settings: TrainingSettings, accelerator: Accelerator, start: int
) -> Generator[tuple[int, Mapping[str, Tensor]], None, None]:
    """(number in its step, micro-batch) of all that this process computes from step `start` to the last one.

    Each is drawn in a second thread, while the one before it is computed.
    """
    parts = range(accelerator.process_index, settings.parts, accelerator.num_processes)
    order = ((step, part) for step in range(start, settings.steps) for part in parts)

    def draw(step: int, part: int) -> tuple[int, Mapping[str, Tensor]]:
        batch = task.batch(settings.seed, step, part, settings.size_at_once)
        return part, pinned(batch, accelerator.device)

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        waiting: deque[Future[tuple[int, Mapping[str, Tensor]]]] = deque()
        for step, part in order:
            waiting.append(thread.submit(draw, step, part))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _means(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}
