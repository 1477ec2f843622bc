"""The processes that share one run: started by torchrun or `accelerate launch`, each with its share of the batches.

They meet over gloo whatever the device: no tensor ever passes between them.
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
    """index: of this process, 0 is the one that writes what is written once. count: of all processes."""

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        return self.index == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """The items of this process: every count-th.

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


def these_ranks() -> Ranks:
    """This process among those of its launcher (environment variables WORLD_SIZE, RANK, MASTER_ADDR); alone without.

    Raises BenchError where the others cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return Ranks()
    from accelerate import PartialState

    try:
        state = PartialState(cpu=True, timeout=PATIENCE)
    except RuntimeError as error:
        raise _died(error) from None
    return Ranks(state.process_index, state.num_processes)


def _died(error: RuntimeError) -> BenchError:
    reason = " ".join(str(error).split())
    return BenchError(
        f"a rank died, nothing it finished is lost; run the same command again, on any number of ranks ({reason[:200]})"
    )
