"""The unit of `syncdiff-bench check`: a fixed piece of work, owed to torch and the interpreter alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# To be raised whenever the work below changes: baselines in the old unit are then refused.
WORKLOAD = 1
ROUNDS = 10


@contextmanager
def calibrated(benchmark: Any) -> Iterator[None]:
    """Around the measurement in a benchmark: times the fixed work before and after it, about a second in all.

    Next to each benchmark and not once a session, because what a core computes in a second changes within minutes
    where other work shares it.

    benchmark: pytest-benchmark's fixture. Its `extra_info["calibration"]` gets the least processor time of the work
    (seconds), torch's number of threads, and which work this was.
    """
    import torch

    factors = torch.randn(2, 768, 768, generator=torch.Generator().manual_seed(0))
    memory = torch.zeros(2, 8 << 20)  # 32 MB each: past the caches

    def seconds() -> float:
        """A third each: arithmetic, memory, Python. What is timed in earnest is some mixture of these."""
        start = time.process_time()
        for _ in range(2):
            torch.mm(factors[0], factors[1])
            memory[1].copy_(memory[0])
        for number in range(200_000):
            number * number
        return time.process_time() - start

    seconds()  # first touch of the memory
    least = min(seconds() for _ in range(ROUNDS))
    yield
    least = min(least, *(seconds() for _ in range(ROUNDS)))
    benchmark.extra_info["calibration"] = {
        "seconds": least,
        "threads": torch.get_num_threads(),
        "workload": WORKLOAD,
    }
