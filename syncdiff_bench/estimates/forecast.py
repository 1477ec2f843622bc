"""What `train --dry-run` says: data, steps, model, memory, caches and time, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncdiff_bench.contracts import FPS
from syncdiff_bench.errors import BenchError
from syncdiff_bench.training.cache import TensorCache
from syncdiff_bench.training.task import TrainingSettings, TrainingTask

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Dataset
    from syncdiff_bench.estimates.training import StepCost

PROBED_CLIPS = 32
GIGA = 10**9


@dataclass(frozen=True)
class SplitSize:
    """clips of a split, and about how many frames at 25 fps: the headers of `probed` clips, scaled up."""

    clips: int
    frames: int
    probed: int

    @property
    def hours(self) -> float:
        return self.frames / FPS / 3600


def split_size(dataset: Dataset, split: str) -> SplitSize:
    """Count clips, and estimate frames without decoding anything."""
    ids = dataset.clip_ids(split)
    chosen = ids[:: -(-len(ids) // PROBED_CLIPS)] if ids else ()
    frames = []
    for clip_id in chosen:
        try:
            frames.append(_frames(dataset, clip_id))
        except BenchError:
            continue  # it will be skipped, and named, when the cache is made
    return SplitSize(len(ids), round(sum(frames) / max(1, len(frames)) * len(ids)), len(frames))


def _frames(dataset: Dataset, clip_id: str) -> int:
    from syncdiff_bench.media.containers import probe

    clip = dataset.clip(clip_id)
    if clip.path is None:
        return len(clip.frames)
    facts = probe(clip.path)
    return round(facts.frames / facts.fps * FPS)


def forecast(
    task: TrainingTask, settings: TrainingSettings, *, device: str, processes: int
) -> Iterator[tuple[str, str]]:
    """(label, text) lines; starts nothing and writes nothing. Takes seconds, and at full size minutes on a CPU."""
    from syncdiff_bench.estimates.machine import available_bytes
    from syncdiff_bench.estimates.training import step_cost

    data = task.data
    size = split_size(data.dataset, data.split)
    frames = f"about {size.frames} frames ({size.hours:.2f} h; headers of {size.probed} clips)"
    yield "data", f"{data.dataset.name} {data.split}: {size.clips} clips, {frames}"
    batch, accumulation = settings.batch_size, settings.gradient_accumulation
    examples = batch * accumulation * processes
    product = f"batch {batch} x accumulation {accumulation} x processes {processes}"
    yield "steps", f"{settings.steps} of {examples} examples ({product}), {settings.steps * examples} in all"
    yield from _caches(task, size)

    cost = step_cost(task, settings)
    if cost is None:
        yield "model", "not estimated: this trainer makes no batch without data"
        return
    yield "model", f"{cost.trained / 1e6:.2f} M parameters trained, {cost.frozen / 1e6:.2f} M frozen"
    total = cost.flops * settings.steps * processes
    yield "FLOPs", f"{cost.flops / 1e12:.4g} T per step and process, {total / 1e15:.4g} P in all"
    memory = available_bytes(device)
    parts = (
        f"{cost.state_bytes / GIGA:.2f} weights, gradients, AdamW and EMA; {cost.example_bytes / GIGA:.3f} per example"
    )
    yield "memory", f"about {cost.bytes / GIGA:.2f} GB ({parts}) of {memory / GIGA:.1f} GB on {device}"
    yield "time", _time(task, settings, cost, device, memory)


def _caches(task: TrainingTask, size: SplitSize) -> Iterator[tuple[str, str]]:
    try:
        caches = task.caches()
    except BenchError as error:
        yield "cache", f"unknown: {error}"
        return
    for cache in caches:
        hours = size.hours if cache.split == task.data.split else split_size(task.data.dataset, cache.split).hours
        yield "cache", cache_line(cache, hours)


def _time(task: TrainingTask, settings: TrainingSettings, cost: StepCost, device: str, memory: int) -> str:
    from syncdiff_bench.estimates.machine import clock
    from syncdiff_bench.estimates.training import probe_seconds

    if cost.bytes - cost.example_bytes * (cost.batch_size - 1) > memory:
        return "not measured: not even one example fits"
    try:
        seconds = probe_seconds(task, settings, device)
    except BenchError as error:  # weights to start from that are not here yet
        return f"not measured: {error}"
    assert seconds is not None
    whole = seconds * settings.steps / 3600
    rate = cost.flops / seconds / 1e9
    took = f"{seconds:.3g} s per step on {device} ({rate:.4g} GFLOP/s in a trial, {clock(device)})"
    return f"{took}, about {whole:.3g} h without validation"


def cache_line(cache: TensorCache, hours: float) -> str:
    """What a cache costs, and how much of it is made."""
    try:
        missing = len(cache.missing())
    except BenchError as error:
        state = str(error)
    else:
        state = f"{missing} of {cache.shards} shards to make" if missing else "complete"
    return (
        f"{cache.title}: {cache.bytes_per_hour / GIGA:.3f} GB per hour of video, about"
        f" {cache.bytes_per_hour * hours / GIGA:.3f} GB here; {state}; {cache.folder}"
    )
