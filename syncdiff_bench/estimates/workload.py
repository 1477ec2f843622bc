"""What generating some clips costs, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from syncdiff_bench.contracts import Workload
from syncdiff_bench.errors import BenchError
from syncdiff_bench.estimates.machine import clock

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Dataset

__all__ = ["Workload", "clip_frames", "duration", "in_words"]

PROBED_CLIPS = 512
GIGA = 10**9


def clip_frames(dataset: Dataset, clip_ids: Sequence[str]) -> tuple[list[int], int]:
    """Frames at 25 fps of each clip, by the headers of at most PROBED_CLIPS of them; and how many were read.

    A clip whose header was not read, or not readable, counts as the mean of the others.
    """
    known = header_frames(dataset, clip_ids, PROBED_CLIPS)
    mean = round(sum(known.values()) / max(1, len(known)))
    return [known.get(clip_id, mean) for clip_id in clip_ids], len(known)


def header_frames(dataset: Dataset, clip_ids: Sequence[str], at_most: int) -> dict[str, int]:
    """Frames at 25 fps of evenly chosen clips, without those whose header cannot be read; decodes nothing."""
    known: dict[str, int] = {}
    for clip_id in clip_ids[:: -(-len(clip_ids) // at_most)] if clip_ids else ():
        try:
            known[clip_id] = dataset.clip(clip_id).header_frames
        except BenchError:
            continue
    return known


def in_words(workload: Workload, frames: int, device: str, available: int) -> Iterator[str]:
    """Lines for people: operations, time, memory."""
    needs = f"not tried: too little memory on {device}"
    if workload.seconds is not None:
        speed = f"{workload.flops / workload.seconds / GIGA:.3g} GFLOP/s in a trial, " if workload.seconds else ""
        needs = f"about {duration(workload.seconds)} on {device} ({speed}{clock(device)})"
    yield f"{_flops(workload.flops)}, {_flops(workload.flops // max(1, frames))} per frame; {needs}"
    fits = workload.fitting_batch(available)
    advice = f"; {fits} clips at once would fit" if fits < workload.batch else ""
    yield (
        f"memory: about {workload.bytes / GIGA:.2f} GB of {available / GIGA:.1f} GB"
        f" ({workload.constant_bytes / GIGA:.2f} and {workload.clip_bytes / GIGA:.3f} per clip at once){advice}"
    )


def _flops(flops: int) -> str:
    for unit, size in (("P", 10**15), ("T", 10**12), ("G", 10**9)):
        if flops >= size:
            return f"{flops / size:.3g} {unit}FLOP"
    return f"{flops / 10**6:.3g} MFLOP"


def duration(seconds: float) -> str:
    """In words: "2.5 h"."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
