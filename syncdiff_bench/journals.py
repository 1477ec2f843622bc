"""Journals: append-only JSON lines. A kill, a full disk or a bad byte costs the line that it hits, and no other."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import unwritable, write_whole

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]

LOST = "it is left out, and the same command makes again what it told of"
# What a line with a number that is infinite, or of more than 64 bits, has in it.
_ODD = re.compile(rb"[:\[,]\s*-?(?:[0-9.]+[eE]\+?[0-9]{3}|[0-9]{19})")
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # half a character, which no file holds in UTF-8


class Undefined(dict[str, Any]):
    """A line in which some numbers are NaN or infinite, which JSON does not know: they are None here."""


def read_rows(path: Path, lost: str = LOST) -> list[dict[str, Any]]:
    """All complete lines of a journal; none where there is no file.

    A last line without its newline was cut off by a kill and is left out. So is a damaged line anywhere else, which is
    told as a warning. lost: what that warning says of it. Raises UsageError where the file cannot be read.
    """
    return _rows(path, _complete_bytes(path), lost)


def _rows(path: Path, complete: bytes, lost: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(complete.split(b"\n")[:-1], start=1):
        try:
            rows.append(_decoded_row(line))
        except (ValueError, RecursionError) as error:
            tell_damage(path, f"line {number}", error, lost)
    return rows


def _decoded_row(line: bytes) -> dict[str, Any]:
    """Raises ValueError or RecursionError for what is no object in JSON."""
    undefined: list[str] = []
    row = json.loads(line.decode("utf-8"), parse_constant=undefined.append)
    if not isinstance(row, dict):
        raise ValueError("not an object")
    if _HALF.search(line):
        encode_row(row).encode()
    if undefined or _ODD.search(line):
        defined = _defined(row)
        return Undefined(defined) if undefined or row != defined else row
    return row


def _defined(value: Any) -> Any:
    """The same with None in place of infinite numbers. Raises ValueError for whole numbers beyond 64 bits."""
    if isinstance(value, dict):
        return {key: _defined(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_defined(one) for one in value]
    if isinstance(value, int) and abs(value) >= 1 << 63:
        raise ValueError("a whole number of more than 64 bits")
    return None if isinstance(value, float) and math.isinf(value) else value


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
    """Append-only JSON lines that survive `kill -9`, opened for appending.

    rows: what the file holds, as `read_rows` says. Opening cuts a torn last line off, so that the next one starts
        clean.
    """

    def __init__(self, path: Path, lost: str = LOST) -> None:
        self.path = path
        complete = _complete_bytes(path)
        self.rows: list[Row] = list(_rows(path, complete, lost))
        self._damaged = complete.count(b"\n") > len(self.rows)
        if path.exists() and path.stat().st_size > len(complete):
            try:
                os.truncate(path, len(complete))
            except OSError as error:
                raise unwritable(path, error) from None

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows to the end and wait until they are on the disk, all or none. Raises UsageError."""
        added = list(rows)
        data = "".join(map(encode_row, added)).encode()
        try:
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
        self.rows += added

    def rewrite(self, rows: Iterable[Row]) -> None:
        """Replace the whole journal at once, where that changes it."""
        kept = list(rows)
        text = "".join(map(encode_row, kept))
        if self._damaged or text != "".join(map(encode_row, self.rows)) or not self.path.exists():
            write_whole(self.path, text)
        self.rows, self._damaged = kept, False


def encode_row(row: Row) -> str:
    """One line of JSON; a number that JSON does not know (NaN, infinity) raises ValueError."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def _complete_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check its permissions") from None
    return data[: data.rfind(b"\n") + 1]
