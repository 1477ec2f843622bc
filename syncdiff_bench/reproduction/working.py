"""Doing what is missing, unit by unit, alone or together with other processes on the same folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from syncdiff_bench.errors import BenchError
from syncdiff_bench.reproduction.jobs import Job, trainings
from syncdiff_bench.reproduction.models import MissingInputError
from syncdiff_bench.reproduction.units import Seed, Training, Unit, Workshop

POLL = 5.0  # seconds between two looks at what others do


@dataclass
class Outcome:
    """failed: unit -> why it could not be done. elsewhere: unit -> who is still at it."""

    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)


def units_of(jobs: Sequence[Job], *, train: bool) -> list[Unit]:
    """What there is to do, in an order in which it can be done.

    train: False leaves out jobs whose models are missing. Jobs with a problem are left out as well.
    """
    workable = [job for job in jobs if job.problem() is None and (not job.missing_models() or trainable(job, train))]
    seeds = [Seed(job, seed) for job in workable for seed in job.seeds]
    return [*(Training(model) for model in trainings(workable)), *seeds]


def trainable(job: Job, train: bool) -> bool:
    """Whether every model that it lacks can be trained here."""
    return train and all(model.trainable for model in job.missing_models())


def work(
    units: Sequence[Unit], shop: Workshop, say: Callable[[str], None] = lambda _text: None, *, poll: float = POLL
) -> Outcome:
    """Do every unit that no other process does. A unit that fails costs those that need it, and no other,
    whatever it raises; Ctrl-C ends the whole.

    Waits for other processes only where a unit of its own needs theirs. say: told what begins and what fails.
    """
    outcome = Outcome()
    while True:
        todo = [unit for unit in units if unit.key not in outcome.failed and not _done(unit, outcome)]
        if not todo:
            return outcome
        open_keys = {unit.key for unit in todo}
        moved = False
        for unit in todo:
            broken = [key for key in unit.needs if key in outcome.failed]
            if broken:
                outcome.failed[unit.key] = f"needs {broken[0]}, which failed"
                moved = True
            elif not open_keys.intersection(unit.needs):
                moved = _attempt(unit, shop, outcome, say) or moved
        if moved:
            continue
        waiting = [unit for unit in todo if open_keys.intersection(unit.needs)]
        outcome.elsewhere = {unit.key: str(shop.claims.holder(unit.key)) for unit in todo if unit not in waiting}
        if not waiting:
            return outcome
        time.sleep(poll)


def _done(unit: Unit, outcome: Outcome) -> bool:
    try:
        return unit.done()
    except Exception as error:
        outcome.failed[unit.key] = _reason(error)
        return True


def _reason(error: Exception) -> str:
    """One line; what nobody raised on purpose is named by its type."""
    text = " ".join(str(error).split())
    if isinstance(error, BenchError | MissingInputError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _attempt(unit: Unit, shop: Workshop, outcome: Outcome, say: Callable[[str], None]) -> bool:
    """False where another process has it."""
    with shop.claims.taken(unit.key) as claim:
        if claim is None:
            return False
        if _done(unit, outcome):  # another process finished it in between
            return True
        say(unit.key)
        try:
            unit.work(claim, shop)
        except Exception as error:  # whatever a plugin, a library or the device raises is this unit's failure alone
            outcome.failed[unit.key] = _reason(error)
            say(f"{unit.key} failed: {outcome.failed[unit.key]}")
        else:
            if not _done(unit, outcome):
                outcome.failed.setdefault(unit.key, "its work ended without a result")
    return True
