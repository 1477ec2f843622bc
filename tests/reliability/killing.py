"""Commands in process groups of their own: killed at an instant of processor time, and what they used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LIMIT = 600.0  # seconds after which a command hangs
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Ended:
    """code: as `subprocess` has it, negative for a signal; None where the command hung and was killed.

    said: stdout and stderr. busy: seconds of processor time, of all its processes. began: how many of them had gone by
    when it wrote its first file. peak_mb: resident memory of its largest process, MB of 1,000,000 bytes.
    """

    code: int | None
    said: str
    busy: float
    began: float
    peak_mb: float

    @property
    def traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.said


class Command:
    """`syncdiff-bench ARGUMENTS`, started in the folder `work`; more: what stands before it (`unshare`, ...)."""

    def __init__(
        self, arguments: Sequence[str], work: Path, environment: Mapping[str, str], more: Sequence[str] = ()
    ) -> None:
        self.work = work
        self.log = work.with_name(f"{work.name}.{time.monotonic_ns()}.log")
        self.busy = self.began = 0.0
        self.code: int | None = None
        self.peak_mb = 0.0
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*more, sys.executable, "-m", "syncdiff_bench", *arguments],
                cwd=work,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ended(self) -> bool:
        """Whether it has come to its end; notes what it used until now."""
        if self.process.returncode is not None:
            return True
        family = list(_family(self.process.pid))
        self.busy = max(self.busy, sum(map(_processor_time, family)))
        self.peak_mb = max(self.peak_mb, *map(_peak_mb, family))
        if not self.began and any(self.work.iterdir()):
            self.began = self.busy
        pid, status, used = os.wait4(self.process.pid, os.WNOHANG)
        if not pid:
            return False
        self.process.returncode = self.code = os.waitstatus_to_exitcode(status)
        self.busy = max(self.busy, used.ru_utime + used.ru_stime)
        return True

    def kill(self, how: signal.Signals, instant: float, delay: float = 0.0) -> bool:
        """Send a signal to all its processes at this instant of processor time, and so many seconds later; wait.

        Returns False where it had come to its end before, also in the moment between looking and sending.
        """
        last = time.monotonic() + LIMIT
        while self.busy < instant and time.monotonic() < last:
            if self.ended():
                return False
            time.sleep(0.002)
        time.sleep(delay)
        if self.ended():
            return False
        os.killpg(self.process.pid, how)
        return self.end().code != 0

    def end(self, limit: float = LIMIT) -> Ended:
        """Wait for its end, but no longer than `limit` seconds; then nothing of it is left."""
        last = time.monotonic() + limit
        while not self.ended() and time.monotonic() < last:
            time.sleep(0.005)
        hung = not self.ended()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        while not self.ended() or _living(self.process.pid):
            time.sleep(0.005)
        said = self.log.read_text(errors="replace")
        return Ended(None if hung else self.code, said, self.busy, self.began, self.peak_mb)


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from _family(int(child))


def _processor_time(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak_mb(pid: int) -> float:
    """Of its own memory; what `wait4` tells holds that of the process that started it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return max(
        (int(line.split()[1]) * 1024 / 1e6 for line in status.splitlines() if line.startswith("VmHWM")), default=0.0
    )


def _living(group: int) -> bool:
    """Whether a process of the group is alive; one that nobody has waited for yet is not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                return True
    return False
