"""stdout and stderr that never stop the work: on a full disk, a closed pipe, a terminal that lacks a character."""

from __future__ import annotations

import errno
import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


class _Lossy(io.RawIOBase):
    """Writes to another raw stream, and drops what that does not take. trouble: the first error that this made."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw
        self.trouble: OSError | None = None

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        if self.trouble is None:
            try:
                while (written := self._raw.write(data)) is None:
                    time.sleep(0.01)  # a pipe that does not block, and is full
                return written
            except OSError as error:
                self.trouble = error
        return len(data)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._raw.isatty()

    def fileno(self) -> int:
        return self._raw.fileno()


class Output:
    """stdout as a command writes it."""

    def __init__(self, lossy: _Lossy | None = None) -> None:
        self._lossy = lossy

    @property
    def lost(self) -> str:
        """Why some of it is lost, in words; "" where nothing is, or whoever read it has read enough (`| head`)."""
        error = None if self._lossy is None else self._lossy.trouble
        return "" if error is None or error.errno == errno.EPIPE else error.strerror or str(error)


@contextmanager
def lossy_streams() -> Iterator[Output]:
    """In the block a write to stdout or stderr never fails; characters that a stream lacks are written as \\u2191."""
    with ExitStack() as stack:
        outputs = [stack.enter_context(_lossy(name)) for name in ("stdout", "stderr")]
        yield outputs[0]


@contextmanager
def _lossy(name: str) -> Iterator[Output]:
    stream = getattr(sys, name)
    if stream is None:  # closed from the start
        with Path(os.devnull).open("w", encoding="utf-8") as nothing:
            setattr(sys, name, nothing)
            try:
                yield Output()
            finally:
                setattr(sys, name, None)
        return
    raw = getattr(stream.buffer, "raw", stream.buffer) if type(stream) is io.TextIOWrapper else None
    if not isinstance(raw, io.RawIOBase) or isinstance(raw, _Lossy):  # captured by a test; within another block
        yield Output(raw if isinstance(raw, _Lossy) else None)
        return
    with suppress(OSError):
        stream.flush()
    lossy = _Lossy(raw)
    lines = stream.line_buffering or stream.write_through
    buffered = io.BufferedWriter(lossy)  # type: ignore[type-var]  # typeshed asks for more than it writes to
    written = io.TextIOWrapper(buffered, stream.encoding, "backslashreplace", line_buffering=lines)
    setattr(sys, name, written)
    try:
        yield Output(lossy)
    finally:
        written.flush()
        setattr(sys, name, stream)
        written.detach()
