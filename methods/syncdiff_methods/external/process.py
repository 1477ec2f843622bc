"""One process that is not trusted: its own group, a time limit, its output in files, nothing left running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from syncdiff_bench.platforms import end_group

OUTPUT_NAME = "output.mp4"  # of the video that a program is told to write
GRACE_SECONDS = 5.0  # between asking a group to end and killing it
MOMENT = 1.0  # seconds by which signals to several processes may differ
SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class Command:
    """What to start. environment: the whole of it. timeout: seconds."""

    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    timeout: float


def environment_with(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with changes; an empty value removes a variable."""
    environment = {**os.environ, **changes}
    return {name: value for name, value in environment.items() if value or name not in changes}


def run_process(command: Command, stdout: Path, stderr: Path) -> int:
    """Run to the end and return the exit status; negative: the signal that ended it.

    stdout, stderr: files to write on, kept as far as the process came. No shell, no terminal, an empty stdin.
    On the time limit, on Ctrl-C and on any other error the process and all that it started are ended.
    Raises subprocess.TimeoutExpired, and OSError where it does not start.
    """
    with stdout.open("ab") as out, stderr.open("ab") as err:
        process = subprocess.Popen(
            command.argv,
            cwd=command.folder,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            status = process.wait(command.timeout)
            if status == -signal.SIGTERM:
                time.sleep(MOMENT)  # a scheduler ends all processes: this one goes before it says that the clip failed
            return status
        except BaseException:
            end_group(process, GRACE_SECONDS)
            raise


def last_line(path: Path) -> str:
    """The last line of a file that is not blank, "" where there is none; a progress bar counts as many lines."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        text = file.read().decode("utf-8", errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    return lines[-1][-SHOWN_CHARACTERS:] if lines else ""


def ending(status: int) -> str:
    """An exit status in words: "ended with status 1", "was killed by SIGKILL"."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
