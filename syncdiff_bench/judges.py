"""Who judged: weights, versions and face boxes behind a number, which with metric and protocol make a column.

Two SyncNets of one protocol are two judges, and their numbers never share a column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from syncdiff_bench.faces.boxes import BY_CONSTRUCTION, FILE

Judge = tuple[str, ...]
SHOWN = 8  # characters of a digest, where two columns have to be told apart


def judges(manifest: Mapping[str, Any]) -> dict[tuple[str, str], Judge]:
    """(metric, protocol) -> digests of its weights, then versions ("encoder Lavc62.28"), then where its
    boxes came from, if not from the data set, as a run.json records them.
    """
    folder = str((manifest.get("dataset") or {}).get("boxes") or "")
    return {
        (entry["metric"], entry["protocol"]): (
            *judge_of(entry["weights"], entry.get("provenance") or {}),
            *boxes_of((entry.get("boxes") or {}).get("sources") or (), folder),
        )
        for entry in manifest.get("protocols") or ()
    }


def boxes_of(sources: Iterable[str], run: str = "") -> Judge:
    """Sources of face boxes that tell columns apart. run: of the whole run, where a folder has its digest.

    >>> boxes_of(["dlib-hog-20.0.1", "file", "given"], "given 1a2b3c4d, dlib-hog-20.0.1")
    ('boxes dlib-hog-20.0.1', 'boxes given 1a2b3c4d')
    """
    names = {part.partition(" ")[0]: part for part in run.split(", ")}
    return tuple(f"boxes {names.get(one, one)}" for one in sources if one not in (FILE, BY_CONSTRUCTION))


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
