"""Transcripts beside a clip: LRS2 and LRS3 `.txt` files, or plain text (docs/spec/layouts.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from syncdiff_bench.contracts import Spoken

WORD_TABLE = "WORD START END"


@dataclass(frozen=True)
class Transcript:
    """text: lower case, single spaces, never empty; encoding: "utf-8" or "latin-1".

    words: of the word table with their times, where there is one.
    """

    text: str
    encoding: str
    words: tuple[Spoken, ...] = ()


def read_transcript(path: Path, *, plain: bool = False) -> Transcript | None:
    """The transcript of a `.txt`, None where the file is missing or holds no words.

    LRS sections may come in any number: the `Text:` line counts, and where there is none (pretrain) the words
    of the `WORD START END ASDSCORE` table, joined. Other sections (`Conf:`, `Ref:`, `FRAME X Y W H`) are
    skipped.
    plain: take the whole file where it has no such section.
    Bytes that are not UTF-8 are read as Latin-1, in which every byte is a letter.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    try:
        content, encoding = data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        content, encoding = data.decode("latin-1"), "latin-1"
    lines = content.splitlines()
    table = _word_table(lines)
    words = _text_section(lines) or [row[0] for row in table]
    if not words and plain and not any(line.startswith(("Text:", WORD_TABLE)) for line in lines):
        words = content.split()
    return Transcript(" ".join(words).lower(), encoding, _timed(table)) if words else None


def _text_section(lines: list[str]) -> list[str]:
    for line in lines:
        if line.startswith("Text:"):
            return line.removeprefix("Text:").split()
    return []


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
        return tuple(Spoken(word.lower(), float(start), float(end)) for word, start, end, *_ in table)
    except ValueError:
        return ()
