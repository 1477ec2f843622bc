"""Waits of the processes of a training for each other that last for hours, apart from the collectives of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate import Accelerator

# Filling caches takes hours, and one share longer than another; the collectives of steps keep their own limit.
PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Peers:
    """The processes of a launch as one of them, `index` of `count`, sees them.

    group: of torch.distributed, over gloo whatever the device, without a time limit; None for a process that is alone.
    """

    index: int = 0
    count: int = 1
    group: Any = None

    def wait(self) -> None:
        """Until every process has come here, however long that takes. Raises DistError where one has ended."""
        if self.group is None:
            return
        import torch.distributed

        try:
            torch.distributed.monitored_barrier(self.group, timeout=PATIENCE)
        except RuntimeError as error:
            raise torch.distributed.DistError(str(error)) from None


def meet(accelerator: Accelerator) -> Peers:
    """The processes of this launch; called by each of them."""
    if accelerator.num_processes == 1:
        return Peers()
    import torch.distributed

    group = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)
    return Peers(accelerator.process_index, accelerator.num_processes, group)
