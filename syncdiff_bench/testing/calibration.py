"""The unit of `syncdiff-bench check-speed`: a fixed piece of work, owed to torch and the interpreter alone."""

from __future__ import annotations

from typing import Any

# To be raised whenever the work below changes: baselines in the old unit are then refused.
WORKLOAD = 1


def calibrate(benchmark: Any, rounds: int = 20) -> None:
    """Time the fixed work in a test named `test_calibration`; about a fifth of a second a round on one core.

    benchmark: pytest-benchmark's fixture. Its `extra_info` gets what has to be equal for two results to be comparable:
    torch's number of threads, and which work this was.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(2, 768, 768, generator=generator)
    memory = torch.zeros(2, 8 << 20)  # 32 MB each: past the caches

    def work() -> None:
        """A third each: arithmetic, memory, Python. What is timed in earnest is some mixture of these."""
        for _ in range(6):
            torch.mm(factors[0], factors[1])
        for _ in range(6):
            memory[1].copy_(memory[0])
        for number in range(600_000):
            number * number

    with torch.inference_mode():
        benchmark.pedantic(work, rounds=rounds, warmup_rounds=1)
    benchmark.extra_info.update(threads=torch.get_num_threads(), workload=WORKLOAD)
