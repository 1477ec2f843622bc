"""Sections of LRS transcripts in any number, plain text, and files that do not say what was spoken."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncdiff_bench.contracts import Spoken
from syncdiff_bench.errors import ClipError
from syncdiff_datasets.folder import Folder
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
        ("Text:  HELLO  THERE  \t", "hello there"),
        ("Conf:  5\r\nText:  HELLO\r\n", "hello"),
        ("Conf:  5\rText:  HELLO\rTHERE\r", "hello there"),
        ("Text:HELLO\n", "hello"),
        ("text :  hello\n", "hello"),
        ("Speaker: 5\nText:  HELLO\n", "hello"),
        ("WORD START END ASDSCORE\nHI 0 1 2\n\nFRAME X Y W H\n1 2 3 4 5\n", "hi"),
        ("Text:  \nConf: 1\n\nWORD START END ASDSCORE\nHI 0 1 2\n", "hi"),
        ("Text:  SET BLUE\n  WITH L\nTWO NOW\nConf:  3\nRef:  abc\n", "set blue with l two now"),
        ("Text:\nSET BLUE\n\nFRAME \tX \tY \tW \tH\n000116 \t0.455\n", "set blue"),
        ("Text:  FRAME BY\nFRAME WE GO\n\nFRAME X Y W H\n1 2 3 4 5\n", "frame by frame we go"),
    ],
)
def test_sections(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "clip.txt"
    path.write_bytes(content.encode())
    for plain in (False, True):
        found = read_transcript(path, plain=plain)
        assert found is not None
        assert (found.text, found.encoding, found.guessed) == (text, "", False)


def test_words_of_the_table_have_their_times(tmp_path: Path) -> None:
    path = tmp_path / "clip.txt"
    path.write_text(LRS2_PRETRAIN)
    words = (Spoken("good", 0.11, 0.31), Spoken("morning", 0.31, 0.80))
    assert read_transcript(path) == Transcript("good morning", words)
    path.write_text("WORD START END ASDSCORE\nHI soon later 2\n")
    assert read_transcript(path) == Transcript("hi", ())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "holds no words"),
        (b"\n\r\n", "holds no words"),
        (b"Text:  \nConf:  3\n", "holds no words"),
        (b"Ref:  abc\n", "holds no words"),
        (b"HELLO THERE\n", "has no `Text:` line"),
        (b"Text: ONE\nConf: 3\nText: TWO\n", "line 3: a second `Text:`"),
        (b"Text: HE SAID\nNOTE: IT IS LATE\n", "line 2: 'NOTE' and a colon may begin a section or go on"),
        (b"Text: ONE\x00TWO\n", "holds zero bytes"),
        (b"Text: ONE\nTWO \x81\n", "line 2: byte 0x81"),
    ],
)
def test_a_file_that_does_not_say_what_was_spoken_is_refused_in_words(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "clip.txt"
    path.write_bytes(content)
    with pytest.raises(ClipError) as caught:
        read_transcript(path)
    assert caught.value.kind == "transcript"
    assert str(caught.value).startswith(str(path)) and problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_is_no_transcript_and_a_folder_of_that_name_is_refused(tmp_path: Path) -> None:
    assert read_transcript(tmp_path / "missing.txt") is None
    (tmp_path / "clip.txt").mkdir()
    with pytest.raises(ClipError, match=r"clip\.txt: is a folder"):
        read_transcript(tmp_path / "clip.txt")


def test_plain_text_only_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "clip.txt"
    path.write_text("Bin blue\nat F two now\n")
    assert read_transcript(path, plain=True) == Transcript("bin blue at f two now")
    path.write_text("Note: he left.\n")
    assert read_transcript(path, plain=True) == Transcript("note: he left.")
    path.write_text("Text:  \nConf:  1\n")
    with pytest.raises(ClipError, match="holds no words"):
        read_transcript(path, plain=True)


@pytest.mark.parametrize(
    ("encoding", "note", "guessed"),
    [
        ("utf-8", "", False),
        ("utf-8-sig", "", False),
        ("utf-16", "decoded from utf-16-le", False),
        ("utf-16-be", "not UTF-8; taken for utf-16-be", True),
        ("cp1252", "not UTF-8; taken for cp1252", True),
    ],
)
def test_encodings(tmp_path: Path, encoding: str, note: str, guessed: bool) -> None:
    path = tmp_path / "clip.txt"
    path.write_bytes("Text:  DÉJÀ VU\n".encode(encoding))
    assert read_transcript(path) == Transcript("déjà vu", (), note, guessed)


def test_a_bad_transcript_costs_the_clip_nothing_else_and_verify_says_which_line(tmp_path: Path, write_clip) -> None:
    write_clip(tmp_path / "good.mp4", text="hello")
    write_clip(tmp_path / "bad.mp4", text="hello").with_suffix(".txt").write_bytes(b"hello\n\x81\n")
    dataset = Folder(tmp_path)
    clip = dataset.clip("bad")
    assert clip.transcript is None and "bad.txt line 2: byte 0x81" in clip.transcript_note
    assert len(clip.frames) == 5
    told = [(found.where, found.message) for found in dataset.verify("all") if found.level == "error"]
    assert told == [("bad", f"no word error rate: {clip.transcript_note}")]
