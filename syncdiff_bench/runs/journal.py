"""Append-only JSON lines that survive `kill -9`, and files that appear whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from syncdiff_bench.errors import UsageError

Row = Mapping[str, Any]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All complete lines of a journal; none where there is no file.

    A last line without its newline was cut off by a kill and is left out.
    Raises UsageError for a damaged line anywhere else.
    """
    rows = []
    for number, line in enumerate(_complete_bytes(path).split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise UsageError(f"{path} line {number} is damaged ({error}); delete the file to redo this stage") from None
        rows.append(row)
    return rows


class Journal:
    """A journal opened for appending.

    rows: what it holds already. Opening cuts a torn last line off, so that the next line starts clean.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = read_rows(path)
        complete = len(_complete_bytes(path))
        if path.exists() and path.stat().st_size > complete:
            os.truncate(path, complete)

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows to the end and wait until they are on the disk."""
        text = "".join(map(encode_row, rows))
        try:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from None

    def rewrite(self, rows: Iterable[Row]) -> None:
        """Replace the whole journal at once."""
        write_whole(self.path, "".join(map(encode_row, rows)))


def encode_row(row: Row) -> str:
    """One line; a number that JSON does not know (NaN, infinity) raises ValueError."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def write_chosen(path: Path, text: str, option: str) -> None:
    """`write_whole` where the user said, by `option`: the folder is made, and an error names the option."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error, option) from None
    write_whole(path, text, option)


def write_whole(path: Path, text: str, option: str = "--out") -> None:
    """Write a file so that a reader, or a kill, sees the old or the new text and nothing between."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise unwritable(path, error, option) from None


def unwritable(path: Path, error: OSError, option: str = "--out") -> UsageError:
    """The one-line error for a file that cannot be written; `option` is what chose its place."""
    reason = error.strerror or str(error)
    return UsageError(f"{path} cannot be written ({reason}); free space or choose another {option}")


def _complete_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check its permissions") from None
    return data[: data.rfind(b"\n") + 1]
