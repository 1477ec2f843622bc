"""What differs between Linux, macOS and Windows: the only place that calls what one of them lacks."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
from contextlib import suppress
from io import FileIO
from pathlib import Path


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory of this machine."""
    import psutil

    return int(psutil.virtual_memory().total)


def processor_name() -> str:
    """As the system calls it, "" where it does not say."""
    try:  # platform.processor() is empty on most Linux systems
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def nvidia_driver() -> bool:
    """Whether there is an NVIDIA driver, found out without torch."""
    traces = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/dxg")  # the last one is WSL's
    return any(Path(trace).exists() for trace in traces) or (os.name == "nt" and bool(shutil.which("nvidia-smi")))


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; Windows opens no folder. Raises OSError."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def opened_at_once(path: Path) -> FileIO:
    """A file for reading, unbuffered; a pipe too, without waiting for who writes to it. Raises OSError."""
    return FileIO(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)))


def link_or_copy(path: Path, place: Path) -> None:
    """Let a file be seen at another place, too; Windows lets few users make links. A folder is linked or nothing.

    Raises OSError.
    """
    try:
        place.symlink_to(path.resolve())
    except (OSError, NotImplementedError):
        if path.is_dir() or place.is_symlink() or place.exists():
            raise
        shutil.copyfile(path, place)


def end_group(process: subprocess.Popen[bytes], grace: float) -> None:
    """End a process that was started with `start_new_session`, and all that it started.

    grace: seconds between asking and killing. On Windows only the process itself is ended.
    """
    if not hasattr(os, "killpg"):
        process.kill()
        process.wait()
        return
    # The group outlives its leader, so it is signalled even where the leader has gone.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
