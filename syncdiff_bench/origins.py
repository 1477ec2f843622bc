"""What a network was trained on, as the file `trained.json` beside its weights says, and what to say where it meets
other data.

    {"schema": 1, "dataset": "pocket", "drawn": true}

`train` writes it into what it exports; the models that ship have one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Dataset

RECORD = "trained.json"
SCHEMA = 1

Kind = Literal["foreign-model", "foreign-judge"]


@dataclass(frozen=True)
class Origin:
    """dataset: name of the data; "" where only the kind of faces is known, as of published weights.

    drawn: whether these faces were drawn, not filmed. recorded: False where nobody wrote down any of this.
    """

    dataset: str = ""
    drawn: bool = False
    recorded: bool = True


PUBLISHED = Origin()
UNRECORDED = Origin(recorded=False)


def write_origin(folder: Path, dataset: Dataset) -> None:
    """Record in a model's folder what it was trained on."""
    known = {"schema": SCHEMA, "dataset": matched(dataset.name), "drawn": dataset.drawn_faces}
    (folder / RECORD).write_text(json.dumps(known) + "\n", encoding="utf-8")


def origin_of(folder: Path) -> Origin | None:
    """Of a model's folder; None where it says nothing (converted weights), UNRECORDED where it was trained by a version
    that wrote no record. Raises UsageError for a record that is none.
    """
    path = folder / RECORD
    if not path.is_file():
        return UNRECORDED if (folder.parent / "log.jsonl").is_file() else None
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return Origin(str(known["dataset"]), bool(known["drawn"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: does not say what the model was trained on ({error!r}); delete it") from None


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
    from syncdiff_bench import plugins

    try:
        return bool(plugins.load_class("dataset", matched(dataset)).drawn_faces)
    except UsageError:  # clips of somebody's own, in memory
        return False


def matched(dataset: str) -> str:
    """The data set whose clips are mismatched pairs under another name."""
    from syncdiff_bench.views import NAME_SUFFIX

    return dataset.removesuffix(NAME_SUFFIX)
