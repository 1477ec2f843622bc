"""The lines of a run's journals as records, read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from syncdiff_bench.errors import shown
from syncdiff_bench.journals import read_rows, tell_damage
from syncdiff_bench.runs.records import Score

T = TypeVar("T")


def parsed(path: Path, rows: Iterable[Mapping[str, Any]], parse: Callable[[Mapping[str, Any]], T]) -> Iterator[T]:
    """What `parse` makes of the rows of a journal; one that is none is told and left out, as a damaged line is."""
    for row in rows:
        try:
            yield parse(row)
        except (KeyError, TypeError, ValueError) as error:
            tell_damage(path, f"line of clip {shown(row.get('clip'))}", error)


def records(path: Path, parse: Callable[[Mapping[str, Any]], T]) -> Iterator[T]:
    """The same of a whole journal. Raises UsageError where it cannot be read."""
    return parsed(path, read_rows(path), parse)


class ScoreLines(Collection[Score]):
    """The scores of a journal for who goes through them once: each time they are read anew, and none is kept.

    clips: those whose lines count.
    """

    def __init__(self, path: Path, clips: frozenset[str]) -> None:
        self._path = path
        self._clips = clips
        self._length: int | None = None

    def __iter__(self) -> Iterator[Score]:
        length = 0
        for row in records(self._path, Score.from_row):
            if row.clip in self._clips:
                length += 1
                yield row
        self._length = length

    def __len__(self) -> int:
        if self._length is None:
            self._length = sum(1 for _ in self)
        return self._length

    def __contains__(self, one: object) -> bool:
        return any(row == one for row in self)
