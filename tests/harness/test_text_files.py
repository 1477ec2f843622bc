"""Text of any program: what its bytes are taken for, against Python's own codecs, and what is refused by name."""

from __future__ import annotations

import codecs

import pytest

from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import DecodedText, decode_text

TEXT = "Place — “naïve” white,\r\nat l six’s €2\r\n"
MARKS = {
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("encoding", MARKS)
@pytest.mark.parametrize("text", [TEXT, "hi", "ПРИВЕТ, мир\n", "北京 two\n", ""])
def test_a_byte_order_mark_decides(encoding: str, text: str) -> None:
    assert decode_text(MARKS[encoding] + text.encode(encoding), "a.txt") == DecodedText(text, encoding)


@pytest.mark.parametrize("encoding", MARKS)
@pytest.mark.parametrize("text", ["Place white, at l six\r\n", "naïve\n", "ПРИВЕТ, мир\n"])
def test_wide_text_without_a_mark_is_recognised(encoding: str, text: str) -> None:
    assert decode_text(text.encode(encoding), "a.txt") == DecodedText(text, encoding, guessed=True)


def test_one_byte_encodings() -> None:
    assert decode_text(TEXT.encode("utf-8"), "a.txt") == DecodedText(TEXT)
    assert decode_text(TEXT.encode("utf-8-sig"), "a.txt") == DecodedText(TEXT)
    found = decode_text(TEXT.encode("cp1252"), "a.txt")
    assert found == DecodedText(TEXT, "cp1252", guessed=True)
    assert found.note == "not UTF-8; taken for cp1252"
    assert decode_text(b"", "a.txt") == DecodedText("")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"Text: ONE\x00TWO\n", "a.txt: holds zero bytes and is neither UTF-16 nor UTF-32"),
        (b"Text: CAF\xc9\x00 NOIR\n", "a.txt: holds zero bytes"),
        (b"one\ntwo\x00three", "a.txt: holds zero bytes and is neither UTF-16 nor UTF-32"),
        (b"\x00\x00\x00\x00", "a.txt: holds zero bytes"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "a.txt: holds zero bytes"),
        (codecs.BOM_UTF16_LE + b"a\x00b", "a.txt: begins as utf-16-le and is damaged"),
        (codecs.BOM_UTF8 + b"a\xff", "a.txt: begins as utf-8 and is damaged"),
        (b"one\r\ntwo\rthree \x9d", "a.txt line 3: byte 0x9d is neither UTF-8 nor Windows-1252"),
        ("caf\ufffd".encode(), "a.txt line 1: an earlier conversion has lost a letter"),
        (b"one\n\x07two", r"a.txt line 2: holds the control character '\\x07'"),
        (b"\x89PNG\r\n\x1a\n\xff", r"a.txt line 2: holds the control character '\\x1a'"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(data: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        decode_text(data, "a.txt")
    assert "\n" not in str(caught.value)
