"""Which characters a document can hold."""

from __future__ import annotations

import re
import unicodedata

# A terminal's colours, then whatever the XML 1.0 recommendation's production `Char` leaves out: a program's error
# message may bring either, and one of them makes the whole document unreadable.
UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """The text without control characters; tabs and line ends stay."""
    return UNPRINTABLE.sub("", text)


def one_line(text: str) -> str:
    """Runs of white space as one space, and without the characters that nobody sees: control (ESC), format (a change
    of direction), and the lone surrogates that stand for bytes of a path that is not UTF-8.
    """
    spaced = " ".join(printable(text).split())
    return "".join(character for character in spaced if unicodedata.category(character) not in ("Cc", "Cf", "Cs"))


def with_interval(mean: float, interval: tuple[float, float], decimals: int, sign: str) -> str:
    """A mean and its interval: half its width behind `sign`, or both ends where a bound of the metric cut one off.

    >>> with_interval(30.0, (29.0, 31.0), 2, " ±"), with_interval(5.56, (0.0, 29.99), 2, " ±")
    ('30.00 ±1.00', '5.56 [0.00, 29.99]')
    """
    low, high = interval
    if is_cut(mean, interval, decimals):
        return f"{mean:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"
    return f"{mean:.{decimals}f}{sign}{(high - low) / 2:.{decimals}f}"


def is_cut(mean: float, interval: tuple[float, float], decimals: int) -> bool:
    """Whether an interval is not as wide to either side, as printed."""
    return abs(mean - sum(interval) / 2) >= 0.5 * 10.0**-decimals
