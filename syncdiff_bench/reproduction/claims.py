"""Who does what: processes, on one machine or on several that share a folder, never do the same unit of work twice.

FOLDER/<unit>.claim-N.json     the N-th claim of a unit: who holds it, and whether it was given back

A claim is made by creating the file that follows the last one, which a file system grants to one process only; files
are never deleted, so that nobody can create an old number again. The holder touches its file while it works. A claim
may be taken over where its process is gone (on this machine) or where it was not touched for STALE seconds.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncdiff_bench.errors import BenchError
from syncdiff_bench.files import unwritable, write_whole

BEAT = 30.0  # seconds between two touches
STALE = 600.0


@dataclass(frozen=True)
class Claim:
    """A unit of work that is ours. file: of the claim."""

    unit: str
    file: Path

    def require(self) -> None:
        """Raises BenchError where another process took the unit over (this one was asleep for too long)."""
        if _newest(self.file.parent, self.unit) != self.file:
            raise BenchError(f"{self.unit} was taken over by another process; run the same command again")


@dataclass(frozen=True)
class Holder:
    """Whoever has a unit in work, in words."""

    host: str
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Claims:
    """The claims of one shared folder, which is created when the first one is made."""

    def __init__(self, folder: Path, *, beat: float = BEAT, stale: float = STALE) -> None:
        self.folder = folder
        self.beat = beat
        self.stale = stale

    @contextmanager
    def taken(self, unit: str) -> Iterator[Claim | None]:
        """The unit while the block runs; None where another process has it. Given back at the end, whatever happens."""
        file = self._take(unit)
        if file is None:
            yield None
            return
        done = threading.Event()
        beats = threading.Thread(target=self._keep_alive, args=(file, done), daemon=True)
        beats.start()
        try:
            yield Claim(unit, file)
        finally:
            done.set()
            beats.join()
            _write(file, released=True)

    @contextmanager
    def held(self, unit: str, every: float = 2.0) -> Iterator[Claim]:
        """As `taken`, but waits for as long as another process has the unit."""
        while True:
            with self.taken(unit) as claim:
                if claim is not None:
                    yield claim
                    return
            time.sleep(every)

    def holder(self, unit: str) -> Holder | None:
        """Who has the unit in work now."""
        newest = _newest(self.folder, unit)
        if newest is None:
            return None
        entry = _read(newest)
        if entry is None or self._free(newest, entry):
            return None
        return Holder(str(entry["host"]), int(entry["pid"]))

    def _take(self, unit: str) -> Path | None:
        newest = _newest(self.folder, unit)
        if newest is not None and not self._free(newest, _read(newest)):
            return None
        number = 1 if newest is None else _number(newest) + 1
        file = self.folder / f"{unit}.claim-{number}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            return None  # another process was faster
        except OSError as error:
            raise unwritable(file, error) from None
        _write(file, released=False)
        return file

    def _free(self, file: Path, entry: dict[str, Any] | None) -> bool:
        if entry is None:  # just being written, or left empty by a kill
            return self._untouched(file) > min(self.stale, 10.0)
        if entry["released"]:
            return True
        if entry["machine"] == _machine():
            started: str | None = entry["process_started"]
            return _started(int(entry["pid"])) != started
        return self._untouched(file) > self.stale

    def _untouched(self, file: Path) -> float:
        """Seconds since a claim was touched, by the clock of the file system: those of machines differ."""
        probe = self.folder / f".now-{socket.gethostname()}-{os.getpid()}"
        try:
            probe.touch()
            return probe.stat().st_mtime - file.stat().st_mtime
        except OSError as error:
            raise unwritable(probe, error) from None
        finally:
            probe.unlink(missing_ok=True)

    def _keep_alive(self, file: Path, done: threading.Event) -> None:
        while not done.wait(self.beat):
            try:
                os.utime(file)
            except OSError:
                continue  # the file server is away; what is written next will say so


def _newest(folder: Path, unit: str) -> Path | None:
    return max(folder.glob(f"{_escaped(unit)}.claim-*.json"), key=_number, default=None)


def _escaped(unit: str) -> str:
    import glob

    return glob.escape(unit)


def _number(file: Path) -> int:
    return int(file.stem.rpartition(".claim-")[2])


def _read(file: Path) -> dict[str, Any] | None:
    try:
        entry = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    keys = {"host", "machine", "pid", "process_started", "released"}
    return entry if isinstance(entry, dict) and keys <= entry.keys() else None


def _write(file: Path, *, released: bool) -> None:
    pid = os.getpid()
    entry = {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": pid,
        "process_started": _started(pid),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "released": released,
    }
    write_whole(file, json.dumps(entry) + "\n")


def _machine() -> str:
    """Names this boot of this machine, and the space that its process numbers belong to (containers have their own)."""
    parts = [socket.gethostname()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(str(Path(source).readlink()) if "/ns/" in source else Path(source).read_text().strip())
        except OSError:
            continue
    return " ".join(parts)


def _started(pid: int) -> str | None:
    """When a process began, so that its number is not taken for another's; None where there is none of that number."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "alive" if not Path("/proc/self").exists() and _alive(pid) else None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in ("Z", "X") else rest[18]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
