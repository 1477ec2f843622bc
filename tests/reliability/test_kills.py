"""Commands killed at random instants and started again come to the same bytes as those that nothing happened to.

The long run: pytest -m reliability tests/reliability
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from typing import Any
from zlib import crc32

import pytest
from tiny_commands import COMMANDS, HEAVY

KILLS = 30  # of each command in the long run
STOPPED = (-signal.SIGTERM, 128 + signal.SIGTERM)


def marks(command: str, attempt: int) -> list[pytest.MarkDecorator]:
    """One of each command in every run of the tests, the heavy ones among the slow tests; the others when asked for."""
    if attempt:
        return [pytest.mark.reliability]
    return [pytest.mark.slow] if command in HEAVY else []


ATTEMPTS = [
    pytest.param(command, attempt, id=f"{command}-{attempt}", marks=marks(command, attempt))
    for command in COMMANDS
    for attempt in range(KILLS + 1)
]


@pytest.mark.parametrize(("command", "attempt"), ATTEMPTS)
def test_a_killed_command_goes_on_to_the_same_bytes(
    command: str, attempt: int, place: Callable[[str], Any], note: Callable[..., None]
) -> None:
    """Killed once or twice in a row, at instants between shortly before its first file and its end."""
    here = place(command)
    whole = here.whole.ended
    rng = random.Random(crc32(f"{command} {attempt}".encode()))
    said: list[str] = []
    instants: list[float] = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        how = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        instant = rng.uniform(0.8 * whole.began, whole.busy)
        while True:
            running = here.start()
            if running.kill(how, instant, rng.uniform(0, 0.03)):
                break
            instant *= 0.7  # it ended before, as one that goes on ends sooner: earlier in the next start
            assert running.code == 0, running.end().said
        ended = running.end()
        said.append(ended.said)
        instants.append(round(instant, 2))
        expected = (-signal.SIGKILL,) if how is signal.SIGKILL else STOPPED
        assert running.code in expected, f"{running.code}: {ended.said}"
    last = here.start().end()
    said.append(last.said)
    tracebacks = sum("Traceback (most recent call last)" in one for one in said)
    different = here.different()
    note(
        command,
        "kill",
        tries=len(instants),
        tracebacks=tracebacks,
        bytes_different=sum(different.values()),
        peak_mb=last.peak_mb,
    )
    assert last.code == 0, f"killed at {instants} s: {last.said}"
    assert not tracebacks, "\n".join(said)
    assert different == {}, f"killed at {instants} s of {whole.busy:.2f}"
