"""What the terminal behind a stream can show: columns, colours; and text brought to its width."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console

Paint = Literal["none", "bold", "colour"]

BREAKS = "([,="
UNKNOWN = 80  # columns of a terminal that does not tell
# A command is one word, so that it can be copied: what is in backquotes, or a program and its arguments.
COMMAND = r"(?:(?<![^\s(])(?:syncdiff-bench|pip|torchrun)(?: +[^\s;()`]*[^\s;,()`])+\S*)"
WORD = re.compile(rf"`[^`]*`[^\s`]*|\(?{COMMAND}|\S+")
NUMBER = re.compile(r"[+\-−±<]?\.?\d|[↑↓]$")
NUMBER_ALONE = re.compile(r"[+\-−±<]?[\d.,]*\d\W*")


def columns_of(stream: TextIO) -> int | None:
    """How wide a line may be, by $COLUMNS where that is set; None where the stream is no terminal."""
    if not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or UNKNOWN
    except (OSError, ValueError):
        return UNKNOWN


def paint_of(stream: TextIO, environment: Mapping[str, str] = os.environ) -> Paint:
    """Whether words on it may be coloured, or at most bold and underlined.

    By NO_COLOR (no-color.org), CLICOLOR and CLICOLOR_FORCE (bixense.com/clicolors), FORCE_COLOR, TERM.
    """
    forced = any(environment.get(name, "0") not in ("", "0") for name in ("CLICOLOR_FORCE", "FORCE_COLOR"))
    if not forced and (not stream.isatty() or environment.get("TERM", "") in ("dumb", "unknown")):
        return "none"
    if environment.get("NO_COLOR") or (not forced and environment.get("CLICOLOR") == "0"):
        return "bold"
    return "colour"


def console_of(stream: TextIO, width: int | None = None) -> Console:
    """What rich draws on the stream with. width: in place of the terminal's."""
    from rich.console import Console

    paint = paint_of(stream)
    return Console(
        file=stream, width=width or columns_of(stream), force_terminal=paint != "none", no_color=paint == "bold"
    )


def words_of(text: str) -> list[str]:
    """What a line is broken between: a command is one word, and a number or an arrow stays with the word before it.

    >>> words_of("s1/2 -16.95, `run --limit 3`, or syncdiff-bench report runs; LSE ↑")
    ['s1/2 -16.95,', '`run --limit 3`,', 'or', 'syncdiff-bench report runs;', 'LSE ↑']
    """
    words: list[str] = []
    for word in WORD.findall(text):
        if words and NUMBER.match(word) and not NUMBER_ALONE.fullmatch(words[-1].rpartition(" ")[2]):
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


def cells_in(text: str) -> int:
    """Columns that a line takes; some characters take two, some none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: str, width: int, *, taken: int = 0, whole: bool = True) -> list[str]:
    """Lines of at most so many columns; `taken` fewer in the first.

    A word that is wider is broken behind a bracket, comma or equals sign, unless it is a path or a command.

    whole: where that cannot be, it stays on a line of its own, for the terminal to break, else it is broken anywhere.

    >>> wrapped("one two three", 8, taken=2)
    ['one', 'two', 'three']
    """
    lines: list[str] = []
    line = ""
    pending = words_of(text)[::-1]
    while pending:
        word = pending.pop()
        joined = f"{line} {word}" if line else word
        room = width if lines else width - taken
        if cells_in(joined) <= room:
            line = joined
        elif line or (taken and not lines and cells_in(word) <= width):
            lines.append(line)
            line = ""
            pending.append(word)
        elif " " not in word and "/" not in word and (cut := _cut(word, room)):
            lines.append(word[:cut])
            pending.append(word[cut:])
        elif whole:
            line = word
        elif " " in word:
            pending += word.split()[::-1]
        else:
            *before, line = _chopped(word, max(1, width))
            lines += before
    return [*lines, line]


def _cut(word: str, width: int) -> int:
    """How many of its characters may stand on a line, 0 where there is nothing to break it behind."""
    return max((index + 1 for index in range(min(len(word), width)) if word[index] in BREAKS), default=0)


def _chopped(word: str, width: int) -> list[str]:
    from rich.cells import chop_cells

    return chop_cells(word, width)
