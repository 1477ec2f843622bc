"""How a command ends that a scheduler stops: as by Ctrl-C, with an exit code of its own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from syncdiff_bench.errors import Stopped

EXIT_CODE = 143  # 128 + SIGTERM, as a shell says it of a process that does not handle it
AGAIN = "run the same command again to resume"
OF_SUBMITIT = "SUBMITIT_EXECUTOR"  # set in the environment of its jobs


def stopping_signals() -> tuple[signal.Signals, ...]:
    """SIGTERM; in a job of `launch` also what submitit has Slurm send ahead of the time limit and of a preemption."""
    ahead = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}", None)
    return (signal.SIGTERM, *([ahead] if ahead is not None and OF_SUBMITIT in os.environ else []))


class _Stopping:
    """Raises Stopped where a signal comes. came: those that did."""

    def __init__(self) -> None:
        self.came: list[signal.Signals] = []

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.came.append(signal.Signals(number))
        raise Stopped(f"stopped by {self.came[-1].name}; {AGAIN}")


@contextmanager
def stopped_by_signals() -> Iterator[list[signal.Signals]]:
    """Raise Stopped in the block where one of `stopping_signals` comes; yields those that came.

    Within another such block it is that one's. A signal that is ignored from the start stays so, and outside of the
    main thread nothing happens.
    """
    known = signal.getsignal(signal.SIGTERM)
    if isinstance(known, _Stopping) or threading.current_thread() is not threading.main_thread():
        yield known.came if isinstance(known, _Stopping) else []
        return
    stopping = _Stopping()
    heeded = [one for one in stopping_signals() if signal.getsignal(one) is not signal.SIG_IGN]
    before: dict[signal.Signals, Any] = {one: signal.signal(one, stopping) for one in heeded}
    try:
        yield stopping.came
    finally:
        for one, handler in before.items():
            if signal.getsignal(one) is stopping:  # a training leaves it ignored until the process has ended
                signal.signal(one, signal.SIG_DFL if handler is None else handler)
