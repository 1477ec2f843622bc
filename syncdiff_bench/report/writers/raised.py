"""Marks of notes as raised characters."""

from __future__ import annotations

from collections.abc import Sequence

from syncdiff_bench.report.table import LETTERS

SUPERSCRIPTS = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"
RAISED = dict(zip(LETTERS, SUPERSCRIPTS, strict=True))


def raised(marks: Sequence[str]) -> str:
    """Marks of notes behind a number: letters as superscripts (a raised digit reads as a power), symbols as they are.

    >>> raised(["a", "bb"]), raised(["†", "‡"])
    ('ᵃ ᵇᵇ', '†‡')
    """
    letters = ["".join(map(RAISED.__getitem__, mark)) for mark in marks if mark[0] in RAISED]
    return " ".join(letters) + "".join(mark for mark in marks if mark[0] not in RAISED)
