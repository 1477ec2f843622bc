"""Text in pictures: a font that has its letters, and lines that fit."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

# Where Pillow's own font, which knows the letters of English alone, lacks one: of Linux, macOS and Windows.
OF_THE_SYSTEM = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf"),
    *("NotoSansCJK-Regular.ttc", "PingFang.ttc", "msyh.ttc"),
)
NO_CHARACTER = "\uffff"  # what a font draws for it, it draws for all that it lacks
UNKNOWN = "?"


def lettering(text: str, size: int) -> tuple[str, FreeTypeFont]:
    """The text as it can be drawn, and the font to draw it in: Pillow's own, else that of the system with most letters.

    size: in pixels. Letters that the font lacks become "?".
    """
    font = _own(size)
    if lacking := _lacking(text, font):
        fonts = [font, *(found for name in OF_THE_SYSTEM if (found := _of_the_system(name, size)) is not None)]
        font = min(fonts, key=lambda one: len(_lacking(text, one)))
        lacking = _lacking(text, font)
    return "".join(UNKNOWN if letter in lacking else letter for letter in text), font


def lines_of(text: str, font: FreeTypeFont, width: int) -> list[str]:
    """The text in lines of at most so many pixels: broken between words, and within one that is too long alone.

    >>> from PIL import ImageFont
    >>> lines_of("two words", ImageFont.load_default(size=18), 60)
    ['two', 'words']
    >>> "".join(lines_of("unbreakable", ImageFont.load_default(size=18), 60))
    'unbreakable'
    """
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] = f"{lines[-1]} {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


@lru_cache(64)
def _own(size: int) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)  # type: ignore[return-value]


@lru_cache(64)
def _of_the_system(name: str, size: int) -> FreeTypeFont | None:
    from PIL import ImageFont

    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _lacking(text: str, font: FreeTypeFont) -> set[str]:
    return {letter for letter in set(text) - {" "} if not _has(font, letter)}


@lru_cache(4096)
def _has(font: FreeTypeFont, letter: str) -> bool:
    return bytes(font.getmask(letter)) != bytes(font.getmask(NO_CHARACTER))
