"""The lines of the two journals of a run: what was generated, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypedDict

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.documents import check_of
from syncdiff_bench.errors import BenchError, ClipError, WeightsError

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
            missing = error.missing
            return cls(kind, f"weights {missing} missing; syncdiff-bench weights fetch {missing}")
        if isinstance(error, BenchError):
            return cls(kind, one_line(str(error)))
        text = one_line(str(error))
        return cls(kind, f"{type(error).__name__}: {text}" if text else type(error).__name__)


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
        """Raises WrongValue for another line."""
        _check_generated(row)
        return cls(
            clip=row["clip"],
            frames=row["frames"],
            notes=tuple(row["notes"]),
            boxes=row["boxes"],
            speaker=row["speaker"],
            video=row["video"],
            error=None if row["error"] is None else Failure(**row["error"]),
            caveats=_caveats(row.get("caveats")),
            sha256=row.get("sha256"),
            source=row.get("source"),
        )


@dataclass(frozen=True)
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
        row = {"schema": SCHEMA, **self.__dict__, "error": None if self.error is None else asdict(self.error)}
        row["caveats"] = [asdict(caveat) for caveat in self.caveats]
        return {key: value for key, value in row.items() if value or key not in ("sha256", "boxes", "caveats")}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Score:
        """Raises WrongValue for another line."""
        _check_score(row)
        known = {key: row[key] for key in _SCORE if key in row}
        if known["error"] is not None:
            known["error"] = Failure(**known["error"])
        known["caveats"] = _caveats(known.get("caveats")) or ()
        return cls(**known)


class _GeneratedLine(TypedDict):
    clip: str
    frames: int | None
    notes: Sequence[str]
    boxes: str | None
    speaker: str | None
    video: str | None
    error: Failure | None


class _GeneratedNow(_GeneratedLine, total=False):
    caveats: Sequence[Caveat] | None
    sha256: str | None
    source: str | None


class _ScoreLine(TypedDict):
    method: str
    dataset: str
    clip: str
    metric: str
    protocol: str
    values: Mapping[str, float | None] | None
    stats: Mapping[str, Any] | None
    error: Failure | None


class _ScoreNow(_ScoreLine, total=False):
    sha256: str | None
    boxes: str
    caveats: Sequence[Caveat]


_SCORE = tuple(one.name for one in fields(Score))
_check_generated, _check_score = check_of(_GeneratedNow), check_of(_ScoreNow)


def _caveats(rows: Sequence[Mapping[str, Any]] | None) -> tuple[Caveat, ...] | None:
    return None if rows is None else tuple(Caveat(**row) for row in rows)
