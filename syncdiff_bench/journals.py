"""Journals: append-only JSON lines. A kill, a full disk or a bad byte costs the line that it hits, and no other."""

from __future__ import annotations

import errno
import json
import logging
import math
import operator
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import replacing, unwritable

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]

LOST = "it is left out, and the same command makes again what it told of"
_LARGEST = 1 << 63  # whole numbers are of 64 bits
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # half a character, which no file holds in UTF-8
# Made once: `json.loads` and `json.dumps` with settings make one for every line.
_DECODER = json.JSONDecoder()
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


class Undefined(dict[str, Any]):
    """A line in which some numbers are NaN or infinite, which JSON does not know: they are None here."""


def read_rows(path: Path, lost: str = LOST) -> Iterator[dict[str, Any]]:
    """All complete lines of a journal, one at a time; none where there is no file.

    A last line without its newline was cut off by a kill and is left out. So is a damaged line anywhere else, which is
    told as a warning. lost: what that warning says of it. Raises UsageError where the file cannot be read.
    """
    return (row for row in _rows(path, lost) if row is not None)


def _rows(path: Path, lost: str) -> Iterator[dict[str, Any] | None]:
    """Of each complete line its row, None where it is damaged; one line in memory at a time."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield _decoded_row(line)
                except (ValueError, RecursionError) as error:
                    tell_damage(path, f"line {number}", error, lost)
                    yield None
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check its permissions") from None


def _decoded_row(line: bytes) -> dict[str, Any]:
    """Raises ValueError or RecursionError for what is no object in JSON."""
    text = line.decode("utf-8")
    row, end = _DECODER.raw_decode(text) if text.startswith("{") else (None, 0)
    if text[end:].strip(" \t\r\n"):
        row = _DECODER.decode(text)  # with what goes before it, or raises
    if not isinstance(row, dict):
        raise ValueError("not an object")
    if _HALF.search(line):
        encode_row(row).encode()
    return row if _sound(row.values()) else Undefined(_defined(row))


def _sound(values: Iterable[Any]) -> bool:
    """Whether all numbers are finite and of 64 bits."""
    for one in values:
        kind = type(one)
        if kind is float:
            if one - one != 0.0:
                return False
        elif kind is int:
            if not -_LARGEST < one < _LARGEST:
                return False
        elif (kind is list and not _sound(one)) or (kind is dict and not _sound(one.values())):
            return False
    return True


def _defined(value: Any) -> Any:
    """The same with None in place of what is no finite number. Raises ValueError for whole numbers beyond 64 bits."""
    if isinstance(value, dict):
        return {key: _defined(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_defined(one) for one in value]
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise ValueError("a whole number of more than 64 bits")
    return None if isinstance(value, float) and not math.isfinite(value) else value


@lru_cache(4096)  # a file may be read several times
def _tell(text: str, _of_file: int) -> None:
    logger.warning(text)


def tell_damage(path: Path, where: str, error: Exception, lost: str = LOST) -> None:
    """Say, once of a file as it is now, that a part of it cannot be read and is left out. where: "line 3"."""
    try:
        written = path.stat().st_mtime_ns
    except OSError:
        written = 0
    _tell(f"{path} {where} is damaged ({' '.join(str(error).split())[:200]}): {lost}", written)


class Journal:
    """Append-only JSON lines that survive `kill -9`. Nothing of the file is kept in memory.

    A torn last line is cut off before the first new one, so that this starts clean.
    lines: how many `read` found, a negative number where some of them are damaged or others were added since.
    """

    def __init__(self, path: Path, lost: str = LOST) -> None:
        self.path = path
        self.lines = 0
        self._lost = lost
        self._clean = False  # whether the last line is known to be whole

    @property
    def rows(self) -> list[Row]:
        """What the file holds, as `read_rows` says."""
        return list(self.read())

    def read(self) -> Iterator[Row]:
        """The same row by row."""
        lines, whole = 0, True
        for row in _rows(self.path, self._lost):
            lines += 1
            whole = whole and row is not None and not isinstance(row, Undefined)
            if row is not None:
                yield row
        self.lines = lines if whole else -1

    def holds(self, known: Mapping[Any, object], wanted: Sequence[object]) -> bool:
        """Whether the file is just these lines in this order: what `read` made known, and nothing was added since.

        known: what was made of the rows, in their order.
        """
        return self.lines == len(known) == len(wanted) and all(map(operator.is_, known.values(), wanted))

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows to the end and wait until they are on the disk, all or none. Raises UsageError."""
        data = "".join(map(encode_row, rows)).encode()
        try:
            self._cut_torn_line()
            with self.path.open("ab", buffering=0) as file:
                before = file.tell()
                try:
                    written = file.write(data)
                    if written != len(data):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(before)  # or the next line would go on within a torn one
                    raise
        except OSError as error:
            raise unwritable(self.path, error) from None
        self.lines = -1

    def _cut_torn_line(self) -> None:
        if not self._clean and self.path.exists():
            complete = _complete_size(self.path)
            if self.path.stat().st_size > complete:
                os.truncate(self.path, complete)
        self._clean = True

    def rewrite(self, rows: Iterable[Row]) -> None:
        """Replace the whole journal at once, where that changes it. Raises UsageError where it cannot be written."""
        lines = (encode_row(row).encode() for row in rows)
        try:
            same, line = _common(self.path, lines)
            if line is None and self.path.exists() and self.path.stat().st_size == same:
                return
            with replacing(self.path) as partial, partial.open("wb") as file:
                with self.path.open("rb") if same else BytesIO() as old:
                    shutil.copyfileobj(old, file)
                file.truncate(same)
                file.seek(same)
                file.write(line or b"")
                file.writelines(lines)
            self.lines = -1
        except OSError as error:
            raise unwritable(self.path, error) from None


def _common(path: Path, lines: Iterator[bytes]) -> tuple[int, bytes | None]:
    """How many bytes the file and the lines begin with alike, whole lines; the first that differs, None for none."""
    same = 0
    with path.open("rb") if path.exists() else BytesIO() as file:
        for line in lines:
            if file.readline() != line:
                return same, line
            same += len(line)
    return same, None


def encode_row(row: Row) -> str:
    """One line of JSON; a number that JSON does not know (NaN, infinity) raises ValueError."""
    return _ENCODER.encode(row) + "\n"


def _complete_size(path: Path) -> int:
    """Bytes up to the end of the last line that has one."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - (1 << 16))
                file.seek(start)
                found = file.read(end - start).rfind(b"\n")
                if found >= 0:
                    return start + found + 1
                end = start
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check its permissions") from None
    return 0
