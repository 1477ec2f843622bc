"""Leases: processes, on one machine or on several that share a folder, never do the same work twice.

FOLDER/<work>.lease      who has it; touched while that process lives

A lease ends with its process: at once on the same machine, on another once it was seen untouched for a while.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import OwnerRecord, SoftFileLease, Timeout

from syncdiff_bench.errors import BenchError
from syncdiff_bench.files import unwritable

STALE = 120.0  # seconds without a sign of life


class Leases:
    """The leases of one shared folder, which is created when the first one is taken."""

    def __init__(self, folder: Path, *, stale: float = STALE) -> None:
        self.folder = folder
        self.stale = stale
        self._leases: dict[str, SoftFileLease] = {}  # each remembers since when it saw another's untouched

    @contextmanager
    def taken(self, work: str, *, wait: bool = False) -> Iterator[SoftFileLease | None]:
        """The lease while the block runs; None where another process has it. wait: for as long as one has it."""
        lease = self._lease(work)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if lease.is_locked:
                raise Timeout(lease.lock_file)
            # A first look may only clear away what a dead process left behind.
            lease.acquire(timeout=-1 if wait else 0.1, poll_interval=1.0 if wait else 0.05)
        except Timeout:
            yield None
            return
        except OSError as error:
            raise unwritable(self.folder, error) from None
        try:
            yield lease
        finally:
            lease.release()

    def holder(self, work: str) -> str:
        """Who has it: "process 12 on this-machine"; "" where no process is known."""
        owner = self._lease(work).owner
        return "" if owner is None else f"process {owner.pid} on {owner.hostname.partition('?')[0]}"

    def clear(self) -> None:
        """Take away what dead processes left on this machine, also of finished work, which nobody takes again."""
        for path in self.folder.glob("*.lease"):
            owner = self._lease(path.stem).owner
            if owner is not None and _here(owner) and not psutil.pid_exists(owner.pid):
                with self.taken(path.stem):
                    pass  # given back, which removes it

    def far(self, work: str) -> bool:
        """Whether its holder cannot be seen to live, as on another machine."""
        owner = self._lease(work).owner
        return owner is not None and not (_here(owner) and psutil.pid_exists(owner.pid))

    def _lease(self, work: str) -> SoftFileLease:
        if work not in self._leases:
            self._leases[work] = SoftFileLease(self.folder / f"{work}.lease", lease_duration=self.stale)
        return self._leases[work]


def _here(owner: OwnerRecord) -> bool:
    return owner.hostname.partition("?")[0] == socket.gethostname()


def require(lease: SoftFileLease) -> None:
    """Raises BenchError where another process took the work over (this one was asleep for too long)."""
    owner = lease.owner
    if owner is None or owner.token != lease.token:
        name = Path(lease.lock_file).stem
        raise BenchError(f"{name} was taken over by another process; run the same command again")
