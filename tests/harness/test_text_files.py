"""Text of any program: what its bytes are taken for, what is refused by name; and the words of transcripts in it."""

from __future__ import annotations

import codecs

import jiwer
import pytest
from num2words import num2words

from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import DecodedText, decode_text
from syncdiff_bench.normalisation import normalised, numbers_in

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


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Place white at l six, soon.", "place white at l six soon"),
        ("“Don’t!” – she ‘said’…", "don't she said"),
        ("well-known and/or rock'n'roll: the dogs' tails", "well known and or rock'n'roll the dogs tails"),
        ("Tab\there\r\nand  there", "tab here and there"),
        ("naïve CAFÉ Ångström ﬁne Ｐlace co\u00adop\ufeff", "naive cafe angstrom fine place coop"),
        ("soon ☺️ 👩‍🚀 now™ 1️⃣", "soon now one"),
        ("Привет, й! 北京 हिन्दी", "привет й 北京 हिन्दी"),
        ("3.5 million", "three point five million"),
        ("$20", "twenty dollars"),
        (
            "$1 or £2.50, €3 million, 5€ and 20%",
            "one dollar or two pounds and fifty pence three million euros five euros and twenty percent",
        ),
        ("the 1st, 22nd and 30th", "the first twenty second and thirtieth"),
        (
            "1990s, 1990's, the '90s and 2006",
            "nineteen nineties nineteen nineties the nineties and two thousand and six",
        ),
        ("in 1905, 2019; 1,905", "in nineteen oh five twenty nineteen one thousand nine hundred and five"),
        (
            "1066, 1100, 2099, 2100",
            "one thousand and sixty six eleven hundred twenty ninety nine two thousand one hundred",
        ),
        ("10-20 at 10:30, mp3, 20sec", "ten twenty at ten thirty mp three twenty sec"),
        ("007", "zero zero seven"),
        ("1,2,3.", "one two three"),
        ("A & B @ C + D", "a and b at c plus d"),
        ("1" * 20 + "st", " ".join(["one"] * 20)),
        ("...!?", ""),
        ("☺ 🎬", ""),
        ("'", ""),
        ("", ""),
    ],
)
def test_words_that_are_said(written: str, said: str) -> None:
    assert normalised(written) == said
    assert normalised(said) == said, "what is normalised stays as it is"
    assert normalised(written.upper()) == said


@pytest.mark.parametrize("number", [0, 7, 13, 20, 99, 100, 105, 999, 1000, 1066, 2005, 12_345, 1_000_000])
def test_cardinals_are_num2words(number: int) -> None:
    expected = jiwer.RemovePunctuation()(num2words(number).replace("-", " "))
    assert normalised(str(number)) == normalised(f"{number:,}") == expected


def test_numbers_are_counted() -> None:
    assert [numbers_in(text) for text in ("none", "10-20", "3.5 million and $1,200.50", "1st 2nd ½")] == [0, 2, 2, 4]
