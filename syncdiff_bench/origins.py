"""Whose weights and versions stand behind a number, and what a network was trained on.

The file `trained.json` beside a network's weights says the latter; `train` writes it into what it exports, and the
models that ship have one:

    {"schema": 1, "dataset": "pocket", "drawn": true, "boxes": "file 1a2b3c4d", "training": {"steps": 2800, ...}}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from syncdiff_bench import registry
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Dataset
from syncdiff_bench.documents import read_json
from syncdiff_bench.errors import UsageError
from syncdiff_bench.faces.boxes import BY_CONSTRUCTION, CENTRED, FILE
from syncdiff_bench.views import NAME_SUFFIX

RECORD = "trained.json"
SCHEMA = 1

Kind = Literal["foreign-model", "foreign-judge"]

# Weights, versions and face boxes behind a number, which with metric and protocol make a column: two SyncNets of one
# protocol are two scoring networks, and their numbers never share a column.
ScoringNetwork = tuple[str, ...]
SHOWN = 8  # characters of a digest, where two columns have to be told apart


@dataclass(frozen=True)
class Origin:
    """What a network was trained on.

    dataset: name of the data; "" where only the kind of faces is known, as of published weights.
    drawn: whether these faces were drawn, not filmed.
    recorded: False where none of this was written down.
    boxes: where the face boxes came from that its masks or crops were made by, as `views.boxes_of_clips` says it; ""
        where nobody wrote it down, and for a network that looks at whole frames.
    """

    dataset: str = ""
    drawn: bool = False
    recorded: bool = True
    boxes: str = ""


PUBLISHED = Origin()
UNRECORDED = Origin(recorded=False)


class _RecordOfAll(TypedDict):
    dataset: str
    drawn: bool


class _Record(_RecordOfAll, total=False):
    boxes: str


def write_origin(folder: Path, dataset: Dataset, training: Mapping[str, Any] | None = None, boxes: str = "") -> None:
    """Record in a model's folder what it was trained on, and how.

    training: steps, batch_size, examples, ... boxes: see `Origin`.
    """
    known: dict[str, Any] = {"schema": SCHEMA, "dataset": matched(dataset.name), "drawn": dataset.drawn_faces}
    if boxes:
        known["boxes"] = boxes
    if training is not None:
        known["training"] = dict(training)
    (folder / RECORD).write_text(json.dumps(known) + "\n", encoding="utf-8")


def origin_of(folder: Path) -> Origin | None:
    """Of a model's folder; None where it says nothing (converted weights), UNRECORDED where it was trained by a version
    that wrote no record. Raises UsageError for a record that is none.
    """
    path = folder / RECORD
    if not path.is_file():
        return UNRECORDED if (folder.parent / "log.jsonl").is_file() else None
    known = read_json(path, "does not say what the model was trained on", "delete it", _Record)
    return Origin(known["dataset"], known["drawn"], boxes=known.get("boxes", ""))


def of_model(origin: Origin | None, dataset: str, subject: str) -> tuple[Caveat, ...]:
    """The caveats of a model that draws faces: data that it was not trained on, and masks by guessed face boxes.

    Parameters as those of `foreign`.

    >>> [caveat.sentence for caveat in of_model(Origin("lrs2", boxes="centred"), "lrs2", "mine runs a model")]
    ['mine runs a model trained with guessed face boxes (centred), which may leave the mouth in sight']
    """
    found = foreign(origin, dataset, subject)
    if origin is None or CENTRED not in origin.boxes.split(", "):
        return found
    seen = f"{subject} trained with guessed face boxes ({CENTRED}), which may leave the mouth in sight"
    return (*found, Caveat("guessed-training-boxes", seen))


def foreign(origin: Origin | None, dataset: str, subject: str, kind: Kind = "foreign-model") -> tuple[Caveat, ...]:
    """The caveat of a network on data that it was not trained on; none on its own, and none where either is unknown.

    dataset: name of the data that it meets, "" outside a run. subject: "syncdiff runs a model", "trained on" follows.

    >>> foreign(Origin("lrs2"), "lrs3", "mine runs a model")[0].sentence
    'mine runs a model trained on lrs2, not on lrs3'
    """
    here = matched(dataset)
    if origin is None or not here or origin.dataset == here:
        return ()
    if not origin.recorded:
        return (Caveat(kind, f"{subject} trained on data that nobody recorded"),)
    if origin.dataset:
        faces = " (drawn faces)" if origin.drawn else ""
        return (Caveat(kind, f"{subject} trained on {origin.dataset}{faces}, not on {here}"),)
    if origin.drawn or not is_drawn(here):
        return ()
    return (Caveat(kind, f"{subject} trained on filmed faces; those of {here} are drawn"),)


def is_drawn(dataset: str) -> bool:
    """Whether the installed data set of that name says that its faces are drawn."""
    try:
        return bool(registry.load_class("dataset", matched(dataset)).drawn_faces)
    except UsageError:  # a caller's own clips, in memory
        return False


def matched(dataset: str) -> str:
    """The data set whose clips are mismatched pairs under another name."""
    return dataset.removesuffix(NAME_SUFFIX)


# ----------------------------------------------------------------------------------------------- scoring networks


def scoring_networks(manifest: Mapping[str, Any]) -> dict[tuple[str, str], ScoringNetwork]:
    """What stands behind each (metric, protocol) of a run.json.

    Digests of its weights, then versions ("encoder Lavc62.28"), then where its boxes came from, if not the data set.
    """
    folder = str((manifest.get("dataset") or {}).get("boxes") or "")
    return {
        (entry["metric"], entry["protocol"]): (
            *network_behind(entry["weights"], entry.get("provenance") or {}),
            *box_sources((entry.get("boxes") or {}).get("sources") or (), folder),
        )
        for entry in manifest.get("protocols") or ()
    }


def box_sources(sources: Iterable[str], run: str = "") -> ScoringNetwork:
    """Sources of face boxes that tell columns apart. run: of the whole run, where a folder has its digest.

    >>> box_sources(["dlib-hog-20.0.1", "file", "given"], "given 1a2b3c4d, dlib-hog-20.0.1")
    ('boxes dlib-hog-20.0.1', 'boxes given 1a2b3c4d')
    """
    names = {part.partition(" ")[0]: part for part in run.split(", ")}
    return tuple(f"boxes {names.get(one, one)}" for one in sources if one not in (FILE, BY_CONSTRUCTION))


def network_behind(weights: Iterable[Mapping[str, str]], provenance: Mapping[str, str]) -> ScoringNetwork:
    """
    >>> network_behind([{"name": "syncnet-v2", "sha256": "1a2b"}], {"encoder": "Lavc62.28"})
    ('1a2b', 'encoder Lavc62.28')
    """
    return (*(one["sha256"] for one in weights), *(f"{what} {version}" for what, version in sorted(provenance.items())))


def told_apart(network: ScoringNetwork, others: Sequence[ScoringNetwork]) -> str:
    """What only this scoring network has of those of one protocol, digests shortened; "" for the only one.

    >>> told_apart(("1a2b3c4d5e6f", "encoder Lavc62.28"), [("9f8e7d6c5b4a", "encoder Lavc62.28")])
    '1a2b3c4d'
    """
    shared = set(network).intersection(*others) if others else set(network)
    return " ".join(part if " " in part else part[:SHOWN] for part in network if part not in shared)
