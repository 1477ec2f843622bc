"""Batches drawn one ahead, in a second thread, while a step runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from syncdiff_bench.training.settings import TrainingSettings
from syncdiff_bench.training.task import TrainingTask

if TYPE_CHECKING:
    from torch import Tensor


def drawn_ahead(
    task: TrainingTask, settings: TrainingSettings, rank: int, start: int
) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
    """(number, batch) of every batch from step `start` to the last one, of this rank."""
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
