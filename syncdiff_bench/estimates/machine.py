"""What this machine has and how fast it is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from syncdiff_bench.platforms import cores, memory_bytes

ENOUGH_SECONDS = 0.3
TOO_LONG_SECONDS = 5.0  # for a second time
SHORTEST = 1e-6  # a clock of processor time may stand still for milliseconds


def available_bytes(device: str) -> int:
    """Memory of a CUDA device, or of this machine."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    return memory_bytes()


def seconds_of(call: Callable[[], Any], device: str) -> float:
    """Seconds that one call takes when nothing else runs on this machine; see `clock`.

    On a CPU that is the processor time of whichever thread worked longest, so that threads at work side by side count
    once, and other programs, sleep and waiting do not count at all; no less than that of all threads divided by the
    cores there are. Programs that the call started and waited for come on top. (Threads that wait for each other by
    turns are taken for parallel ones.) On any other device it is wall time, until the device is done.
    """
    if device != "cpu":
        _finish(device)
        began = time.perf_counter()
        call()
        _finish(device)
        return time.perf_counter() - began
    began, before = time.perf_counter(), _spent()
    call()
    after, wall = _spent(), time.perf_counter() - began
    return max(SHORTEST, min(wall, _alone(before, after)))


def clock(device: str) -> str:
    """The kind of time that `seconds_of` measures, in words for an estimate."""
    return "by processor time, on a free machine" if device == "cpu" else "by wall time"


@dataclass(frozen=True)
class _Spent:
    """Processor seconds so far: of all threads together, of the calling one, of each other one by its id, of programs
    that were started and have ended.
    """

    process: float
    caller: float
    others: Mapping[int, float]
    programs: float


def _spent() -> _Spent:
    import psutil

    threads = psutil.Process().threads()
    others = {one.id: one.user_time + one.system_time for one in threads if one.id != threading.get_native_id()}
    times = os.times()
    return _Spent(time.process_time(), time.thread_time(), others, times.children_user + times.children_system)


def _alone(before: _Spent, after: _Spent) -> float:
    process, caller = after.process - before.process, after.caller - before.caller
    others = [seconds - before.others.get(thread, 0.0) for thread, seconds in after.others.items()]
    ended = process - caller - sum(others)  # of threads that are gone; taken for one
    return max(caller, *others, ended, process / cores()) + after.programs - before.programs


def _finish(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


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
