"""Transcripts as people write them: expected words written by hand, and by num2words and jiwer where they apply."""

from __future__ import annotations

import jiwer
import pytest
from num2words import num2words

from syncdiff_bench.normalisation import normalised, numbers_in


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
