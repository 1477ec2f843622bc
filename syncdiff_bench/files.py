"""Text files that people bring (transcripts, lists of clips), whatever program wrote them."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from syncdiff_bench.errors import UsageError

# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# by whether bytes of even and of odd places are 0
_WIDE: Mapping[tuple[bool, bool], Sequence[str]] = {
    (True, True): ("utf-32-le", "utf-32-be"),
    (True, False): ("utf-16-be",),
    (False, True): ("utf-16-le",),
}
_MEND = "save it as UTF-8"


@dataclass(frozen=True)
class DecodedText:
    """encoding: "utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be" or "cp1252".

    guessed: the file does not say that it is so.
    """

    text: str
    encoding: str = "utf-8"
    guessed: bool = False

    @property
    def note(self) -> str:
        """What somebody who checks the file should know; "" for UTF-8."""
        if self.encoding == "utf-8":
            return ""
        return f"not UTF-8; taken for {self.encoding}" if self.guessed else f"decoded from {self.encoding}"


def read_text_file(path: Path) -> DecodedText:
    """A text file. Raises OSError where it cannot be read, UsageError as `decode_text`."""
    return decode_text(path.read_bytes(), str(path))


def decode_text(data: bytes, where: str) -> DecodedText:
    """Text of UTF-8, or of UTF-16 and UTF-32 with or without a byte order mark; of other bytes as Windows-1252.

    where: the file, for messages. Raises UsageError, in one line, for what is none of these, and for text in which an
    earlier conversion has lost letters (U+FFFD) or that holds control characters.
    """
    decoded = _decoded(data, where)
    for number, line in enumerate(decoded.text.splitlines(), start=1):
        if "\ufffd" in line:
            raise UsageError(f"{where} line {number}: an earlier conversion has lost a letter (U+FFFD); write it again")
        control = next((c for c in line if ord(c) < 32 and c != "\t"), None)
        if control is not None:
            raise UsageError(f"{where} line {number}: holds the control character {control!r}, is no text; {_MEND}")
    return decoded


def _decoded(data: bytes, where: str) -> DecodedText:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return DecodedText(data[len(mark) :].decode(encoding), encoding)
            except UnicodeDecodeError as error:
                raise UsageError(f"{where}: begins as {encoding} and is damaged ({error.reason}); {_MEND}") from None
    if b"\0" in data:
        return _without_mark(data, where)
    try:
        return DecodedText(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    try:
        return DecodedText(data.decode("cp1252"), "cp1252", guessed=True)
    except UnicodeDecodeError as error:
        line = len(data[: error.start + 1].splitlines())
        raise UsageError(
            f"{where} line {line}: byte 0x{data[error.start]:02x} is neither UTF-8 nor Windows-1252; {_MEND}"
        ) from None


def _without_mark(data: bytes, where: str) -> DecodedText:
    """Wide characters: of the blanks and Latin letters of a text, every other byte (three of four) is 0.

    The rarer zeros of other scripts come with bytes that no text of narrow characters holds.
    """
    even, odd = 0 in data[::2], 0 in data[1::2]
    stray = 4 * data.count(0) < len(data) and not any(0 < byte < 32 for byte in data if byte not in b"\t\n\r")
    for encoding in () if stray else _WIDE[even, odd]:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return DecodedText(text, encoding, guessed=True)
    raise UsageError(f"{where}: holds zero bytes and is neither UTF-16 nor UTF-32, is no text; {_MEND}")
