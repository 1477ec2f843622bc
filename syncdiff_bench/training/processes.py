"""The processes of one launch: one at a time in a training folder, and what each died of.

OUT/.lock, OUT/.lock-N     held by process 0 and by process N as long as they live
OUT/errors/process-N.txt   why process N ended: a line of its own, or nothing where another one was to blame
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from syncdiff_bench.errors import BenchError
from syncdiff_bench.files import is_held, locked, unwritable

if TYPE_CHECKING:
    from accelerate import Accelerator

LOCK = ".lock"
ERRORS = "errors"
PATIENCE = 5.0  # seconds until what a process left behind can be seen on every disk


class LostError(BenchError):
    """A training that ended because another process of it did, or because it was told to."""


@contextmanager
def alone(accelerator: Accelerator, out: Path) -> Iterator[None]:
    """The folder, made, for this launch only: its first process holds the lock, the others share it.

    Raises UsageError where another launch is at work there.
    """
    refusal = f"{out} is in use by another training; wait for it or choose another --out"
    with ExitStack() as locks:

        def take() -> None:
            try:
                out.mkdir(parents=True, exist_ok=True)
                locks.enter_context(locked(out / LOCK, refusal=refusal))
                shutil.rmtree(out / ERRORS, ignore_errors=True)
            except OSError as error:
                raise unwritable(out, error) from None

        for_all(accelerator, take)
        if not accelerator.is_main_process:
            locks.enter_context(locked(out / LOCK, member=accelerator.process_index))
        accelerator.wait_for_everyone()  # from here on, a lock that is free tells of a process that is gone
        yield


def for_all(accelerator: Accelerator, work: Callable[[], None]) -> None:
    """What the first process does for all; its BenchError ends the others too, which leave it to say why."""
    from accelerate.utils import broadcast_object_list

    error: BenchError | None = None
    if accelerator.is_main_process:
        try:
            work()
        except BenchError as raised:
            error = raised
    if accelerator.num_processes > 1:
        (failed,) = broadcast_object_list([error is not None])
        if failed and not accelerator.is_main_process:
            raise SystemExit(2)
    if error is not None:
        raise error


@dataclass(frozen=True)
class Processes:
    """index: of this one of `count`, which train in `out`."""

    out: Path
    index: int
    count: int

    def note_end(self, error: BaseException) -> None:
        """Leave behind what this process dies of."""
        if self.count > 1:
            own = isinstance(error, Exception) and not isinstance(error, LostError)
            name = "" if isinstance(error, BenchError) else f"{type(error).__name__}: "
            with suppress(OSError):  # a full disk must not hide what is wrong
                path = self._left_by(self.index)
                path.parent.mkdir(exist_ok=True)
                path.write_text(f"{name}{' '.join(str(error).split())}\n" if own else "", encoding="utf-8")

    def lost(self, patience: float = PATIENCE) -> str:
        """Which other process has ended, and why, in words; "" where all seem to live, after so many seconds."""
        end = time.monotonic() + patience
        while not (found := self._found()) and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def _found(self) -> str:
        gone = []
        for other in range(self.count):
            if other == self.index:
                continue
            left = self._left_by(other)
            if left.is_file():
                if text := left.read_text(encoding="utf-8").strip():
                    return f"process {other} has ended: {text}"
            elif not is_held(self.out / (f"{LOCK}-{other}" if other else LOCK)):
                gone.append(f"process {other} is gone without a word (killed, as where memory runs out)")
        return " and ".join(gone)

    def _left_by(self, index: int) -> Path:
        return self.out / ERRORS / f"process-{index}.txt"


def first_error(out: Path, since: float) -> str:
    """Why a launch of a later time than `since` ended, of whichever of its processes says it; "" where none does."""
    left = [path for path in sorted((out / ERRORS).glob("process-*.txt")) if path.stat().st_mtime >= since]
    return next(filter(None, (path.read_text(encoding="utf-8").strip() for path in left)), "")
