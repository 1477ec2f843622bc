"""How long work took here before: FOLDER/<work>.<stage>.json, one finished stage each.

stage, family        of which kind of work the time is worth knowing (the method, the training config)
amount, seconds      steps, frames or probes, and the wall time that they took
host, device         times of others tell nothing
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from syncdiff_bench.documents import WrongValue, check, parse_json
from syncdiff_bench.estimates.workload import duration
from syncdiff_bench.files import write_whole

Stage = Literal["train", "generate", "score", "probe"]


@dataclass(frozen=True)
class Estimate:
    """How long something will take.

    seconds: None where nothing is known.
    source: "measured" (by wall time, of what was done here before), "trial" (see `machine.clock`; and what that left
        out), or why nothing is known; "" where none was made.
    """

    seconds: float | None
    source: str

    def __str__(self) -> str:
        if self.seconds is None:
            return f"? ({self.source})" if self.source else ""
        return f"{duration(self.seconds)} ({self.source})"


DONE = Estimate(0.0, "done")
UNTRIED = Estimate(None, "")


class _Entry(TypedDict):
    stage: str
    family: str
    host: str
    device: str
    seconds: float
    amount: int


@dataclass(frozen=True)
class Times:
    """device: a torch device string; times of another one are not read."""

    folder: Path
    device: str

    @contextmanager
    def timed(self, work: str, stage: Stage, family: str, amount: int) -> Iterator[None]:
        """Note how long a stage took; nothing where it is broken off or there was nothing to do."""
        began = time.monotonic()
        yield
        if amount <= 0:
            return
        entry = {
            "stage": stage,
            "family": family,
            "amount": amount,
            "seconds": round(time.monotonic() - began, 3),
            "host": socket.gethostname(),
            "device": self.device,
        }
        write_whole(self.folder / f"{work}.{stage}.json", json.dumps(entry) + "\n")

    def known(self) -> bool:
        """Whether anything was measured before."""
        return any(self.folder.glob("*.json"))

    def seconds_each(self, stage: Stage, family: str) -> float | None:
        """Seconds per step, frame or probe, of what this machine has finished on this device."""
        seconds = amount = 0.0
        here = (stage, family, socket.gethostname(), self.device)
        for path in sorted(self.folder.glob(f"*.{stage}.json")):
            try:
                entry = parse_json(path.read_bytes())
                check(entry, _Entry)
            except (OSError, WrongValue):
                continue  # an estimate less
            if (entry["stage"], entry["family"], entry["host"], entry["device"]) == here:
                seconds, amount = seconds + entry["seconds"], amount + entry["amount"]
        return seconds / amount if amount > 0 else None
