"""Who judged: the weights and the versions behind a number, which with metric and protocol make a column.

Two SyncNets of one protocol are two judges, and their numbers never share a column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Judge = tuple[str, ...]
SHOWN = 8  # characters of a digest, where two columns have to be told apart


def judges(manifest: Mapping[str, Any]) -> dict[tuple[str, str], Judge]:
    """(metric, protocol) -> digests of its weights, then versions ("encoder Lavc62.28"), as a run.json records them."""
    return {
        (entry["metric"], entry["protocol"]): judge_of(entry["weights"], entry.get("provenance") or {})
        for entry in manifest.get("protocols") or ()
    }


def judge_of(weights: Iterable[Mapping[str, str]], provenance: Mapping[str, str]) -> Judge:
    """
    >>> judge_of([{"name": "syncnet-v2", "sha256": "1a2b"}], {"encoder": "Lavc62.28"})
    ('1a2b', 'encoder Lavc62.28')
    """
    return (*(one["sha256"] for one in weights), *(f"{what} {version}" for what, version in sorted(provenance.items())))


def told_apart(judge: Judge, others: Sequence[Judge]) -> str:
    """What only this judge has of those of one protocol, digests shortened; "" for the only one.

    >>> told_apart(("1a2b3c4d5e6f", "encoder Lavc62.28"), [("9f8e7d6c5b4a", "encoder Lavc62.28")])
    '1a2b3c4d'
    """
    shared = set(judge).intersection(*others) if others else set(judge)
    return " ".join(part if " " in part else part[:SHOWN] for part in judge if part not in shared)
