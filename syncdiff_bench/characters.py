"""Which characters a document can hold, and which ones a terminal is sent: names and messages come from anywhere."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

# A terminal's colours, then whatever the XML 1.0 recommendation's production `Char` leaves out: a program's error
# message may bring either, and one of them makes the whole document unreadable.
UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Control (ESC), format (a change of direction), the lone surrogates that stand for bytes of a path that is not UTF-8,
# and what ends a line or paragraph beside a line feed.
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
DOUBTFUL = re.compile(r"[^\t\n\x20-\x7e]")
# What stands for a character on a terminal that lacks it; raised letters and digits follow a "^".
SPELLINGS = {
    **{"±": "+-", "×": "x", "·": ".", "≤": "<=", "≥": ">=", "≈": "~", "−": "-", "–": "-", "—": "--", "…": "..."},
    **{"↑": "up", "↓": "down", "→": "->", "←": "<-", "∞": "inf", "°": " deg"},
    **{"━": "=", "─": "-"},
    **{"†": "^+", "‡": "^++", "§": "^S", "‘": "'", "’": "'", "“": '"', "”": '"'},
}


def printable(text: str) -> str:
    """The text without control characters; tabs and line ends stay."""
    return UNPRINTABLE.sub("", text)


def visible(text: str) -> str:
    r"""The text without characters that nobody sees and a terminal may obey; tabs and line feeds stay.

    >>> visible("\x1b[31mred\x1b[0m\r \u202eabc")
    'red abc'
    """
    return DOUBTFUL.sub(lambda found: "" if _is_invisible(found[0]) else found[0], printable(text))


def one_line(text: str) -> str:
    """Runs of white space as one space, and without invisible characters."""
    return visible(" ".join(printable(text).split()))


def json_text(value: Any) -> str:
    r"""JSON in several lines, invisible characters escaped, so that it can be shown and says the same.

    Raises ValueError for a number that JSON does not know.

    >>> print(json_text(["é\u202e"]))
    [
     "é\u202e"
    ]
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, default=str)
    return DOUBTFUL.sub(lambda found: json.dumps(found[0])[1:-1] if _is_invisible(found[0]) else found[0], text)


def spelled(text: str, encoding: str) -> str:
    """The text in characters that an encoding has: words for those that it lacks, else their number.

    >>> spelled("PSNR ↑ 31.50 ±0.25ᵇ ж", "ascii")
    'PSNR up 31.50 +-0.25^b \\\\u0436'
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_spelling(character, encoding) for character in text)
    return text


def _spelling(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        if character in SPELLINGS:
            return SPELLINGS[character]
        kind, _, code = unicodedata.decomposition(character).partition(" ")
        if kind == "<super>":
            return "^" + "".join(_spelling(chr(int(one, 16)), encoding) for one in code.split())
        return character.encode(encoding, "backslashreplace").decode(encoding)
    return character


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in INVISIBLE
