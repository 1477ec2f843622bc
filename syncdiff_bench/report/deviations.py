"""In what a run deviates from what the paper scored: other clips, other videos, other options.

A number over another split, or with the sound of other clips, answers another question: nothing of the paper stands
against it. One over a part of the clips, from videos of another encoding, or with other options than the method's own
or by a model of other data does compare, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from syncdiff_bench.report.paper import System
from syncdiff_bench.runs.directory import Run

ENCODING = "lossless"  # how a run stores its videos unless told otherwise
FOREIGN = "foreign-model"  # the caveat of a run whose model was trained on other data
PAIRS = "pairs"  # the dataset option that puts the sound of one clip on the pictures of another


@dataclass(frozen=True)
class Deviation:
    """text: for a footnote. excludes: the paper's number is about other clips, and there is no delta."""

    text: str
    excludes: bool = False


def deviations(
    run: Run,
    split: str,
    total: int | None,
    defaults: Mapping[str, Any],
    systems: Iterable[System],
) -> tuple[Deviation, ...]:
    """What run.json says to have been otherwise; what it does not say is taken to be the paper's.

    split, total: the paper's, and its number of clips, None where that is not known.
    defaults: the method's options that are no deviation; of an option that is not among them, any value is none.
    systems: an option by which one of them finds its row (a variant) is none either.
    """
    found = []
    other = _excluding(run, split)
    if other:
        found.append(Deviation(", ".join(other), excludes=True))
    elif total is not None and 0 < len(run.identity.clips) < total:
        found.append(Deviation(f"{len(run.identity.clips)} of {total} clips"))
    if run.identity.encoding not in ("", ENCODING):
        found.append(Deviation(f"encoding {run.identity.encoding}"))
    telling = {name for system in systems if system.method == run.identity.method for name, _ in system.options}
    changed = [
        f"{name}={value}"
        for name, value in run.identity.options.items()
        if name not in telling and defaults.get(name, value) != value
    ]
    if changed:
        found.append(Deviation(f"options {', '.join(changed)}"))
    return (*found, *(Deviation(one.sentence) for one in run.caveats if one.kind == FOREIGN))


def preference(run: Run, split: str) -> tuple[bool, int, str]:
    """Of several runs of a system the greatest counts: the paper's clips, the most of them, then the newest."""
    return not _excluding(run, split), clip_count(run), run.manifest["finished"] or ""


def clip_count(run: Run) -> int:
    """How many clips it was made of; of a record that lists none, how many its fullest column has."""
    return len(run.identity.clips) or max((one.n + one.failed for one in run.summary), default=0)


def same_clips(one: Run, other: Run) -> bool:
    """Whether one may be a bound of the other."""
    sides = ((side.identity, side.identity.dataset_options.get(PAIRS)) for side in (one, other))
    mine, theirs = ((it.dataset, it.split, it.clips, pairs) for it, pairs in sides)
    return mine == theirs


def _excluding(run: Run, split: str) -> list[str]:
    words = []
    if run.identity.split not in ("", split):
        clips = f" ({len(run.identity.clips)} clips)" if run.identity.clips else ""
        words.append(f"split {run.identity.split}{clips}, not {split}")
    if run.identity.dataset_options.get(PAIRS):
        words.append(f"mismatched sound, pairs={run.identity.dataset_options[PAIRS]}")
    return words
