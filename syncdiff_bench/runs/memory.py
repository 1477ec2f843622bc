"""Out of memory: knowing it when it happens, and clearing up before a smaller attempt."""

from __future__ import annotations

import sys


def out_of_memory(error: BaseException) -> bool:
    """Whether the error says that RAM or the memory of a GPU is used up."""
    if isinstance(error, MemoryError):
        return True
    if "torch" not in sys.modules or not isinstance(error, Exception):
        return False
    from accelerate.utils.memory import should_reduce_batch_size

    return bool(should_reduce_batch_size(error))


def clear_memory() -> None:
    """Give back what the failed attempt left behind, in Python and in torch's caches."""
    import gc

    gc.collect()
    if "torch" in sys.modules:
        from accelerate.utils.memory import clear_device_cache

        clear_device_cache()
