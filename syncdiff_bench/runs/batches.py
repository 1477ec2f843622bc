"""Clips in batches, planned from the list of clips alone: never from what is left, nor from who is there to do it.

So a clip meets the same batch mates in a resumed run, and for any number of ranks, shards and workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from syncdiff_bench.contracts import Dataset
from syncdiff_bench.errors import BenchError
from syncdiff_bench.faults import decoding

# A CPU gains nothing from many clips at once: its batches are made smaller, so that there are some for every process.
MANY = 8  # batches
FEW = 5  # clips, of a batch that is not made smaller for that


def plan_batches(
    clips: Iterable[str], budget: int, size: Callable[[str], int] = lambda _clip: 1
) -> Iterator[list[str]]:
    """All clips in order, as many together as `budget` allows, but one at least; 0: one by one.

    size: what a clip takes of the budget.

    >>> list(plan_batches("abc", 2))
    [['a', 'b'], ['c']]
    >>> list(plan_batches("abcd", 7, {"a": 3, "b": 4, "c": 9, "d": 0}.__getitem__))
    [['a', 'b'], ['c'], ['d']]
    """
    batch: list[str] = []
    total = 0
    for clip in clips:
        length = size(clip) if budget else 1
        if batch and total + length > budget:
            yield batch
            batch, total = [], 0
        batch.append(clip)
        total += length
    if batch:
        yield batch


def generation_batches(
    clips: Sequence[str], at_most: int, length: Callable[[str], int], *, cpu: bool
) -> list[list[str]]:
    """As few batches of at most so many clips as there can be, each of nearly the same number, the longest clips first.

    The clips of a batch advance together, frame by frame, until the longest one ends: lengths in a batch are alike.
    length: of a clip, 0 (which counts as the mean) where that is unknown; not asked where a batch is a clip, and all
        come in order.
    cpu: see `MANY`.

    >>> generation_batches("abcde", 3, {"a": 1, "b": 5, "c": 2, "d": 5, "e": 4}.__getitem__, cpu=False)
    [['b', 'd', 'e'], ['c', 'a']]
    """
    if cpu:
        at_most = min(at_most, max(-(-len(clips) // MANY), FEW))
    if at_most == 1:
        return [[clip] for clip in clips]
    lengths = {clip: length(clip) for clip in clips}
    known = [frames for frames in lengths.values() if frames]
    mean = sum(known) / max(1, len(known))
    ordered = sorted(clips, key=lambda clip: lengths[clip] or mean, reverse=True)
    count = -(-len(ordered) // at_most)
    each, more = divmod(len(ordered), count)
    rest = iter(ordered)
    return [list(islice(rest, each + (number < more))) for number in range(count)]


def header_length(dataset: Dataset) -> Callable[[str], int]:
    """Clip id -> its frames at 25 fps by the header of its file, 0 where that cannot be read."""

    def length(clip_id: str) -> int:
        try:
            with decoding(clip_id):
                return dataset.clip(clip_id).header_frames
        except BenchError:
            return 0

    return length
