"""A training folder belongs to one training: OUT/training.json says to which.

{"schema": 1, "task": "SyncDiffTask", "data": {dataset, split, ..., fingerprint, boxes}, "training": {...},
 "options": {...}, "versions": {...}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

from syncdiff_bench.documents import read_json
from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import write_whole
from syncdiff_bench.options import options_to_json
from syncdiff_bench.training.checkpoints import complete
from syncdiff_bench.training.task import TrainingData, TrainingSettings, TrainingTask
from syncdiff_bench.views import boxes_of_clips

FILE = "training.json"
SCHEMA = 1
VERSIONED = ("syncdiff-bench", "torch", "accelerate", "diffusers", "numpy")
# Settings that do not make another training of it; `steps` may grow.
FREE = frozenset(
    (
        *("steps", "micro_batch", "log_every", "validate_every", "sample_every", "checkpoint_every", "keep_last"),
        *("trackers", "compile", "channels_last", "tf32"),
    )
)
MEND = "set it back, or choose another --out"


def facts_of(task: TrainingTask, settings: TrainingSettings) -> dict[str, Any]:
    """What a training is, without its data. Called before `prepare`, which may change the options."""
    data = task.data
    return {
        "schema": SCHEMA,
        "task": type(task).__name__,
        "data": {
            "dataset": data.dataset.name,
            "options": {k: v for k, v in options_to_json(data.dataset.options).items() if k != "boxes"},
            "split": data.split,
            "validation_split": data.validation_split,
        },
        "training": options_to_json(settings),
        "options": {k: v for k, v in options_to_json(task.options).items() if k not in task.incidental},
        "versions": dict(_versions()),
    }


def check(out: Path, facts: Mapping[str, Any]) -> list[str]:
    """Compare with the training that the folder holds; notes on what differs and may.

    Raises UsageError for a key that makes another training of it, with both values.
    """
    known = _read(out)
    if known is None:
        unsaid = f"{out} does not say what its checkpoints were trained with; they are taken for this config's"
        return [unsaid] if complete(out) else []
    before, now = (dict(_flat(one)) for one in (known, facts))
    changed = [key for key, value in now.items() if key in before and before[key] != value]
    for key in changed:
        table, _, name = key.partition(".")
        free = table in ("schema", "versions") or (table == "training" and name in FREE)
        fewer = key == "training.steps" and not (isinstance(before[key], int) and before[key] <= now[key])
        if not free or fewer:
            raise UsageError(f"{out} holds a training of {key} = {before[key]}, not {now[key]}; {MEND}")
    versions = [f"{key.partition('.')[2]} {before[key]}, now {now[key]}" for key in changed if "versions." in key]
    return [f"begun with {', '.join(versions)}"] if versions else []


def settle(out: Path, facts: Mapping[str, Any], data: TrainingData) -> None:
    """Record the training, with what its data holds. Called after `prepare`: the data is there.

    Raises UsageError where the data is no longer that of the folder's training.
    """
    known = _read(out)
    content = {
        f"{kind} of {split}": of
        for split in dict.fromkeys((data.split, data.validation_split))
        for kind, of in (
            ("fingerprint", data.dataset.fingerprint(split)),
            ("boxes", boxes_of_clips(data.dataset, data.dataset.clip_ids(split))),
        )
    }
    before = {} if known is None else known["data"]
    for what, value in content.items():
        if before.get(what, value) != value:
            raise UsageError(
                f"{out} holds a training on other data: {what} was {before[what]}, now it is {value}; bring that data"
                " back, or choose another --out"
            )
    recorded = {**facts, "data": {**facts["data"], **content}}
    if recorded != known:
        write_whole(out / FILE, json.dumps(recorded, indent=1, ensure_ascii=False) + "\n")


class _RecordOfAll(TypedDict):
    data: Mapping[str, Any]


class _Record(_RecordOfAll, total=False):
    training: Mapping[str, Any]


def _read(out: Path) -> dict[str, Any] | None:
    """None where nobody said, and where there is nothing yet that another training would go on with."""
    path = out / FILE
    if not path.is_file() or not (complete(out) or (out / "model").exists()):
        return None
    mend = "delete it, or choose another --out"
    known: dict[str, Any] = read_json(path, "does not say what was trained here", mend, _Record)
    return known


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested facts as `a.b`."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _versions() -> Iterator[tuple[str, str]]:
    for name in VERSIONED:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
