"""Which clips are scored together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


def plan_batches(clips: Iterable[str], frames: Callable[[str], int], budget: int) -> Iterator[list[str]]:
    """All clips in order, as many together as have at most `budget` frames, but one at least; 0: one by one.

    frames: of a clip; asked once each, before the batch of the clip is yielded.
    The plan depends on the whole list alone, never on what is left to do, so that a resumed run measures the same
    clips together.

    >>> list(plan_batches("abcd", {"a": 3, "b": 4, "c": 9, "d": 0}.__getitem__, 7))
    [['a', 'b'], ['c'], ['d']]
    """
    batch: list[str] = []
    total = 0
    for clip in clips:
        length = frames(clip) if budget else 1
        if batch and total + length > budget:
            yield batch
            batch, total = [], 0
        batch.append(clip)
        total += length
    if batch:
        yield batch
