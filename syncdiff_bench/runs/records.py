"""The lines of the two journals of a run: what was generated, and what was measured."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.errors import BenchError, ClipError, WeightsError, shown
from syncdiff_bench.faults import described
from syncdiff_bench.journals import Undefined
from syncdiff_bench.weights.catalog import installed

SCHEMA = 1

# A metric has nothing to say about a clip: n/a, never counted as a failure.
NOT_APPLICABLE = "not-applicable"
# There is no video to score: every metric of the clip fails.
NOT_GENERATED = "generation"
# A clip does not fit into memory, not even without batch mates.
OUT_OF_MEMORY = "out-of-memory"
# The caveat of frames that equal their reference and have no value.
FRAMES_LEFT_OUT = "frames-left-out"


@dataclass(frozen=True)
class Failure:
    """Why a clip failed: a stable slug and one line for people."""

    kind: str
    message: str

    @classmethod
    def of(cls, error: BaseException, kind: str) -> Failure:
        """`kind` is for errors that have none of their own (anything but ClipError)."""
        if isinstance(error, ClipError):
            return cls(error.kind, one_line(str(error)))
        if isinstance(error, WeightsError) and error.missing:
            known = installed().entries.get(error.missing)
            mend = one_line(str(error)) if known is None else known.mend  # whatever kept it from being fetched
            return cls(kind, f"weights {error.missing} missing; {mend}")
        if isinstance(error, BenchError):
            return cls(kind, one_line(str(error)))
        return cls(kind, described(error))


def clip_failure(error: Exception, kind: str) -> Failure:
    """`Failure.of` an error that is about one clip. Raises one that is about the whole run."""
    if isinstance(error, BenchError) and not isinstance(error, ClipError):
        raise error
    return Failure.of(error, kind)


def one_line(text: str) -> str:
    return " ".join(text.split())


def lost_to_a_worker(clip_id: str, reason: str) -> Failure:
    """The failure of a clip whose process died. reason: how, "signal 9"."""
    mend = "give --retry-failed, with fewer --workers where memory is short"
    return Failure("worker-died", f"{clip_id}: the worker at it died ({reason}); {mend}")


def finite_or_none(value: float | None) -> float | None:
    """A column's value as JSON and tables know it; NaN and infinity are "not defined"."""
    if value is None or not math.isfinite(value):
        return None
    return float(value)


@dataclass(frozen=True)
class Generated:
    """One line of generation.jsonl.

    frames: how many the video has; None after a failure.
    notes: all that was done to the clip, in words.
    boxes: where its face boxes came from, None where none were needed.
    speaker: what its confidence interval clusters on, None for the clip itself.
    video: where a video lies that this project did not generate, else None.
    sha256: of the video that is scored, None where there is none and on a line of a version that did not record it.
    source: sha256 of the file that the video was made from, where somebody else made it (`Method.given_videos`).
    caveats: None on a line of a version that did not record them.
    """

    clip: str
    frames: int | None = None
    notes: tuple[str, ...] = ()
    boxes: str | None = None
    speaker: str | None = None
    video: str | None = None
    error: Failure | None = None
    caveats: tuple[Caveat, ...] | None = ()
    sha256: str | None = None
    source: str | None = None

    def to_row(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Generated:
        """Raises KeyError, TypeError or ValueError for a row that is none. One with undefined numbers is a failure."""
        fields = _fields(row, _OF_GENERATED)
        if isinstance(row, Undefined):
            return cls(fields["clip"], source=fields.get("source"), error=_undefined("make"))
        if not all(isinstance(note, str) for note in fields["notes"]):
            raise TypeError("notes that are no texts")
        fields["clip"] = sys.intern(fields["clip"])
        return cls(**{**fields, "notes": tuple(fields["notes"]), "caveats": _caveats(fields.get("caveats"))})


@dataclass(frozen=True, slots=True)
class Score:
    """One line of scores.jsonl: one metric of one clip.

    values: column -> value, None where undefined. None after a failure.
    stats: the metric's sufficient statistics. None after a failure.
    error: the reason of a failure.
    sha256: of the video that was measured; None where there is none, or on a line of a version that did not record it.
    boxes: source and digest of the face boxes that were looked at ("dlib-hog-20.0.1 0123456789abcdef"), "" for none.
    caveats: what the metric noticed.

    A line has the last three keys only where there is something to say.
    """

    method: str
    dataset: str
    clip: str
    metric: str
    protocol: str
    values: Mapping[str, float | None] | None = None
    stats: Mapping[str, Any] | None = None
    error: Failure | None = None
    sha256: str | None = None
    boxes: str = ""
    caveats: tuple[Caveat, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        return self.clip, self.metric, self.protocol

    @property
    def failed(self) -> bool:
        return self.error is not None and self.error.kind != NOT_APPLICABLE

    def to_row(self) -> dict[str, Any]:
        held = {name: getattr(self, name) for name in self.__slots__}
        row = {"schema": SCHEMA, **held, "error": None if self.error is None else asdict(self.error)}
        row["caveats"] = [asdict(caveat) for caveat in self.caveats]
        return {key: value for key, value in row.items() if value or key not in ("sha256", "boxes", "caveats")}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Score:
        """Raises KeyError, TypeError or ValueError for a row that is none. One with undefined numbers is a failure."""
        fields = _fields(row, _OF_SCORE)
        if isinstance(row, Undefined):
            known = {name: fields[name] for name in (*_KEY, "sha256") if name in fields}
            return cls(**known, error=_undefined("measure"))
        values, stats = fields["values"], fields["stats"]
        if (fields["error"] is None) == (values is None or stats is None):
            raise ValueError("neither measured nor failed, or both")
        if values and not _NUMBERS.issuperset(map(type, values.values())):
            raise TypeError("values that are no numbers")
        # Of tens of thousands of lines: the same few texts once each.
        for name in _SHARED:
            if text := fields.get(name):
                fields[name] = sys.intern(text)
        fields["values"], fields["stats"] = _with_shared_keys(values), _with_shared_keys(stats)
        if "caveats" in fields:
            fields["caveats"] = _caveats(fields["caveats"]) or ()
        return cls(**fields)


_keys: dict[tuple[str, ...], tuple[str, ...]] = {}


def _with_shared_keys(of: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if of is None:
        return None
    names = tuple(of)
    return dict(zip(_keys.setdefault(names, names), of.values()))  # noqa: B905 - as long, and a million of them


_NUMBERS = frozenset({int, float, type(None)})
_TEXT, _OPTIONAL = (str,), (str, type(None))
_KEY = ("method", "dataset", "clip", "metric", "protocol")
_SHARED = (*_KEY, "sha256", "boxes")
# What the keys of a row hold. Those that versions before did not write may be absent.
_OF_GENERATED = {
    **{"clip": _TEXT, "frames": (int, type(None)), "notes": (list, tuple), "error": (dict, type(None))},
    **dict.fromkeys(("boxes", "speaker", "video"), _OPTIONAL),
}
_OF_SCORE = {
    **dict.fromkeys(_KEY, _TEXT),
    **dict.fromkeys(("values", "stats", "error"), (dict, type(None))),
}
_LATER = {"sha256": _OPTIONAL, "source": _OPTIONAL, "boxes": _OPTIONAL, "caveats": (list, tuple, type(None))}


# Names and types of rows that were found in order: of tens of thousands of lines nearly all are alike.
_sound: set[tuple[Any, ...]] = set()


def _fields(row: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """The row without its schema, its failure read. Raises KeyError, TypeError or ValueError for another one."""
    fields = dict(row)
    schema = fields.pop("schema")
    if schema != SCHEMA:
        raise ValueError(f"schema {shown(schema)}, this version reads {SCHEMA}")
    signature = (id(kinds), tuple(fields), tuple(map(type, fields.values())))
    if signature not in _sound:
        for name, kind in (*kinds.items(), *((name, _LATER[name]) for name in _LATER.keys() & fields)):
            if not isinstance(fields[name], kind) or isinstance(fields[name], bool):
                raise TypeError(f"{name} is {shown(fields[name])}")
        _sound.add(signature)
    if fields["error"] is not None:
        failure = fields["error"]
        for name in ("kind", "message"):
            if not isinstance(failure[name], str):
                raise TypeError(f"{name} of the error is {shown(failure[name])}")
        fields["error"] = Failure(**failure)
    return fields


def _undefined(verb: str) -> Failure:
    return Failure("not-finite", f"its line holds NaN or infinity; give --retry-failed to {verb} it again")


def _caveats(rows: Sequence[Mapping[str, Any]] | None) -> tuple[Caveat, ...] | None:
    return None if rows is None else tuple(Caveat(**row) for row in rows)
