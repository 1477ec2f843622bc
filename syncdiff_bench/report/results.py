"""Runs as a paper's table takes them: read from their run.json alone, and in what they deviate from what it scored.

A number over another split, or with the audio of other clips, answers another question: nothing of the paper stands
against it. One over a part of the clips, from videos of another encoding, or with other options than the method's own
or by a model of other data does compare, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypedDict

from syncdiff_bench.caveats import recorded
from syncdiff_bench.documents import WrongValue, check, read_json
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.paper import System
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.layout import DEPTHS, MANIFEST
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.records import SCHEMA
from syncdiff_bench.runs.schema import TabledRecord

ENCODING = "lossless"  # how a run stores its videos unless told otherwise
FOREIGN = "foreign-model"  # the caveat of a run whose model was trained on other data
PAIRS = "pairs"  # the dataset option that puts the audio of one clip on the frames of another
METHOD: Mapping[str, Any] = {"title": "", "options": {}, "weights": [], "topline": False}
DATASET: Mapping[str, Any] = {"split": "", "root": None, "options": {}, "fingerprint": "", "clips": []}
ENTRY = {"label": "", "unit": "", "decimals": 0, "weights": [], "reason": None}


def find_runs(folders: Iterable[Path]) -> tuple[Run, ...]:
    """The runs in the given folders: run directories, or folders that hold some (`layout.DEPTHS`).

    Raises UsageError for a folder without a run and for a run.json that is not one.
    """
    found: dict[Path, Run] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"run folder {folder} does not exist; give a run directory or a folder of them")
        paths = [p for depth in DEPTHS for p in sorted(folder.glob(depth + MANIFEST))]
        if not paths:
            raise UsageError(f"{folder} holds no {MANIFEST}; give a run directory or a folder of them")
        for path in paths:
            found.setdefault(path.resolve(), read_run(path))
    return tuple(found.values())


def read_run(path: Path) -> Run:
    """One run.json. Raises UsageError naming the file and what is wrong with it."""
    fault, mend = "is not a run's record", "score the run again"
    record = read_json(path, fault, mend, Sketch, schema=SCHEMA, undefined=True)
    try:
        return run_of(path.parent, record)
    except WrongValue as error:
        raise UsageError(f"{path} {fault} ({error}); {mend}") from None


class Sketch(TypedDict, total=False):
    """As much as every run.json has, whoever wrote it."""

    summary: Sequence[Mapping[str, Any]] | None
    method: Mapping[str, Any]
    dataset: Mapping[str, Any]


def run_of(path: Path, record: Mapping[str, Any]) -> Run:
    """A run without its journals. record: run.json, or as much of it as a probe or another program wrote: names of
    method and dataset, and a summary. Raises WrongValue where it is none.
    """
    summary = [{**ENTRY, **_finite(entry)} for entry in record.get("summary") or ()]
    manifest = {
        **{"seed": None, "encoding": "", "finished": "", "protocols": []},
        **record,
        "method": {**METHOD, **record.get("method", {})},
        "dataset": {**DATASET, **record.get("dataset", {})},
        "summary": summary,
    }
    check(manifest, TabledRecord)
    manifest["caveats"] = [one.to_json() for one in (recorded(manifest) if summary else ())]
    return Run(path, manifest, Identity.from_json(manifest), (), {}, unread=True)


def _finite(entry: Mapping[str, Any]) -> dict[str, Any]:
    """JSON of other programs spells what is undefined NaN, and an end of an interval null."""
    ends = entry.get("ci95") or ()
    if not isinstance(ends, (list, tuple)):
        return {**entry}
    defined = {name: None for name, value in entry.items() if isinstance(value, float) and not isfinite(value)}
    ends = None if any(end is None or (isinstance(end, float) and not isfinite(end)) for end in ends) else ends
    return {**entry, **defined, "ci95": ends or None}


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
        words.append(f"mismatched audio, pairs={run.identity.dataset_options[PAIRS]}")
    return words
