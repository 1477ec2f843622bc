"""A training on the GPUs of this machine: one process for each, started by torchrun."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncdiff_bench.errors import BenchError

ENDING = 40.0  # seconds; torchrun leaves its processes 30

if TYPE_CHECKING:
    from syncdiff_bench.training.task import TrainingSettings


def processes_for(settings: TrainingSettings, device: str) -> int:
    """The most processes with a GPU of their own that can share a step equally: all GPUs that are visible, or fewer.

    device: as `resolve_device` returns it; 1 for the CPU and for one GPU that was asked for by number.
    """
    if device != "cuda":
        return 1
    import torch

    return max(n for n in range(1, max(1, torch.cuda.device_count()) + 1) if settings.parts % n == 0)


def to_its_end(command: list[str], deaf_to: Sequence[int] = ()) -> int:
    """Its exit code. Where this process is stopped meanwhile, so is the command, by SIGTERM, and it is waited for.

    deaf_to: signals that reach all processes of a job, and that the command leaves to this one.
    """
    before: dict[int, Any] = {one: signal.signal(one, signal.SIG_IGN) for one in deaf_to}
    try:
        process = subprocess.Popen(command)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(ENDING)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def launch(arguments: list[str], processes: int, out: Path) -> None:
    """`syncdiff-bench train` with these arguments, in several processes, to its end.

    out: folder of the training, for the message. Raises BenchError where it ends without a model.
    """
    from syncdiff_bench.training.processes import first_error

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    began = time.time()
    code = to_its_end([*torchrun, "-m", "syncdiff_bench.train", *arguments])
    if code:
        why = first_error(out, began) or f"one of its {processes} processes has ended; its message is above"
        raise BenchError(f"{out}: {why}")
