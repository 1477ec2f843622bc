"""Which characters a document can hold, and raised ones."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from syncdiff_bench.report.table import LETTERS

# A terminal's colours, then whatever the XML 1.0 recommendation's production `Char` leaves out: a program's error
# message may bring either, and one of them makes the whole document unreadable.
UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SUPERSCRIPTS = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"
RAISED = dict(zip(LETTERS, SUPERSCRIPTS, strict=True))


def printable(text: str) -> str:
    """The text without control characters; tabs and line ends stay."""
    return UNPRINTABLE.sub("", text)


def one_line(text: str) -> str:
    """Runs of white space as one space, and without invisible characters: control (ESC), format (a change
    of direction), and the lone surrogates that stand for bytes of a path that is not UTF-8.
    """
    spaced = " ".join(printable(text).split())
    return "".join(character for character in spaced if unicodedata.category(character) not in ("Cc", "Cf", "Cs"))


def raised(marks: Sequence[str]) -> str:
    """Marks of notes behind a number: letters as superscripts (a raised digit reads as a power), symbols as they are.

    >>> raised(["a", "bb"]), raised(["†", "‡"])
    ('ᵃ ᵇᵇ', '†‡')
    """
    letters = ["".join(map(RAISED.__getitem__, mark)) for mark in marks if mark[0] in RAISED]
    return " ".join(letters) + "".join(mark for mark in marks if mark[0] not in RAISED)
