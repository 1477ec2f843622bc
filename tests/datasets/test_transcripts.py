"""Sections of LRS transcripts in any number, plain text, and old encodings."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncdiff_bench.contracts import Spoken
from syncdiff_datasets.transcripts import Transcript, read_transcript

LRS3_FULL = """Text:  WE'RE ALL HERE
Conf:  4
Ref:  0Fi83BHQsMA

FRAME \tX \tY \tW \tH
000116 \t0.455 \t0.210 \t0.151 \t0.268

WORD START END ASDSCORE
WE'RE 0.00 0.21 8.7
ALL 0.21 0.40 9.0
HERE 0.40 0.77 7.1
"""
LRS2_PRETRAIN = """
WORD START END ASDSCORE
GOOD 0.11 0.31 2.1
MORNING 0.31 0.80 4.4
"""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (LRS3_FULL, "we're all here"),
        (LRS2_PRETRAIN, "good morning"),
        ("Text:  HELLO\nConf:  5\n", "hello"),
        ("Text:  HELLO  THERE", "hello there"),
        ("Conf:  5\r\nText:  HELLO\r\n", "hello"),
        ("Text:HELLO\n", "hello"),
        ("WORD START END ASDSCORE\nHI 0 1 2\n\nFRAME X Y W H\n1 2 3 4 5\n", "hi"),
    ],
)
def test_sections(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "clip.txt"
    path.write_bytes(content.encode())
    found = read_transcript(path)
    assert found is not None
    assert (found.text, found.encoding) == (text, "utf-8")


def test_words_of_the_table_have_their_times(tmp_path: Path) -> None:
    path = tmp_path / "clip.txt"
    path.write_text(LRS2_PRETRAIN)
    words = (Spoken("good", 0.11, 0.31), Spoken("morning", 0.31, 0.80))
    assert read_transcript(path) == Transcript("good morning", "utf-8", words)
    path.write_text("WORD START END ASDSCORE\nHI soon later 2\n")
    assert read_transcript(path) == Transcript("hi", "utf-8", ())


@pytest.mark.parametrize("content", ["", "\n\n", "Text:  \nConf:  3\n", "Ref:  abc\n"])
def test_no_words_are_no_transcript(tmp_path: Path, content: str) -> None:
    path = tmp_path / "clip.txt"
    path.write_text(content)
    assert read_transcript(path) is None
    assert read_transcript(tmp_path / "missing.txt") is None


def test_plain_text_only_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "clip.txt"
    path.write_text("Bin blue\nat F two now\n")
    assert read_transcript(path) is None
    assert read_transcript(path, plain=True) == Transcript("bin blue at f two now", "utf-8")
    path.write_text("Text:  \nConf:  1\n")
    assert read_transcript(path, plain=True) is None


@pytest.mark.parametrize(("encoding", "named"), [("latin-1", "latin-1"), ("utf-8", "utf-8"), ("utf-8-sig", "utf-8")])
def test_encodings(tmp_path: Path, encoding: str, named: str) -> None:
    path = tmp_path / "clip.txt"
    path.write_bytes("Text:  DÉJÀ VU\n".encode(encoding))
    assert read_transcript(path) == Transcript("déjà vu", named)
