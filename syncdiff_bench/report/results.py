"""What runs measured: the runs and probes whose numbers stand in a table, read from their run.json alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from syncdiff_bench.caveats import recorded
from syncdiff_bench.errors import UsageError
from syncdiff_bench.runs.directory import MANIFEST, Run
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.records import SCHEMA, finite_or_none

METHOD = {"title": "", "options": {}, "weights": (), "topline": False}
DATASET = {"split": "", "root": None, "options": {}, "fingerprint": "", "clips": ()}
ENTRY = {"label": "", "unit": "", "decimals": 0, "weights": (), "reason": None}


def find_runs(folders: Iterable[Path]) -> tuple[Run, ...]:
    """The runs in the given folders: run directories, or folders that hold some (at most two levels down).

    Raises UsageError for a folder without a run and for a run.json that is not one.
    """
    found: dict[Path, Run] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"run folder {folder} does not exist; give a run directory or a folder of them")
        paths = [p for level in ("", "*/", "*/*/") for p in sorted(folder.glob(level + MANIFEST))]
        if not paths:
            raise UsageError(f"{folder} holds no {MANIFEST}; give a run directory or a folder of them")
        for path in paths:
            found.setdefault(path.resolve(), read_run(path))
    return tuple(found.values())


def read_run(path: Path) -> Run:
    """One run.json. Raises UsageError naming the file and what is wrong with it."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from None
    try:
        if record["schema"] != SCHEMA:
            raise UsageError(f"{path}: schema {record['schema']!r} is not {SCHEMA}; another release wrote this run")
        return run_of(path.parent, record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"{path} is not a run's record: {problem}; score the run again") from None


def run_of(path: Path, record: Mapping[str, Any]) -> Run:
    """A run without its journals. record: run.json, or as much of it as a probe or another program wrote: names of
    method and dataset, and a summary. Raises KeyError, TypeError or ValueError where it is none.
    """
    summary = [{**ENTRY, **entry, **_finite(entry)} for entry in record.get("summary") or ()]
    caveats = recorded({**record, "summary": summary}) if summary else ()
    manifest = {
        **{"seed": None, "encoding": "", "finished": "", "protocols": ()},
        **record,
        "method": {**METHOD, **record["method"]},
        "dataset": {**DATASET, **record["dataset"]},
        "summary": summary,
        "caveats": [one.to_json() for one in caveats],
    }
    run = Run(path, manifest, Identity.from_json(manifest), (), {})
    _ = run.summary  # raises where an entry is none
    return run


def _finite(entry: Mapping[str, Any]) -> dict[str, Any]:
    """JSON of other programs spells what is undefined NaN."""
    ends = [finite_or_none(end) for end in entry.get("ci95") or ()]
    return {"mean": finite_or_none(entry["mean"]), "ci95": ends if ends and None not in ends else None}
