"""How a training ends that cannot go on: one line with the reason, the batch, and what to do."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from syncdiff_bench.errors import BenchError, Stopped
from syncdiff_bench.training.checkpoints import kept
from syncdiff_bench.training.processes import LostError, Processes
from syncdiff_bench.training.task import TrainingSettings, TrainingTask

if TYPE_CHECKING:
    from accelerate import Accelerator

# task, settings, device -> how many examples fit into its memory at once; None where that is not known
FittingBatch = Callable[[TrainingTask, TrainingSettings, str], int | None]

AGAIN = "run the same command again to resume"
SHOWN_EXAMPLES = 8
# What collectives say when the process at the other end is gone; torch has no type of its own for all of them.
LOST = ("Connection closed by peer", "Connection reset by peer", "gloo/transport", "NCCL", "Broken pipe")
NO_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "not enough memory")


def require_finite(
    accelerator: Accelerator,
    task: TrainingTask,
    settings: TrainingSettings,
    out: Path,
    step: int,
    norm: float,
    losses: Mapping[int, float],
) -> None:
    """Raise BenchError where the gradient of a step is not finite, naming the micro-batches whose loss was not.

    norm: of the gradient over all processes, hence the same on each of them. losses: number of a micro-batch -> loss,
    of this process. Called before the weights change.
    """
    if math.isfinite(norm):
        return
    from accelerate.utils import gather_object

    rank = accelerator.process_index
    broken: list[str] = []
    for part, loss in losses.items():
        if not math.isfinite(loss):
            examples = task.describe(settings.seed, step, part, settings.size_at_once)
            broken.append(f"loss {loss} in micro-batch {part} of process {rank}{_listed(examples)}")
    broken = gather_object(broken)
    if not accelerator.is_main_process:
        raise SystemExit(2)  # the main process says it
    found = " and ".join(broken) or f"the losses are finite, the gradient is {norm}"
    raise BenchError(
        f"not a number at step {step}: {found}; {kept(out)}; lower training.learning_rate or leave those clips out,"
        f" then {AGAIN}"
    )


def _listed(examples: Sequence[str]) -> str:
    if not examples:
        return ""
    more = f" and {len(examples) - SHOWN_EXAMPLES} more" if len(examples) > SHOWN_EXAMPLES else ""
    return f" ({', '.join(examples[:SHOWN_EXAMPLES])}{more})"


@contextmanager
def ending_plainly(
    accelerator: Accelerator,
    task: TrainingTask,
    settings: TrainingSettings,
    out: Path,
    fitting_batch: FittingBatch | None,
) -> Iterator[None]:
    """Turn what the block dies of (memory, a lost process) into a BenchError of one line.

    Of several processes each leaves behind what it died of, so that the others can say it. Raises LostError where that
    is another process, Stopped at a SIGTERM that follows no such loss.
    """
    processes = Processes(out, accelerator.process_index, accelerator.num_processes)
    try:
        with _sigterm_raises(processes):
            yield
    except RuntimeError as error:  # torch.OutOfMemoryError and errors of collectives are RuntimeErrors
        plain = _plain(error, accelerator, task, settings, processes, fitting_batch)
        processes.note_end(plain)
        raise plain from None
    except BaseException as error:
        processes.note_end(error)
        raise


def _plain(
    error: RuntimeError,
    accelerator: Accelerator,
    task: TrainingTask,
    settings: TrainingSettings,
    processes: Processes,
    fitting_batch: FittingBatch | None,
) -> Exception:
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or any(sign in text for sign in NO_MEMORY):
        device = str(accelerator.device)
        fits = None if fitting_batch is None else fitting_batch(task, settings, device)
        return _out_of_memory(settings, accelerator.num_processes, fits, device, processes.out)
    lost = isinstance(error, torch.distributed.DistError) or any(sign in text for sign in LOST)
    if lost and accelerator.num_processes > 1:
        found = processes.lost() or "another process of this training cannot be reached"
        return LostError(f"process {accelerator.process_index}: {found}; {kept(processes.out)}; {AGAIN}")
    return error


def _out_of_memory(settings: TrainingSettings, processes: int, fits: int | None, device: str, out: Path) -> BenchError:
    size = settings.size_at_once
    at_most = fits if fits is not None and fits < size else size // 2  # the estimate may be too hopeful
    smaller = settings.fitting(at_most, processes)
    if smaller:
        advice = f"try --set training.micro_batch={smaller} (a step stays {settings.batch_size} examples)"
    else:
        advice = "one example does not fit; set training.mixed_precision = 'bf16' or train a smaller model"
    return BenchError(f"out of memory on {device} with training.micro_batch={size}; {advice}; {kept(out)}")


@contextmanager
def _sigterm_raises(processes: Processes) -> Iterator[None]:
    """SIGTERM, as torchrun sends it to the others when one process has died, and clusters before a time limit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        if found := processes.lost(patience=0):
            raise LostError(f"process {processes.index}: {found}; {kept(processes.out)}; {AGAIN}")
        raise Stopped(f"stopped by SIGTERM; {kept(processes.out)}; {AGAIN}")

    before: Any = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except BaseException:
        # torchrun's SIGTERM follows a lost process by a tenth of a second: this one has yet to say what it died of.
        signal.signal(signal.SIGTERM, signal.SIG_IGN if processes.count > 1 else before)
        raise
    signal.signal(signal.SIGTERM, before)
