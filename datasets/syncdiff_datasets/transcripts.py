"""Transcripts beside a clip: LRS2 and LRS3 `.txt` files, or plain text (docs/spec/layouts.md)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from syncdiff_bench.contracts import Spoken
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.files import read_text_file
from syncdiff_bench.listing import spelled, why_no_file

WORD_TABLE = "WORD START END"
SECTION = re.compile(r"\s*(?:(?P<name>[A-Za-z]+)\s*:|WORD\s+START\s+END|FRAME\s+X\s+Y)")
LONGEST = 1e6  # seconds of a clip
KNOWN_SECTIONS = frozenset({"text", "conf", "ref", ""})  # "" for the tables


@dataclass(frozen=True)
class Transcript:
    """text: lower case, single spaces, never empty.

    words: of the word table with their times, where there is one.
    encoding: a note on the file's encoding, "" for UTF-8. guessed: the encoding is a guess.
    """

    text: str
    words: tuple[Spoken, ...] = ()
    encoding: str = ""
    guessed: bool = False


def read_transcript(path: Path, *, plain: bool = False) -> Transcript | None:
    """The transcript of a `.txt`, None where there is none.

    LRS sections may come in any number: the text after `Text:` counts, which may go on over several lines, and where
    there is none (pretrain) the words of the `WORD START END ASDSCORE` table, joined. Other sections (`Conf:`, `Ref:`,
    `FRAME X Y W H`) are skipped.
    plain: take the whole file where it has no such section.
    Raises ClipError (`transcript`) naming file and line where a file does not say what was spoken: it is no text
    (`text_files`), holds no words, has two `Text:` sections, or goes on after `Text:` with what may be words or not.
    """
    if not os.path.lexists(path):
        return None
    if reason := why_no_file(path):  # a pipe is never opened
        raise ClipError("transcript", f"{path}: {reason}; correct or remove it")
    try:
        file = read_text_file(path)
    except OSError as error:
        raise ClipError("transcript", f"{path}: cannot be read ({error.strerror}); correct or remove it") from None
    except UsageError as error:
        raise ClipError("transcript", str(error)) from None
    lines = file.text.splitlines()
    table = _word_table(lines)
    words = _text_section(path, lines) or [row[0] for row in table]
    in_sections = any(_section(line) in KNOWN_SECTIONS for line in lines)
    if not words and plain and not in_sections:
        words = file.text.split()
    if not words:
        problem = "holds no words" if plain or in_sections or not file.text.strip() else "has no `Text:` line"
        raise ClipError("transcript", f"{path}: {problem}; write there what is said, or remove it")
    return Transcript(" ".join(words).lower(), _timed(table), file.note, file.guessed)


def beside(video: Path, suffix: str) -> Path:
    """The file of a clip's name and this suffix in the folder of its video, there or not."""
    return spelled(video.parent, video.stem + suffix)


def _section(line: str) -> str | None:
    """Name of the section that a line begins, lower case, "" for a table's; None where it begins none."""
    found = SECTION.match(line)
    return None if found is None else (found["name"] or "").lower()


def _text_section(path: Path, lines: list[str]) -> list[str]:
    words: list[str] | None = None
    inside = False
    for number, line in enumerate(lines, start=1):
        section = _section(line)
        if section == "text":
            if words is not None:
                raise ClipError("transcript", f"{path} line {number}: a second `Text:`; leave the one that is said")
            words, inside = line.partition(":")[2].split(), True
        elif inside and section is None:
            words = [*(words or []), *line.split()]
        elif inside and section not in KNOWN_SECTIONS:
            raise ClipError(
                "transcript",
                f"{path} line {number}: {line.split(':')[0].strip()!r} and a colon may begin a section or go on with "
                "the text; put the whole text into the line of `Text:`, or the section above it",
            )
        else:
            inside = False
    return words or []


def _word_table(lines: list[str]) -> list[list[str]]:
    """Rows of the table, up to an empty line."""
    for index, line in enumerate(lines):
        if line.startswith(WORD_TABLE):
            rows = [row.split() for row in lines[index + 1 :]]
            end = rows.index([]) if [] in rows else len(rows)
            return rows[:end]
    return []


def _timed(table: list[list[str]]) -> tuple[Spoken, ...]:
    """Words with their times; none at all where a row has no readable times."""
    try:
        return tuple(Spoken(word.lower(), *seconds(start, end)) for word, start, end, *_ in table)
    except ValueError:
        return ()


def seconds(start: str, end: str) -> tuple[float, float]:
    """When something is said. Raises ValueError where it is no time."""
    times = float(start), float(end)
    if not 0 <= times[0] <= times[1] < LONGEST:
        raise ValueError(f"{start} to {end} is no time")
    return times
