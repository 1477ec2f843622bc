"""The dictionary of a small lip reader: whole words, taken from the transcripts that it is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from syncdiff_bench.errors import UsageError
from syncdiff_bench.networks.avhubert.tokenizer import EOS, SPACE, SPECIALS, UNK, WordPieces


class WholeWords(WordPieces):
    """Word pieces that are words, so that no SentencePiece model is needed; any other word is UNK.

    words: lower case, without white space.
    """

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__((*SPECIALS, *(SPACE + word for word in words)), None)

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of the words of the lower-cased text, closed by EOS."""
        return (*(self._ids.get(SPACE + word, UNK) for word in text.lower().split()), EOS)


def words_of(transcripts: Iterable[str | None]) -> tuple[str, ...]:
    """The words that occur, sorted. Raises UsageError where there are none."""
    found = tuple(sorted({word for text in transcripts if text for word in text.lower().split()}))
    if not found:
        raise UsageError("no clip has a transcript; a lip reader learns from what was said")
    return found
