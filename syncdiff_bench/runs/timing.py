"""How long a method took for its frames: a line of timings.jsonl per batch, and what may be said of all of them.

The time is that of the method alone: no decoding before it, no face detector, no writing of videos. It is about a
machine and a minute: two equal runs do not have it in common, and nothing else rests on it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from syncdiff_bench import platforms
from syncdiff_bench.arrays import FPS
from syncdiff_bench.documents import WrongValue, check
from syncdiff_bench.journals import Journal, read_rows, tell_damage
from syncdiff_bench.runs.layout import TIMINGS, part_files
from syncdiff_bench.runs.manifest import now

SCHEMA = 1
LOST = "it is left out of the speed"
IDLE = 0.05  # of a processor: so much of it the other processes of a run may take while a batch is timed


@dataclass(frozen=True)
class Timed:
    """A line of timings.jsonl: a batch of which every clip came through.

    - at: when it was done (UTC, ISO 8601)
    - clips, frames: of the batch
    - seconds: that the method took
    - device: of the method, with the threads of a CPU ("AMD EPYC 7B13, 2 threads")
    - alone: no other process of the run is known to have worked on the same processor
    - loading: it was the first of its process, in which networks are loaded
    """

    at: str
    clips: int
    frames: int
    seconds: float
    device: str
    alone: bool
    loading: bool

    def to_row(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}


@dataclass(frozen=True)
class Speed:
    """How fast a method was on one device.

    - seconds: per second of video; None where nothing that was timed can tell, then `reason` says why
    - clips: timed, those that were made again included
    - at_once: the most of a batch
    - loading: the time in which networks are loaded is in it, as there was no other batch
    """

    seconds: float | None
    clips: int = 0
    device: str = ""
    at_once: int = 0
    loading: bool = False
    reason: str = ""


def read_timings(path: Path) -> list[Timed]:
    """Of a run directory, those of parts that were not put together yet too. A line that is none is told and left out.

    A batch that two files tell of counts once: putting together may be killed between writing and deleting.
    """
    found: dict[Timed, None] = {}
    for file in (path / TIMINGS, *part_files(path, TIMINGS)):
        for row in read_rows(file, LOST):
            line = {key: value for key, value in row.items() if key != "schema"}
            try:
                check(line, Timed)
                found[Timed(**line)] = None
            except (WrongValue, TypeError) as error:
                tell_damage(file, "a line", error, LOST)
    return list(found)


def put_together(path: Path) -> None:
    """Move what the parts timed into the file of the whole, their files excepted. Raises UsageError."""
    if part_files(path, TIMINGS):
        Journal(path / TIMINGS, LOST).rewrite(one.to_row() for one in read_timings(path))


def speed_of(timings: Iterable[Timed]) -> Speed:
    """Of the batches whose time is that of a process alone, on the device that made most of them."""
    known = [one for one in timings if one.frames > 0 and one.seconds >= 0]
    alone = [one for one in known if one.alone]
    if not alone:
        several = "every batch was timed while other processes shared the CPU; --workers 1 times it alone"
        return Speed(None, reason=several if known else "not recorded")
    frames: dict[str, int] = {}
    for one in alone:
        frames[one.device] = frames.get(one.device, 0) + one.frames
    device = max(frames, key=lambda name: (frames[name], name))
    here = [one for one in alone if one.device == device]
    counted = [one for one in here if not one.loading] or here
    return Speed(
        seconds=sum(one.seconds for one in counted) * FPS / sum(one.frames for one in counted),
        clips=sum(one.clips for one in counted),
        device=device,
        at_once=max(one.clips for one in counted),
        loading=counted[0].loading,
    )


class Stopwatch:
    """Times the batches of a process.

    others: ids of the other processes of the run on this processor; None where they cannot be known.
    """

    def __init__(self, device: str, others: Callable[[], Iterable[int | None]] | None) -> None:
        self.device = device
        self._others = others
        self._first = True
        self._looked_since: float | None
        self.begin()

    def begin(self) -> None:
        """A batch."""
        self._seconds, self._looked_since = 0.0, None
        self._began = time.monotonic()
        self._busy_before = self._busy()

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the method works."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._seconds += time.monotonic() - began

    def looking(self, done: int, total: int) -> None:
        """A face detector is at work, which is no part of the method: told when it begins and after each step."""
        here = time.monotonic()
        if self._looked_since is not None:
            self._seconds -= here - self._looked_since
        self._looked_since = here if done < total else None

    def end(self, frames: Mapping[str, int]) -> Timed:
        """Of a batch of these clips."""
        passed = time.monotonic() - self._began
        before, after = self._busy_before, self._busy()
        first, self._first = self._first, False
        return Timed(
            at=now(),
            clips=len(frames),
            frames=sum(frames.values()),
            seconds=round(max(self._seconds, 0.0), 6),
            device=_device_name(self.device),
            alone=before is not None and after is not None and abs(after - before) <= IDLE * passed,
            loading=first,
        )

    def _busy(self) -> float | None:
        """Seconds of processor time that the others took so far."""
        return None if self._others is None else sum(map(_processor_seconds, self._others()))


def _processor_seconds(pid: int | None) -> float:
    import psutil

    with suppress(psutil.Error):
        return float(sum(psutil.Process(pid).cpu_times()[:2]))
    return 0.0


def _device_name(device: str) -> str:
    """What a reader knows it by: the GPU's name; the processor's, and how many threads compute."""
    torch = sys.modules.get("torch")
    if torch is not None and device.startswith("cuda") and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(device))
    if device != "cpu":
        return f"{platforms.processor_name()}, {device}"
    threads = _threads()
    return f"{platforms.processor_name()}, {threads} thread{'s' * (threads > 1)}"


def _threads() -> int:
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else platforms.cores()
