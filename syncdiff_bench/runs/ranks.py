"""The processes that share one run, each with its share of the batches.

Ranks are started together by torchrun or `accelerate launch` and wait for each other; they meet over gloo whatever the
device: no tensor ever passes between them. Shards are jobs of their own, which need never run at the same time; each of
them may be a launch of several ranks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from syncdiff_bench.errors import BenchError

T = TypeVar("T")

# A rank waits for the slowest one, however long its share takes; a dead one is noticed at once.
PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Ranks:
    """index: of this process, 0 is the one that writes what is written once. count: of all processes of its launch.

    shard: of this launch, from 1. shards: of all.
    """

    index: int = 0
    count: int = 1
    shard: int = 1
    shards: int = 1

    @property
    def first(self) -> bool:
        return self.index == 0

    @property
    def part(self) -> str:
        """Stands in the names of the files that this process alone writes; "" of a process that shares with nobody.

        >>> Ranks().part, Ranks(1, 2).part, Ranks(0, 1, 2, 3).part, Ranks(1, 2, 2, 3).part
        ('', 'rank-1', 'shard-2-of-3', 'shard-2-of-3.rank-1')
        """
        shard = [] if self.shards == 1 else [f"shard-{self.shard}-of-{self.shards}"]
        return ".".join([*shard, *([] if self.count == 1 else [f"rank-{self.index}"])])

    @property
    def told(self) -> str:
        """For the title of a stage: " (shard 2 of 3, rank 1)", "" of a process that shares with nobody."""
        return f" ({self.part.replace('-', ' ').replace('.', ', ')})" if self.part else ""

    def of_shard(self, items: Sequence[T]) -> list[T]:
        """The items of this launch: every shards-th.

        >>> Ranks(0, 1, 2, 3).of_shard("abcdefg")
        ['b', 'e']
        """
        return list(items[self.shard - 1 :: self.shards])

    def share(self, items: Sequence[T]) -> list[T]:
        """The items of this process among those of its launch: every count-th.

        >>> Ranks(1, 3).share("abcdefg")
        ['b', 'e']
        """
        return list(items[self.index :: self.count])

    def agreed(self, value: T) -> T:
        """What the first process gave, on every process. Raises as `wait`."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        given = [value]
        try:
            broadcast_object_list(given)
        except RuntimeError as error:
            raise _died(error) from None
        return given[0]

    def wait(self) -> None:
        """Until every process has come here. Raises BenchError where one of them died."""
        if self.count == 1:
            return
        import torch.distributed

        try:
            torch.distributed.monitored_barrier(timeout=PATIENCE)
        except RuntimeError as error:
            raise _died(error) from None


def these_ranks(shard: tuple[int, int] = (1, 1)) -> Ranks:
    """This process among those of its launcher (environment variables WORLD_SIZE, RANK, MASTER_ADDR); alone without.

    shard: which one this launch is, of how many.
    Raises BenchError where the others cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return Ranks(0, 1, *shard)
    from accelerate import PartialState

    try:
        state = PartialState(cpu=True, timeout=PATIENCE)
    except RuntimeError as error:
        raise _died(error) from None
    return Ranks(state.process_index, state.num_processes, *shard)


def _died(error: RuntimeError) -> BenchError:
    reason = " ".join(str(error).split())
    return BenchError(
        f"a rank died, nothing it finished is lost; run the same command again, on any number of ranks ({reason[:200]})"
    )
