"""Two processes at once on one place: both end well, or one says plainly that the other is at work; the bytes are those
of one process.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import Any
from zlib import crc32

import pytest
from killing import LIMIT, Ended
from tiny_commands import COMMANDS, HEAVY

TIMES = 5  # of each command in the long run
AT_WORK = re.compile(r"error: .*(in use|at work|another process|another launch|held by)[^\n]*\n$")


ATTEMPTS = [
    pytest.param(
        command,
        attempt,
        id=f"{command}-{attempt}",
        marks=[pytest.mark.reliability] if attempt or command in HEAVY else [],
    )
    for command in COMMANDS
    for attempt in range(TIMES + 1)
]


@pytest.mark.parametrize(("command", "attempt"), ATTEMPTS)
def test_two_processes_leave_the_bytes_of_one(
    command: str, attempt: int, place: Callable[[str], Any], note: Callable[..., None]
) -> None:
    """At the same moment first; then the second one comes somewhere on the way of the first."""
    here = place(command)
    busy = here.whole.ended.busy
    rng = random.Random(crc32(f"together {command} {attempt}".encode()))
    first = here.start()
    instant = rng.uniform(0, busy) if attempt else 0.0
    last = time.monotonic() + LIMIT
    while first.busy < instant and not first.ended() and time.monotonic() < last:
        time.sleep(0.002)
    second = here.start()
    while not (first.ended() & second.ended()) and time.monotonic() < last:
        time.sleep(0.005)
    both = [first.end(0), second.end(0)]
    different = here.different()
    note(
        command,
        "two at once",
        tracebacks=sum(one.traceback for one in both),
        bytes_different=sum(different.values()),
        peak_mb=max(one.peak_mb for one in both),
    )
    assert not any(one.traceback for one in both), "\n".join(one.said for one in both)
    assert all(one.code == 0 or gives_way(one) for one in both), f"{both}, the second at {instant:.2f} s"
    assert any(one.code == 0 for one in both), both
    assert different == {}, f"the second at {instant:.2f} s of {busy:.2f}; {both}"


def gives_way(one: Ended) -> bool:
    """Whether a process was refused in one line that says that another one is there."""
    return one.code == 2 and bool(AT_WORK.search(one.said)) and one.said.count("error: ") == 1
