"""torchrun as a user starts it, for tests in any folder (pytest has this one on its path)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def torchrun(arguments: Sequence[str], log: Path, processes: int = 2) -> Iterator[subprocess.Popen[str]]:
    """In a process group of its own, which ends with the block; what it says is appended to `log`."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    with log.open("a") as said:
        process = subprocess.Popen(
            [*launcher, *arguments], stdout=said, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
