"""What the code of a plugin raises: kept to that plugin, told with its file and line, its traceback kept in a log."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from syncdiff_bench.errors import BenchError, ClipError, UsageError, one_line

LOG = "errors.log"
HARNESS = Path(__file__).parent
CALLERS = ("click",)  # packages that call the harness, and are called by it
LIBRARY = Path(traceback.__file__).parent  # of Python


class PluginExit(Exception):  # noqa: N818 - what the plugin asked for
    """A plugin raised what would end the whole process: SystemExit, GeneratorExit, another BaseException."""


@contextmanager
def contained() -> Iterator[None]:
    """What is raised in the block and is no Exception is a PluginExit; Ctrl-C stays what it is.

    Not around a `yield` of a generator, which GeneratorExit ends.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginExit(f"raises {one_line(error)}").with_traceback(error.__traceback__) from error


@contextmanager
def _raised_as(error_of: Callable[[str], BenchError]) -> Iterator[None]:
    """What is raised in the block and is no error of this project becomes that one, of `described`."""
    try:
        with contained():
            yield
    except BenchError:
        raise
    except Exception as error:
        raise error_of(described(error)) from error


def blamed(what: str, mend: str = "mend the plugin") -> AbstractContextManager[None]:
    """What the code of a plugin raises in the block becomes a UsageError. what: "metric 'mine': aggregate"."""
    return _raised_as(lambda said: UsageError(f"{what} fails: {said}; {mend}"))


def decoding(clip_id: str) -> AbstractContextManager[None]:
    """Whatever opening a clip raises in the block that is no error of this project becomes a ClipError."""
    return _raised_as(lambda said: ClipError("undecodable", f"{clip_id}: cannot be decoded ({said})"))


def described(error: BaseException) -> str:
    """An exception in one line, with the place: "ZeroDivisionError: division by zero (method.py:42)"."""
    place = place_of(error)
    return one_line(error) + (f" ({place})" if place else "")


def place_of(error: BaseException) -> str:
    """File and line of the plugin's own code that an exception came from, "" where none is in it.

    That is the innermost line in the package that the harness called.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = [(Path(one.filename), one.lineno) for one in traceback.extract_tb(error.__traceback__)]
    called = (file for file, _ in frames if file.is_file() and not file.is_relative_to(HARNESS))
    called = (file for file in called if not file.is_relative_to(LIBRARY) or "site-packages" in file.parts)
    home = next((one for one in map(_package, called) if one.name not in CALLERS), None)
    own = [(file, line) for file, line in frames if home is not None and file.is_relative_to(home)]
    return f"{own[-1][0].name}:{own[-1][1]}" if own else ""


def innermost(error: BaseException) -> str:
    """File and line that raised an exception, whosever code it is."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{Path(last.filename).name}:{last.lineno}"


def _package(file: Path) -> Path:
    """The top folder of the package that a file belongs to; a module of its own is its file."""
    home = file
    while (home.parent / "__init__.py").is_file():
        home = home.parent
    return home


def traced(error: BaseException) -> str:
    """The traceback, with those of all errors that it was made from, also where a message left them out."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        one.__suppress_context__ = one.__suppress_context__ and one.__cause__ is not None
        one = one.__cause__ or one.__context__
    return "".join(traceback.format_exception(error))


class FaultLog:
    """`errors.log` of a run directory: tracebacks of what plugins raised, the same one once in a process."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / LOG
        self._seen: dict[tuple[type[BaseException], str], str] = {}

    def note(self, error: BaseException, what: str) -> None:
        """what: the plugin and the clip. An error that no plugin's code had a part in is left out, and one that was
        raised on purpose (BenchError), unless it was made from such an error.
        """
        fault = error.__cause__ if isinstance(error, BenchError) else error
        if fault is None or isinstance(fault, BenchError) or not (place := place_of(fault)):
            return
        first = self._seen.setdefault((type(fault), place), what)
        text = traced(fault) if first == what else f"{described(fault)}, as of {first}\n"
        with suppress(OSError), self.file.open("a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{what}: {text}")
