r"""What can go wrong, by what it stops: the command \(exit 2\), or one clip \(recorded, counted\).

Every message is one line: what is wrong with which file or value, then the mend.
"""

from __future__ import annotations

from reprlib import Repr
from typing import Any

LONGEST = 500  # letters of what other code says
LONGEST_LINE = 2000  # letters of an error of this project, whose mend stands at its end


def one_line(error: BaseException) -> str:
    """An error with its type, for the line of a report; what a value in it makes too long is cut."""
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def shown(value: Any) -> str:
    """A value in a message: its repr, cut where it is long, without what a terminal would obey.

    >>> shown("a" * 1000)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"
    """
    return _SHORT.repr(value)


class BenchError(Exception):
    """Base of every error that this project raises on purpose; the CLI prints it without a traceback.

    Its text is one line, whatever the names and values in it hold; of a very long one the middle is left out.
    """

    def __str__(self) -> str:
        text = " ".join(super().__str__().splitlines())
        half = LONGEST_LINE // 2
        return text if len(text) <= LONGEST_LINE else f"{text[:half]} ... {text[-half:]}"


class UsageError(BenchError):
    """Wrong usage or unusable input: unknown name, misspelt key, missing folder. Exit code 2."""


class WeightsError(BenchError):
    """Weights are missing, truncated, of another architecture, or not what their name promises.

    `missing` is the catalogue name where the file is simply not there: a metric column then reads
    `n/a: weights NAME missing; ` and what gets them (`weights.catalog.Entry.mend`), and the run goes on.
    """

    def __init__(self, message: str, *, missing: str | None = None) -> None:
        super().__init__(message)
        self.missing = missing


class ClipError(BenchError):
    """One clip cannot be read, generated or scored; the others go on.

    `kind` is a stable slug for scripts (`no-audio`, `truncated`, `too-short`, `generation`, ...).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class NoBoxes(ClipError):  # noqa: N818 - beside NotApplicable
    """A clip without face boxes (`no-face`: no frame shows one; `no-boxes`: nothing here can look for one).

    A method cannot generate the clip; a metric that looks at faces has nothing to say about it (n/a). where: the clip,
    or the file that says so. reason: the rest of the message.
    """

    def __init__(self, kind: str, where: str, reason: str) -> None:
        super().__init__(kind, f"{where}: {reason}")
        self.reason = reason


class NotApplicable(BenchError):  # noqa: N818 - it is an answer, not a failure
    """A metric has nothing to say about this run (no reference, no transcript, weights missing).

    Not a failure of a clip: the column reads `n/a` with this reason.
    """


class Stopped(KeyboardInterrupt):
    """A scheduler told this process to stop: it ends as by Ctrl-C, with exit code 143. The message is for people."""
