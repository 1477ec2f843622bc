"""Transcripts as people write them, brought to the words that are said (docs/protocols.md, Transcripts)."""

from __future__ import annotations

import re
from typing import Literal
from unicodedata import category, normalize

# To the letter, as the published scripts do, for data spelt as LRS is; or word by word, which is another protocol.
TextRule = Literal["official", "normalised"]

APOSTROPHES = {"[’‘ʼ′´`]": "'"}
SIGNS = {
    "&": " and ",
    "@": " at ",
    r"\+": " plus ",
    "%": " percent ",
    r"\$": " dollars ",
    "£": " pounds ",
    "€": " euros ",
}
MONEY = {"$": ("dollar", "cents"), "£": ("pound", "pence"), "€": ("euro", "cents")}
NUMBER = re.compile(
    r"""(?:(?P<money>[$£€])\s?)?
    (?P<whole>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)
    (?:\.(?P<fraction>[0-9]+))?
    (?:(?P<ordinal>st|nd|rd|th)(?![a-z])|(?P<plural>'?s)(?![a-z]))?
    (?P<magnitude>\s+(?:thousand|million|billion|trillion)\b)?""",
    re.VERBOSE,
)
TOO_LONG = 13  # so many digits in a row are a code, not a quantity


def normalised(text: str) -> str:
    """Lower-case words with single spaces between them, "" where none is left.

    Latin letters lose their accents; apostrophes stay inside words; every other mark and symbol parts words, a full
    stop too ("p.m."); numbers in digits, sums of money and the signs & @ + % are spelt out in English. Four digits
    without a comma are a year from 1100 to 2099.

    >>> normalised("“Don’t – place it, at 6 p.m.!”")
    "don't place it at six p m"
    >>> normalised("In the 1990s the café took $3.5 million, a 1st.")
    'in the nineteen nineties the cafe took three point five million dollars a first'
    """
    import jiwer

    letters = _plain_letters(jiwer.Compose([jiwer.SubstituteRegexes(APOSTROPHES), jiwer.ToLowerCase()])(text))
    return _words(jiwer.SubstituteRegexes(SIGNS)(NUMBER.sub(_said, letters)))


def to_learn(text: str | None, rule: TextRule) -> str:
    """A transcript as a VSR or ASR model is trained on it, in the spelling that is compared; "" without words.

    >>> to_learn("Soon!", "normalised"), to_learn("soon", "official"), to_learn(None, "official")
    ('soon', 'soon', '')
    """
    return normalised(text or "") if rule == "normalised" else text or ""


def numbers_in(text: str) -> int:
    """How many numbers in digits `normalised` has to spell out, which is a guess at how they were said.

    >>> numbers_in("from 10 to 3.5 million")
    2
    """
    return len(NUMBER.findall(normalize("NFKD", text)))


def _plain_letters(text: str) -> str:
    """Compatibility forms dissolved, pictures (emoji) blanked, the invisible gone, Latin letters without accents."""
    visible = "".join(" " if category(c) == "So" else c for c in text if category(c) != "Cf")
    kept, base = [], ""
    for character in normalize("NFKD", visible):
        if category(character)[0] != "M":
            base = character
        elif not base.isalpha() or base.isascii():
            continue
        kept.append(character)
    return normalize("NFC", "".join(kept))


def _words(text: str) -> str:
    spaced = "".join(c if c.isalnum() or c == "'" or category(c)[0] == "M" else " " for c in text)
    return " ".join(word for word in (part.strip("'") for part in spaced.split()) if word)


def _said(number: re.Match[str]) -> str:
    """A number as it is read aloud, blanks around it."""
    money, whole, fraction = number["money"], number["whole"].replace(",", ""), number["fraction"]
    magnitude = number["magnitude"] or ""
    if money and fraction and len(fraction) == 2 and not magnitude:
        unit, parts = MONEY[money]
        return f" {_cardinal(whole)} {_units(unit, whole)} and {_cardinal(fraction.lstrip('0') or '0')} {parts} "
    if fraction:
        said = f"{_cardinal(whole)} point {_singly(fraction)}"
    elif number["ordinal"] and len(whole) < TOO_LONG:
        said = _spelt(whole, "ordinal")
    elif len(number["whole"]) == 4 and 1100 <= int(whole) <= 2099 and not money:  # 1,999 is no year
        said = _spelt(whole, "year")
    else:
        said = _cardinal(whole)
    if number["plural"]:  # nineties, sixes, tens
        said = said[:-1] + "ies" if said.endswith("y") else said + ("es" if said.endswith("x") else "s")
    unit = f" {_units(MONEY[money][0], '' if fraction or magnitude else whole)}" if money else ""
    return f" {said}{magnitude}{unit} "


def _cardinal(digits: str) -> str:
    if len(digits) >= TOO_LONG or (digits[0] == "0" and len(digits) > 1):
        return _singly(digits)
    return _spelt(digits, "cardinal")


def _singly(digits: str) -> str:
    return " ".join(_spelt(digit, "cardinal") for digit in digits)


def _spelt(digits: str, form: str) -> str:
    from num2words import num2words

    return str(num2words(int(digits), to=form, lang="en"))


def _units(unit: str, count: str) -> str:
    return unit if count == "1" else f"{unit}s"
