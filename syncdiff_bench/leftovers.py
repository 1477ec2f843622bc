"""Files that are still being written lie under another name, which says who writes them; those of the dead are removed.

FOLDER/.NAME.HOST-PID.part     becomes FOLDER/NAME; HOST is a checksum of the machine's name
"""

from __future__ import annotations

import os
import re
import socket
import time
import zlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

# Versions before wrote no HOST, and `weights add` once NAME.adding.
_LEFT = re.compile(r"\..+\.(?:(?P<host>[0-9a-f]{8})-)?(?P<pid>[0-9]{1,9})\.part|.+\.adding")
UNTOUCHED = 24 * 3600.0  # seconds after which nobody writes a file whose writer cannot be looked up
CLOCKS = 3600.0  # seconds by which the clocks of a machine and of its disk may differ


def partial_path(path: Path) -> Path:
    """Where this process writes what becomes `path`, in the same folder."""
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}.part")


def sweep(folder: Path, *, alone: bool = False) -> None:
    """Remove below a folder what processes that have died were writing; what living ones write stays.

    Of another machine's process nobody can tell: its file goes once it lies untouched for a day.
    alone: nobody on another machine is at work there, so that it goes at once.
    """
    for where, _, names in os.walk(folder):
        _sweep(Path(where), names, alone=alone)


def sweep_once(folder: Path) -> None:
    """The same of the folder itself, the first time that this process asks."""
    _swept(folder, os.getpid())


@lru_cache(4096)
def _swept(folder: Path, _process: int) -> None:
    with suppress(OSError):
        _sweep(folder, os.listdir(folder), alone=False)  # noqa: PTH208 - names are enough


def _sweep(folder: Path, names: list[str], *, alone: bool) -> None:
    for name in names:
        found = _LEFT.fullmatch(name) if name.endswith((".part", ".adding")) else None
        if found is None:
            continue
        with suppress(OSError):  # another process was faster, or the folder is read-only
            path = folder / name
            if _is_dead(found["host"], found["pid"], path.lstat().st_mtime, alone=alone):
                path.unlink()


def _is_dead(host: str | None, pid: str | None, touched: float, *, alone: bool) -> bool:
    if pid is None or host != _host():
        return (alone and pid is not None) or time.time() - touched > UNTOUCHED
    import psutil

    try:
        process = psutil.Process(int(pid))
        # Killed and not yet waited for by its parent; or another process has its number now.
        return process.status() == psutil.STATUS_ZOMBIE or bool(process.create_time() - touched > CLOCKS)
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OverflowError):
        return False


@lru_cache(1)
def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"
