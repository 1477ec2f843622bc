"""What this machine has and how fast it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

ENOUGH_SECONDS = 0.3
TOO_LONG_SECONDS = 5.0  # for a second time


def available_bytes(device: str) -> int:
    """Memory of a CUDA device, or of this machine."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def seconds_of(call: Callable[[], Any], device: str) -> float:
    """Wall time of one call, until the device is done with it."""
    began = time.perf_counter()
    call()
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def flops_per_second(trials: Iterable[tuple[Callable[[], Any], int]], device: str) -> float:
    """The speed at the last of some trials, given smallest first as (call, its FLOPs).

    Each runs twice, since the first time allocates and chooses algorithms, which may take longer than the work; none is
    begun once one took long enough.
    """
    speed = 0.0
    for call, flops in trials:
        seconds = seconds_of(call, device)
        if seconds < TOO_LONG_SECONDS:
            seconds = seconds_of(call, device)
        speed = flops / seconds
        if seconds >= ENOUGH_SECONDS:
            break
    return speed
